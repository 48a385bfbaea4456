"""Which files each command reads, and where it may write."""

from __future__ import annotations

from fnmatch import fnmatch
from typing import NamedTuple


class Case(NamedTuple):
    """A command line, the files one of which is spoilt before it runs, and patterns of what it may write or change."""

    line: str
    targets: tuple[str, ...]
    writes: tuple[str, ...] = ()
    weight: int = 8  # how often it is drawn, beside others

    def may_write(self, name: str) -> bool:
        """Whether a file is this command's to make or change; what was there is none of it unless a pattern says so."""
        return any(fnmatch(name, pattern) for pattern in self.writes)


TINY = "-w tiny.safetensors --device cpu"
BLIND = "--method centre-box --workers 1 --no-report --bootstrap 0"
SEGMENT = "fewshot-eval segment --root voc"
NEW = ("new/*",)
LIST = "--rule any --out new/list.txt"
INDEX = ("index/index.db", "index/vectors*")
RUN = ("run/config.json", "run/episodes.jsonl", "run/predictions.jsonl", "run/metrics.json", "run/counts.npz")
FOUND = ("found/config.json", "found/metrics.json", "found/queries-*.npz", "found/vectors/*")
DATA = ("voc/list.txt", "voc/SegmentationClass/a_0.png", "voc/JPEGImages/a_0.jpg")

CASES = (
    Case("fewshot-seg search index images/1.png --json", (*INDEX, "images/1.png", "tiny.safetensors")),
    Case("fewshot-seg search index images/1.png --csv new/hits.csv", (*INDEX, "tiny.safetensors"), NEW),
    Case("fewshot-seg index info index --verify", INDEX),
    Case("fewshot-seg index duplicates index", INDEX),
    Case("fewshot-seg index remove index images/0.jpg", INDEX, ("index/*",)),
    Case("fewshot-seg index add index images", (*INDEX, "images/*"), ("index/*",), weight=1),
    Case(
        f"fewshot-seg index build new {TINY} --csv table.csv",
        ("table.csv", "images/*", "tiny.safetensors"),
        NEW,
        weight=1,
    ),
    Case("fewshot-seg reid search index images/1.png --same-camera drop --json", (*INDEX, "images/1.png")),
    Case("fewshot-seg export results --to coco --out new", ("results/results.json", "results/*.png"), NEW),
    Case("fewshot-seg export results --to labelme --out new", ("results/results.json",), NEW),
    Case(
        f"fewshot-seg explain images/0.jpg images/1.png {TINY} --out new",
        ("images/0.jpg", "images/1.png", "tiny.safetensors"),
        NEW,
        weight=1,
    ),
    Case(
        f"fewshot-seg segment images/1.png -s it=images/0.jpg --support-mask it=mask.png -q fast {TINY} --out new",
        ("images/0.jpg", "images/1.png", "mask.png", "tiny.safetensors"),
        NEW,
        weight=1,
    ),
    Case(
        f"fewshot-seg segment images/1.png -s it=images/0.jpg -q fast {TINY} --out results",
        ("results/results.json",),
        ("results/*",),
        weight=1,
    ),
    Case(
        f"fewshot-seg segment images/1.png -s it=images/0.jpg --matcher tiny.safetensors {TINY} --out new",
        ("tiny.safetensors",),
        NEW,
        weight=1,
    ),
    Case("fewshot-eval score run --bootstrap 0", (*RUN, *DATA), ("run/*",)),
    Case("fewshot-eval report run --examples 0", (*RUN, *DATA), ("run/report.html",), weight=1),
    Case("fewshot-eval report found --examples 0", FOUND, ("found/report.html",)),
    Case("fewshot-eval compare run run2 --bootstrap 0 --out new/c.json", RUN, NEW),
    Case(
        f"{SEGMENT} --split-list voc/list.txt --fold 1 --episodes 4 --skip-small-classes {BLIND} --out run",
        (*RUN, *DATA),
        ("run/*",),
        weight=1,
    ),
    Case(
        f"fewshot-eval retrieval --root photos --classes 1-2 --no-nmi --no-report --workers 1 {TINY} --out found",
        (*FOUND, "photos/*/0.png"),
        ("found/*",),
        weight=1,
    ),
    Case(
        f"fewshot-eval split-list --dataset coco20i --root coco {LIST}", ("coco/annotations/*", "coco/tiny/a.jpg"), NEW
    ),
    Case(
        f"fewshot-eval split-list --dataset masks --root labelled {LIST}",
        ("labelled/classes.json", "labelled/masks/a.png"),
        NEW,
    ),
    Case(
        f"fewshot-eval split-list --dataset folder --root folders {LIST}",
        ("folders/cat/1.png", "folders/cat/1.jpg"),
        NEW,
    ),
    Case(f"fewshot-eval split-list --root voc --images voc/list.txt {LIST}", DATA, NEW),
    Case(
        f"{SEGMENT} --episodes-file episodes.txt --fold all {BLIND} --out new",
        ("episodes.txt", *DATA),
        NEW,
    ),
    Case(
        f"{SEGMENT} --episodes-file run/episodes.jsonl --fold all {BLIND} --out new",
        RUN[1:2],
        NEW,
    ),
    Case("train-embed run --config config.yaml --out new", ("config.yaml",), NEW, weight=1),
    Case(
        "train-embed run --resume --out trained",
        ("trained/config.yaml", "trained/state.safetensors", "trained/metrics.jsonl"),
        ("trained/*",),
        weight=1,
    ),
    Case("train-embed export trained --out new.safetensors", ("trained/model.safetensors",), ("new.safetensors",)),
    Case(
        "train-embed import-weights old.pth --backbone resnet18 --out new.safetensors",
        ("old.pth",),
        ("new.safetensors",),
    ),
)

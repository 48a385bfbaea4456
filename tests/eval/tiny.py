"""A run that takes a second: a network of 36,000 random parameters on sixteen images of noise."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import torch

from eval.episodes.plan import SegmentationTask
from fewshot_seg.imaging.images import Preprocessing
from fewshot_seg.network.embedding import Embedder, EmbedderSpec, build_embedder, save_checkpoint
from tests.fewshot_seg.datasets.voc_files import make_voc, sixteen


def tiny_embedder() -> Embedder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        spec = EmbedderSpec("timm/test_efficientnet", preprocessing=Preprocessing(size=64))
        return build_embedder(spec, weights=False)


@cache
def tiny_checkpoint() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tiny.safetensors"
        save_checkpoint(tiny_embedder(), path)
        return path.read_bytes()


def tiny_task(folder: Path, **changes: Any) -> SegmentationTask:
    """Classes 6 and 7 of fold 1 in FOLDER/voc, weights in FOLDER, to be written to FOLDER/run."""
    weights = folder / "tiny.safetensors"
    if not weights.exists():
        weights.write_bytes(tiny_checkpoint())
        make_voc(folder / "voc", sixteen(first=6))
    values: dict[str, Any] = {
        "root": folder / "voc",
        "out": folder / "run",
        "split_list": folder / "voc" / "list.txt",
        "fold": 1,
        "episodes": 12,
        "weights": str(weights),
        "device": "cpu",
        "skip_small_classes": True,
        "workers": 2,
    }
    return SegmentationTask(**{**values, **changes})


def blind_task(voc: Path, out: Path, episodes: int, methods: tuple[str, ...]) -> SegmentationTask:
    """Classes of fold 1 by methods that need no network."""
    told = {"split_list": voc / "list.txt", "fold": 1, "skip_small_classes": True}
    return SegmentationTask(voc, out, episodes=episodes, methods=methods, **told)  # type: ignore[arg-type]


def options_of(task: SegmentationTask) -> list[str]:
    """The command line of a task, after `segment`."""
    names = ("root", "out", "split_list", "fold", "way", "shot", "episodes", "seed", "weights", "device", "workers")
    given = {name: getattr(task, name) for name in names if getattr(task, name) is not None}
    values = [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]
    return [*values, *(f"--method={name}" for name in task.methods), "--skip-small-classes", "--no-report"]


def contents(out: Path) -> dict[str, bytes]:
    """Everything in a run's folder."""
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}

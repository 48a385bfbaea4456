"""Runs side by side: who is one system, what pairs, what the tables and the published rows say."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from eval.episodes.counts import RunCounts
from eval.episodes.plan import SegmentationTask
from eval.episodes.segmentation import run_segmentation
from eval.measures.bootstrap import p_value
from eval.studies.compare import compare, published
from eval.studies.compare_tables import comparison_tables
from eval.studies.pascal_val import validation_images
from eval.studies.systems import Part, System, load_systems
from eval.tables.published import THE_PAPER, read_published
from eval.tables.table import Table, markdown
from fewshot_seg.errors import ConfigError, DataError
from tests.eval.command_line import Done, evaluate
from tests.fewshot_seg.datasets.voc_files import make_voc

CONTENTS = {
    f"{name}_{n}": classes for name, classes in {"a": (6,), "b": (7,), "c": (1,), "d": (2,)}.items() for n in range(5)
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folds 0 and 1 of two blind methods, one run with both methods, another seed, and other queries."""
    folder = tmp_path_factory.mktemp("runs")
    voc = make_voc(folder / "voc", CONTENTS)
    task = SegmentationTask(voc, folder, split_list=voc / "list.txt", episodes=20, skip_small_classes=True, seed=0)
    for fold in (0, 1):
        for name in ("centre-box", "all-foreground"):
            run_segmentation(replace(task, out=folder / name / f"fold{fold}", fold=fold, methods=(name,)))
    run_segmentation(replace(task, out=folder / "both", fold=1, methods=("centre-box", "all-foreground")))
    run_segmentation(replace(task, out=folder / "seeded", fold=1, seed=5, methods=("all-foreground",)))
    run_segmentation(replace(task, out=folder / "short", fold=1, episodes=8, methods=("all-foreground",)))
    run_segmentation(replace(task, out=folder / "two-way", fold=1, way=2, methods=("all-foreground",)))
    return folder


def systems_of(runs: Path, *names: str) -> list[Path]:
    return [runs / name for name in names]


def command(*arguments: object) -> Done:
    return evaluate("compare", *arguments)


BOX = ("centre-box/fold0", "centre-box/fold1")
ALL = ("all-foreground/fold0", "all-foreground/fold1")


def test_runs_that_differ_in_their_fold_are_one_system(runs: Path) -> None:
    systems = load_systems(systems_of(runs, *BOX, *ALL))
    assert [(one.name, tuple(one.parts)) for one in systems] == [
        ("centre-box", ("0", "1")),
        ("all-foreground", ("0", "1")),
    ]
    metrics = [json.loads((runs / name / "metrics.json").read_text()) for name in BOX]
    assert systems[0].means(["0", "1"])["miou"] == pytest.approx(np.mean([one["miou"] for one in metrics]))


def test_other_runs_are_systems_of_their_own_with_names_of_their_own(runs: Path) -> None:
    systems = load_systems(systems_of(runs, "both", "seeded", "short", "seeded", "two-way"))
    assert [one.name for one in systems] == ["both: centre-box", "both: all-foreground", "seeded", "short", "two-way"]
    same_names = load_systems(systems_of(runs, "centre-box/fold1", "all-foreground/fold1"))
    assert [one.name for one in same_names] == ["centre-box/fold1", "all-foreground/fold1"]


def test_a_difference_is_paired_where_the_episodes_are_the_same(runs: Path) -> None:
    found = compare(load_systems(systems_of(runs, *BOX, *ALL)), 200)
    (one,) = found.differences
    box, everything = found.estimates
    assert (one.base, one.system, one.folds, one.pairing) == (
        "centre-box",
        "all-foreground",
        ("0", "1"),
        "same episodes",
    )
    assert one.means["miou"].value == pytest.approx(everything["miou"].value - box["miou"].value)
    low, high = one.means["miou"].interval or (0, 0)
    assert low <= one.means["miou"].value <= high
    for name, pairs in one.p_values.items():
        assert pairs is not None, name


def test_a_paired_interval_is_that_of_the_same_resamples(runs: Path) -> None:
    """By hand: the difference of both systems on the very same draws of queries."""
    systems = load_systems(systems_of(runs, "centre-box/fold1", "all-foreground/fold1"))
    (one,) = compare(systems, 300).differences
    box, everything = (system.parts["1"].drawn(300, seed=2)["miou"] for system in systems)
    assert one.means["miou"].interval == pytest.approx(np.quantile(everything - box, [0.025, 0.975]).tolist())
    assert one.p_values["miou"] == p_value(everything - box)


@pytest.mark.parametrize(
    ("other", "pairing"), [("seeded", "same queries"), ("short", "unpaired"), ("two-way", "unpaired")]
)
def test_what_two_runs_share(runs: Path, other: str, pairing: str) -> None:
    (one,) = compare(load_systems(systems_of(runs, "all-foreground/fold1", other)), 100).differences
    assert one.pairing == pairing
    if other == "seeded":  # blind to supports: the same masks
        assert one.means["miou"].interval == [0, 0]
        assert one.p_values["miou"] == 1


def test_unpaired_resamples_are_independent(runs: Path) -> None:
    """Of equally many queries, too: the same draws would cancel out, and the interval would be too narrow."""
    voc = make_voc(runs / "other", {f"{name}x": classes for name, classes in CONTENTS.items()})
    task = SegmentationTask(voc, runs / "renamed", split_list=voc / "list.txt", episodes=20, skip_small_classes=True)
    run_segmentation(replace(task, fold=1, methods=("all-foreground",), seed=0))
    (one,) = compare(load_systems(systems_of(runs, "all-foreground/fold1", "renamed")), 500).differences
    assert one.pairing == "unpaired"
    assert one.means["miou"].value == 0
    low, high = one.means["fb_iou"].interval or (0, 0)
    assert low <= 0 <= high


def test_folds_that_nobody_shares(runs: Path) -> None:
    found = compare(load_systems(systems_of(runs, "centre-box/fold0", "all-foreground/fold1")), 0)
    assert found.differences == ()
    assert found.estimates[0]["miou"].interval is None
    json.dumps(found.to_dict(), allow_nan=False)


def test_one_run_s_interval_is_the_one_in_its_metrics(runs: Path) -> None:
    (figures,) = compare(load_systems(systems_of(runs, "centre-box/fold1"))).estimates
    stored = json.loads((runs / "centre-box" / "fold1" / "metrics.json").read_text())["intervals"]
    assert {name: one.interval for name, one in figures.items()} == {name: stored[name] for name in figures}


def test_nothing_to_compare_and_folders_that_are_no_scored_run(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="name at least one run"):
        compare([])
    with pytest.raises(DataError, match="give the folder of a run"):
        load_systems([tmp_path])
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in (runs / "short").iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    (copy / "counts.npz").unlink()
    with pytest.raises(DataError, match="is not scored, or not as it is now; run 'fewshot-eval score'"):
        load_systems([copy])


# Tables


def test_tables_say_what_is_not_the_benchmark(runs: Path) -> None:
    figures, differences, beside = comparison_tables(compare(load_systems(systems_of(runs, *BOX, *ALL)), 50))
    assert figures.columns[-5:] == ("fold 0", "fold 1", "mean", "FB-IoU", "binary IoU")
    assert any("Not on PASCAL-5i's validation lists" in note for note in figures.notes)
    assert any("not over all four" in note for note in figures.notes)
    assert any("Left out of 1-shot runs, for having too few images: bird, boat" in note for note in figures.notes)
    assert [row[0] for row in differences.rows] == ["all-foreground"]
    assert {row[1] for row in beside.rows} == {"1-way 1-shot"}
    assert THE_PAPER in [row[0] for row in beside.rows]


def test_markdown_keeps_hostile_names_in_their_cells() -> None:
    table = Table("T", ("a|b", "n"), (("x|y <img src=x> `*_[\nz", "1"),), ("note *", "more"))
    lines = markdown([table]).splitlines()
    assert lines[2] == "| a\\|b | n |"
    assert lines[3] == "| --- | ---: |"
    assert lines[4] == "| x\\|y \\<img src=x> \\`\\*\\_\\[ z | 1 |"


def test_empty_columns_go() -> None:
    table = Table("T", ("name", "fold 0", "mean"), (("a", "-", "1"), ("b", "", "2")))
    assert table.without_empty_columns().columns == ("name", "mean")
    assert table.without_empty_columns().rows == (("a", "1"), ("b", "2"))


class Links(HTMLParser):
    """What a page would load, and its table rows."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.rows = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.rows += tag == "tr"
        self.found += [str(value) for name, value in attrs if name in ("src", "href") and value]


def test_the_command_prints_and_writes_it(runs: Path, tmp_path: Path) -> None:
    for ending in ("md", "json", "html"):
        done = command(runs / "both", *systems_of(runs, *ALL), "--bootstrap", 20, "--out", tmp_path / f"c.{ending}")
        assert (done.returncode, done.stderr) == (0, "")
    assert "Published on PASCAL-5i" in done.stdout
    assert "| both: centre-box | 1-way 1-shot |" in (tmp_path / "c.md").read_text()
    values = json.loads((tmp_path / "c.json").read_text())
    assert [one["name"] for one in values["systems"]] == ["both: centre-box", "both: all-foreground", "all-foreground"]
    assert values["differences"][0]["pairing"] == "same episodes"
    page = Links()
    page.feed((tmp_path / "c.html").read_text())
    assert all(link.startswith("#") for link in page.found)
    assert page.rows == 3 + 3 + 2 + len(values["published"])  # heads, systems, differences, published


def test_the_command_refuses_other_endings(runs: Path, tmp_path: Path) -> None:
    done = command(runs / "both", "--out", tmp_path / "c.txt")
    assert done.returncode == 1
    assert "choose a name that ends in .md, .json, .html" in done.stderr
    assert done.stderr.count("\n") == 1


# What was published


def test_every_row_of_the_paper_s_table_and_the_later_marks_are_there() -> None:
    one_way = {row["method"]: (row["mean"], row["folds"]) for row in published(1, 1) if row["folds"]}
    assert one_way == {
        "OSVOS": (32.6, [24.9, 38.8, 36.5, 30.1]),
        "OSLSM": (40.8, [33.6, 55.3, 40.9, 33.5]),
        "co-FCN": (41.1, [36.7, 50.6, 44.9, 32.4]),
        "PAN-init": (35.3, [30.8, 40.7, 38.3, 31.4]),
        THE_PAPER: (41.6, [37.9, 50.3, 44.4, 33.8]),
    }
    for shot, means in ((1, [39.7, 41.9, 42.7, 56.9]), (5, [40.3, 42.6, 43.7, 60.1])):
        assert [row["mean"] for row in published(2, shot)] == means
        assert {row["metric"] for row in published(2, shot)} == {"binary_iou"}
    later = {row["method"]: row["mean"] for row in published(1, 5)}
    assert later == {"PANet": 59.3, "PFENet": 61.9, "HSNet": 69.5, "BAM": 70.9, "HDMNet": 71.8, "Matcher": 74.0,
                     "GF-SAM": 82.6, "SegGPT": 89.8, "IMR-HSNet": 61.8, "AFANet": 66.2, "TLG": 77.9}  # fmt: skip
    assert len(read_published("segmentation")) == 5 + 8 + 22


def test_the_mean_of_published_folds_is_the_published_mean() -> None:
    for row in published(1, 1):
        if row["folds"]:
            assert row["mean"] == pytest.approx(sum(row["folds"]) / 4, abs=0.06), row["method"]


def test_the_setting_without_mask_and_name_is_the_paper_s_alone() -> None:
    assert {row["method"] for row in read_published("segmentation") if row["support"] == "nothing"} == {THE_PAPER}


@pytest.mark.realdata
def test_validation_images_are_known_and_no_others(shared_data: Path) -> None:
    lists = shared_data / "splits" / "pascal"
    ids = {part: {line[:-4] for n in range(4) for line in (lists / part / f"fold{n}.txt").read_text().split()}
           for part in ("val", "trn")}  # fmt: skip
    assert validation_images(ids["val"]) == sorted(ids["val"])
    assert validation_images(ids["trn"]) == []
    assert validation_images(line[:-4] for line in (shared_data / "voc" / "dev.txt").read_text().split()) == []


@pytest.mark.realdata
def test_only_whole_validation_lists_are_the_benchmark(shared_data: Path) -> None:
    lines = (shared_data / "splits" / "pascal" / "val" / "fold0.txt").read_text().split()
    config = {"dataset": "pascal5i", "fold": 0, "protocol": "hsnet"}

    def system(queries: list[str], **changes: object) -> System:
        counts = RunCounts(tuple(queries), np.ones((len(queries), 1), int), np.ones(len(queries), int), "")
        return System("s", {"0": Part(Path("run"), config | changes, counts, "ours")})

    queries = [line[:-4] for line in lines]
    assert system(queries).benchmark
    assert system(queries[:200], protocol="panet").benchmark  # which draws its queries
    assert not system(queries[:200]).benchmark
    assert not system([*queries, "2007_000063"]).benchmark
    assert not system(queries, dataset="masks").benchmark
    assert not system(queries, fold="all").benchmark
    assert not system(queries, missing_images=1).benchmark

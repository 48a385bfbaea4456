"""report.html: its figures are metrics.json's, it needs nothing else, and no name in the data becomes markup."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from eval.commands.lines import segment_line
from eval.commands.report import make_report
from eval.commands.segment import segment
from eval.episodes.plan import SegmentationTask
from eval.episodes.scoring import episode_table
from eval.episodes.segmentation import run_segmentation
from eval.report.segmentation import write_report
from eval.report.task import ReportTask
from fewshot_seg.datasets.pascal import PascalVoc
from fewshot_seg.errors import ConfigError, DataError, OutputError
from tests.eval.command_line import evaluate
from tests.eval.report.html_page import Page
from tests.eval.tiny import tiny_task


def report_of(task: SegmentationTask, **values: Any) -> Page:
    return Page(write_report(ReportTask(task.out, **values)).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> SegmentationTask:
    """Two-way, two-shot, with masks; a real network of random weights beside a blind method."""
    folder = tmp_path_factory.mktemp("run")
    task = tiny_task(folder, way=2, shot=2, episodes=30, methods=("ours", "centre-box"), support_hint="mask")
    run_segmentation(task)
    return task


@pytest.fixture(scope="module")
def page(finished: SegmentationTask) -> Page:
    return report_of(finished, examples=2)


@pytest.fixture
def blind(tmp_path: Path) -> SegmentationTask:
    task = tiny_task(tmp_path, methods=("centre-box",), episodes=25)
    run_segmentation(task)
    return task


def metrics_of(task: SegmentationTask) -> dict[str, Any]:
    return dict(json.loads((task.out / "metrics.json").read_text()))


def percent(value: float) -> str:
    return f"{100 * value:.1f}"


# What it shows


def test_the_figures_are_those_of_metrics_json(finished: SegmentationTask, page: Page) -> None:
    metrics = metrics_of(finished)
    for name, title in (("miou", "Class mean IoU"), ("fb_iou", "FB-IoU"), ("binary_iou", "Binary IoU")):
        low, high = metrics["intervals"][name]
        assert re.search(
            rf"{title} {percent(metrics[name])} % .*?95 % interval {percent(low)}–{percent(high)}", page.text
        )
    bars = {row[0].split()[0]: row for row in page.rows_with(4)}
    for name, iou in metrics["per_class"].items():
        assert bars[name][2] == percent(iou)
    methods = {row[0]: row[1].split()[0] for row in page.rows_with(4) if row[0] in metrics["methods"]}
    assert methods == {name: percent(scores["miou"]) for name, scores in metrics["methods"].items()}


def test_all_episodes_are_listed_the_worst_first(finished: SegmentationTask, page: Page) -> None:
    rows = [row for row in page.rows_with(5) if row[1].isdigit()]
    scores = episode_table(finished.out, PascalVoc(finished.root, finished.split_list))
    assert sorted(int(row[1]) for row in rows) == list(range(30))
    assert [float(row[0]) for row in rows] == sorted(round(100 * one.miou, 1) for one in scores)
    by_index = {int(row[1]): row for row in rows}
    for one in scores:
        assert by_index[one.index][3] == one.query
        assert all(f"{name} {percent(iou)}" in by_index[one.index][2] for name, iou in one.class_ious.items())


def test_values_to_sort_by_are_the_exact_ones(finished: SegmentationTask, page: Page) -> None:
    values = [float(one) for one in page.all("td", "data-v")]
    scores = episode_table(finished.out, PascalVoc(finished.root, finished.split_list))
    assert {f"{one.miou:.6g}" for one in scores} <= {f"{one:.6g}" for one in values}


def test_drawn_episodes_have_every_step_in_words_and_pictures(page: Page) -> None:
    """Two classes: 2 supports each, a query, attention and trimap of each class, prediction and truth."""
    words = page.all("img", "alt")
    cases = len([one for name, one in page.tags if name == "article"])
    assert cases == 6
    for what, count in (("support for", 4), ("query", 1), ("attention to", 2), ("trimap of", 2), ("prediction:", 1)):
        assert sum(one.startswith(what) for one in words) == count * cases, what
    for uri in page.all("img", "src"):
        with PIL.Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/jpeg;base64,")))) as image:
            image.verify()


def test_links_lead_somewhere_and_no_id_is_there_twice(page: Page) -> None:
    names = [one["id"] for _, one in page.tags if "id" in one]
    assert len(names) == len(set(names))
    assert {href.removeprefix("#") for href in page.all("a", "href")} <= set(names)


def test_a_reader_is_told_what_is_missing(finished: SegmentationTask, page: Page) -> None:
    metrics = metrics_of(finished)
    assert "Left out, for having too few images: cat, chair, cow." in page.text
    held = metrics["queries_with_all_classes"]
    assert f"In {held} of 30 episodes the query holds all of its classes." in page.text


def test_an_interval_of_one_image_is_none(blind: SegmentationTask) -> None:
    metrics = metrics_of(blind)
    metrics["intervals"]["per_class"] = {"bus": [0.123, 0.123], "car": [0.1, 0.234]}
    (blind.out / "metrics.json").write_text(json.dumps(metrics))
    text = report_of(blind).text
    assert "12.3–12.3" not in text
    assert "10.0–23.4" in text


def test_long_lists_of_names_are_cut(blind: SegmentationTask) -> None:
    names = [f"class {number}" for number in range(80)]
    (blind.out / "metrics.json").write_text(json.dumps(metrics_of(blind) | {"classes_without_episodes": names}))
    assert "No episode had: class 0, class 1, " in (text := report_of(blind).text)
    assert "class 14 and 65 more." in text


def test_missing_images_are_told(blind: SegmentationTask) -> None:
    path = blind.out / "metrics.json"
    path.write_text(json.dumps(metrics_of(blind) | {"missing_images": 1234}))
    assert "1,234 images of the list are missing from the data" in report_of(blind).text


def test_the_config_stands_in_it(page: Page, finished: SegmentationTask) -> None:
    pairs = dict(row for row in page.rows if len(row) == 2)
    config = json.loads((finished.out / "config.json").read_text())
    assert pairs["protocol"] == config["protocol"]
    assert pairs["weights_sha256"] == config["weights_sha256"]
    assert pairs["methods"] == "ours, centre-box"


# It needs nothing else, and is the same every time


def test_nothing_in_it_leads_out_of_the_page(page: Page, finished: SegmentationTask) -> None:
    text = (finished.out / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|//[a-z]|url\(|@import|<link|<iframe", re.sub(r"base64,[\w+/=]+", "", text))
    assert all(uri.startswith("data:image/jpeg;base64,") for uri in page.all("img", "src"))
    assert all(href.startswith("#") for href in page.all("a", "href"))
    policy = page.all("meta", "content")[0]
    assert policy.startswith("default-src 'none'; img-src data:")


def test_the_policy_lets_our_script_run_and_no_other(finished: SegmentationTask) -> None:
    text = (finished.out / "report.html").read_text(encoding="utf-8")
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert len(scripts) == 1
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert f"'sha256-{digest}'" in text
    assert " on" not in {key[:3] for _, one in Page(text).tags for key in one}


def test_the_same_run_gives_the_same_bytes(finished: SegmentationTask) -> None:
    first = write_report(ReportTask(finished.out, examples=2)).read_bytes()
    assert write_report(ReportTask(finished.out, examples=2)).read_bytes() == first


def test_many_large_pictures_stay_within_the_limit(tmp_path: Path) -> None:
    """Noise, the worst that a JPEG can meet, larger than any picture of a report."""
    task = tiny_task(tmp_path, methods=("centre-box",), episodes=40)
    noise = np.random.default_rng(0).integers(0, 256, (700, 900, 3), dtype=np.uint8)
    for path in (task.root / "JPEGImages").iterdir():
        PIL.Image.fromarray(noise).save(path)
        mask = task.root / "SegmentationClass" / f"{path.stem}.png"
        with PIL.Image.open(mask) as small:
            small.resize((900, 700), PIL.Image.Resampling.NEAREST).save(mask)
    run_segmentation(task)
    path = write_report(ReportTask(task.out, examples=13))
    assert 1_000_000 < path.stat().st_size < 12_000_000


# Names that would be markup


@pytest.fixture
def hostile(tmp_path: Path) -> Iterator[Page]:
    """A class folder data set whose class and image names are markup."""
    names = ("<script>alert('class')<%2Fscript>", "b&quot; onload=alert(2) &lt;i&gt;")
    rng = np.random.default_rng(0)
    for name in names:
        folder = tmp_path / "data" / name
        folder.mkdir(parents=True)
        for number in range(4):
            pixels = rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)
            mask = np.zeros((20, 24), np.uint8)
            mask[4:15, 5:15] = 255
            PIL.Image.fromarray(pixels).save(folder / f"<b>{number}'.jpg")
            PIL.Image.fromarray(mask).save(folder / f"<b>{number}'_mask.png")
    task = SegmentationTask(
        root=tmp_path / "data",
        out=tmp_path / "<i>run",
        dataset="folder",
        fold="all",
        episodes=6,
        methods=("centre-box",),
    )
    run_segmentation(task)
    return report_of(task)


def test_names_in_the_data_are_text(hostile: Page) -> None:
    assert "<script>alert('class')<%2Fscript>" in hostile.text
    assert "b&quot; onload=alert(2) &lt;i&gt;" in hostile.text
    assert [name for name, _ in hostile.tags].count("script") == 1
    assert not {"b", "i"} & {name for name, one in hostile.tags if not one and name != "b"}
    assert not any(key.startswith("on") for _, one in hostile.tags for key in one)


# What can't be drawn


def test_without_its_weights_a_run_is_drawn_without_steps_and_says_so(
    finished: SegmentationTask, tmp_path: Path
) -> None:
    out = shutil.copytree(finished.out, tmp_path / "copy")
    config = json.loads((out / "config.json").read_text())
    for change in (
        {"weights": str(tmp_path / "gone.safetensors")},
        {"weights_sha256": "0" * 64},
        {"segmenter": {"ours": {"new": 1}}},
    ):
        (out / "config.json").write_text(json.dumps(config | change))
        page = report_of(replace(finished, out=out), examples=1)
        assert "Attention and trimaps are left out" in page.text
        assert not any(one.startswith("attention") for one in page.all("img", "alt"))
        assert any(one.startswith("prediction") for one in page.all("img", "alt"))


def test_another_mask_than_the_one_kept_is_told(finished: SegmentationTask, tmp_path: Path) -> None:
    out = shutil.copytree(finished.out, tmp_path / "copy")
    shutil.copy(out / "predictions-centre-box.jsonl", out / "predictions.jsonl")
    assert (
        "In 3 of the 3 episodes drawn, segmenting again gives another mask"
        in report_of(replace(finished, out=out), examples=1).text
    )


def test_a_blind_method_has_no_steps_and_no_complaint(blind: SegmentationTask) -> None:
    page = report_of(blind)
    assert "left out, for they" not in page.text
    assert {one.split()[0] for one in page.all("img", "alt")} == {"support", "query", "prediction:", "truth:"}


def test_data_that_moved_is_given_by_an_option(blind: SegmentationTask, tmp_path: Path) -> None:
    before = write_report(ReportTask(blind.out)).read_bytes()
    moved = blind.root.rename(tmp_path / "moved")
    with pytest.raises(DataError, match="voc"):
        write_report(ReportTask(blind.out))
    assert write_report(ReportTask(blind.out, moved, moved / "list.txt")).read_bytes() == before


def test_a_folder_without_a_finished_run_is_refused(blind: SegmentationTask, tmp_path: Path) -> None:
    (blind.out / "metrics.json").unlink()
    with pytest.raises(DataError, match=r"metrics\.json: cannot be read .*run the evaluation to its end first"):
        write_report(ReportTask(blind.out))
    with pytest.raises(DataError, match=r"config\.json: cannot be read"):
        write_report(ReportTask(tmp_path))
    with pytest.raises(ConfigError, match="examples -1"):
        ReportTask(tmp_path, examples=-1)


def test_a_report_that_cannot_be_written_leaves_the_old_one(blind: SegmentationTask) -> None:
    (blind.out / "report.html").mkdir()
    with pytest.raises(OutputError, match="report"):
        write_report(ReportTask(blind.out))
    assert not list(blind.out.glob(".fewshot*"))


# The command


def test_the_command_shown_makes_the_same_run(blind: SegmentationTask, tmp_path: Path) -> None:
    """Whatever options a run has, they are in the command; here it is run, without a report of its own."""
    config = json.loads((blind.out / "config.json").read_text())
    line = segment_line(segment, config, metrics_of(blind), tmp_path / "again")
    assert line.startswith("fewshot-eval segment --root ")
    arguments = [*shlex.split(line)[1:], "--no-report"]
    done = evaluate(*arguments)
    assert done.returncode == 0, done.stderr
    for name in ("config.json", "episodes.jsonl", "predictions-centre-box.jsonl", "metrics.json"):
        assert (tmp_path / "again" / name).read_bytes() == (blind.out / name).read_bytes(), name
    assert not (tmp_path / "again" / "report.html").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"way": 2, "shot": 5, "support_hint": "mask"}, "--way 2, --shot 5, --support-hint mask"),
        ({"methods": ["ours"], "fold": "all"}, "--fold all"),
        ({"absent": True, "episodes": 60, "query_hint": "box"}, "--absent, --episodes 30, --query-hint box"),
        ({"matcher": {"choice": "fold2", "option": "fold2"}}, "--matcher fold2"),
        ({"methods": ["ours", "paper"]}, "--method ours --method paper"),
        ({"root": "a b'c"}, """--root 'a b'"'"'c'"""),
    ],
)
def test_the_command_has_what_is_not_the_default(blind: SegmentationTask, changes: dict[str, Any], words: str) -> None:
    config = json.loads((blind.out / "config.json").read_text()) | changes
    line = segment_line(segment, config, metrics_of(blind), blind.out)
    assert all(f" {one}" in line for one in words.split(", "))
    assert "--protocol" not in line
    assert "--no-" not in line


def test_options_that_no_command_can_change_stand_behind_it(finished: SegmentationTask) -> None:
    config = json.loads((finished.out / "config.json").read_text())
    assert "#" not in segment_line(segment, config, metrics_of(finished), finished.out)
    config["segmenter"]["ours"]["grabcut"]["iterations"] = 7
    assert segment_line(segment, config, metrics_of(finished), finished.out).endswith("  # with grabcut.iterations=7")


def test_the_command_writes_a_report_with_the_command_in_it(blind: SegmentationTask) -> None:
    path = make_report(blind.out, examples=1)
    assert path == blind.out / "report.html"
    assert f"--out {blind.out}" in Page(path.read_text(encoding="utf-8")).text

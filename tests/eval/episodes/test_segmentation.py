from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest

from eval.commands.options import Dataset, Drawing
from eval.episodes.methods import Engine, HintKinds, build_method, centre_box
from eval.episodes.plan import SegmentationTask
from eval.episodes.segmentation import run_segmentation
from fewshot_seg.datasets import VOID, dataset_names
from fewshot_seg.datasets.pascal import PascalVoc
from fewshot_seg.episodes.episode import Episode
from fewshot_seg.episodes.protocols import PROTOCOLS
from fewshot_seg.errors import ConfigError, DataError, FewShotError, OutputError
from fewshot_seg.imaging.geometry import decode_rle
from fewshot_seg.network.embedding import Embedder, load_embedder, save_checkpoint
from tests.eval.command_line import evaluate
from tests.eval.tiny import blind_task
from tests.fewshot_seg.datasets.voc_files import labels_of, make_voc, sixteen, write_mask

BLIND = ("all-foreground", "centre-box")


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """Classes 6 and 7, so a part of fold 1."""
    return make_voc(tmp_path / "voc", sixteen(first=6))


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return load_embedder("default", device="cpu")


@pytest.fixture
def task(voc: Path, tmp_path: Path) -> SegmentationTask:
    return blind_task(voc, tmp_path / "run", 25, BLIND)


def contents(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir()}


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def command(task: SegmentationTask, *more: str) -> list[str]:
    methods = [part for name in task.methods for part in ("--method", name)]
    options = {"root": task.root, "out": task.out, "split-list": task.split_list, "fold": task.fold}
    options |= {"episodes": task.episodes, "way": task.way, "shot": task.shot, "seed": task.seed}
    flags = [f"--{name}={value}" for name, value in options.items() if value is not None]
    return [sys.executable, "-m", "eval.cli", "segment", *flags, *methods, "--skip-small-classes", *more]


# What a run writes


def test_the_run_s_folder(task: SegmentationTask) -> None:
    metrics = run_segmentation(task)
    written = {"config.json", "counts.npz", "episodes.jsonl", "metrics.json"}
    assert set(contents(task.out)) == written | {f"predictions-{name}.jsonl" for name in BLIND}
    assert json.loads((task.out / "metrics.json").read_text()) == metrics
    assert {"miou", "fb_iou", "binary_iou", "per_class", "episodes"} <= set(metrics)
    assert metrics["per_class"] == metrics["methods"]["all-foreground"]["per_class"]
    assert set(metrics["per_class"]) == {"bus", "car"}
    assert metrics["episodes"] == metrics["queries_with_all_classes"] == 25
    assert metrics["classes_left_out"] == ["cat", "chair", "cow"]
    assert metrics["classes_without_episodes"] == []


def test_the_figures_are_those_of_the_masks(task: SegmentationTask, voc: Path) -> None:
    """Everything foreground, worked out from the masks alone."""
    metrics = run_segmentation(replace(task, methods=("all-foreground",)))
    dataset = PascalVoc(voc, voc / "list.txt")
    inside, valid = {6: 0, 7: 0}, {6: 0, 7: 0}
    for n in range(25):
        image, label = dataset.entries[n % len(dataset.entries)]
        mask = dataset.mask(image)
        inside[label] += int((mask == label).sum())
        valid[label] += int((mask != VOID).sum())
    assert metrics["per_class"] == {"bus": inside[6] / valid[6], "car": inside[7] / valid[7]}
    assert metrics["fb_iou"] == pytest.approx(sum(inside.values()) / sum(valid.values()) / 2)


def test_predictions_are_coco_rle_at_native_size(task: SegmentationTask) -> None:
    run_segmentation(replace(task, way=2))
    lines = lines_of(task.out / "predictions-centre-box.jsonl")
    episodes = lines_of(task.out / "episodes.jsonl")
    assert [line["index"] for line in lines] == list(range(25))
    for line, episode in zip(lines, episodes, strict=True):
        assert list(line) == ["index", "query", "supports", "masks"]
        assert {key: line[key] for key in episode} == episode
        assert list(line["masks"]) == list(line["supports"]) == ["bus", "car"]
        assert line["masks"]["bus"]["size"] == [24, 32]
        assert np.array_equal(decode_rle(line["masks"]["bus"]), centre_box((24, 32)))
        assert not decode_rle(line["masks"]["car"]).any()


@pytest.mark.parametrize("size", [(375, 500), (24, 32), (1, 1), (1, 400), (333, 17)])
def test_the_centred_box_is_half_of_the_area_and_centred(size: tuple[int, int]) -> None:
    mask = centre_box(size)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    assert abs(mask.sum() / mask.size - 0.5) <= 0.5 / min(size)
    for side, inside in zip(size, (rows, columns), strict=True):
        assert abs((side - 1 - inside[-1]) - inside[0]) <= 1
        assert len(inside) == pytest.approx(side * np.sqrt(0.5), abs=0.5)


def test_the_same_seed_gives_the_same_run_and_another_one_other_episodes(task: SegmentationTask) -> None:
    run_segmentation(task)
    again, other = (replace(task, out=task.out.with_name(name), seed=n) for n, name in enumerate("ab"))
    run_segmentation(replace(again, workers=5))
    run_segmentation(other)
    assert contents(again.out) == contents(task.out)
    assert contents(other.out)["episodes.jsonl"] != contents(task.out)["episodes.jsonl"]


def test_a_run_moved_with_its_data_goes_on(task: SegmentationTask, tmp_path: Path) -> None:
    run_segmentation(task)
    moved = task.root.rename(tmp_path / "moved")
    before = contents(task.out)
    run_segmentation(replace(task, root=moved, split_list=moved / "list.txt"))
    assert contents(task.out) == before


# Resuming


@pytest.mark.parametrize("keep", [0, 1, 700, 1500, -1])
def test_a_cut_file_of_predictions_is_completed(task: SegmentationTask, keep: int) -> None:
    run_segmentation(task)
    whole = contents(task.out)
    path = task.out / "predictions-centre-box.jsonl"
    (task.out / "metrics.json").unlink()
    path.write_bytes(path.read_bytes()[:keep])
    run_segmentation(task)
    assert contents(task.out) == whole


def test_what_is_there_is_not_computed_again(task: SegmentationTask) -> None:
    """A finished line is believed: one that was changed shows in the score."""
    run_segmentation(task)
    path = task.out / "predictions-centre-box.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    everything = (task.out / "predictions-all-foreground.jsonl").read_text().splitlines(keepends=True)
    path.write_text("".join(everything[:24]) + lines[24][:30])
    methods = run_segmentation(task)["methods"]
    assert path.read_text() == "".join(everything[:24]) + lines[24]
    assert methods["centre-box"]["miou"] == pytest.approx(methods["all-foreground"]["miou"], abs=0.05)


def test_killed_at_any_point_it_ends_in_the_same_numbers(task: SegmentationTask) -> None:
    task = replace(task, episodes=1500)
    whole = run_segmentation(replace(task, out=task.out.with_name("whole")))
    statuses = []
    for lines in (1, 400, 1000):
        process = subprocess.Popen(command(task), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        _wait_for(task.out / "predictions-centre-box.jsonl", lines)
        process.kill()
        statuses.append(process.wait())
    assert all(statuses)  # none had come to its end
    assert run_segmentation(task) == whole


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT for other processes on Windows")
def test_ctrl_c_keeps_what_is_finished_and_says_so(task: SegmentationTask) -> None:
    task = replace(task, episodes=3000, methods=("centre-box",))
    process = subprocess.Popen(command(task), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    _wait_for(task.out / "predictions-centre-box.jsonl", 50)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr.splitlines() == ["fewshot-eval: interrupted: the same command goes on from here"]
    assert 50 <= len(lines_of(task.out / "predictions-centre-box.jsonl")) < 3000


def _wait_for(path: Path, lines: int) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if path.exists() and path.read_bytes().count(b"\n") >= lines:
            return
        time.sleep(0.005)
    pytest.fail(f"{path} never had {lines} lines")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, "seed 0, now 1"),
        ({"episodes": 24}, "episodes 25, now 24"),
        ({"way": 2}, "way 1, now 2"),
        ({"shot": 2}, "shot 1, now 2"),
        ({"support_hint": "mask"}, 'support_hint null, now "mask"'),
        ({"methods": BLIND[:1]}, "another methods"),
        ({"fold": "all"}, r'fold 1, now "all"'),
    ],
)
def test_another_config_in_the_same_folder_is_refused(
    task: SegmentationTask, change: dict[str, Any], message: str
) -> None:
    run_segmentation(task)
    before = contents(task.out)
    with pytest.raises(ConfigError, match=f"holds another run: .*{message}.*; choose another --out"):
        run_segmentation(replace(task, **change))
    assert contents(task.out) == before


def test_another_list_with_other_episodes_is_refused(task: SegmentationTask, voc: Path) -> None:
    run_segmentation(task)
    (voc / "list.txt").write_text("\n".join(reversed((voc / "list.txt").read_text().splitlines())))
    with pytest.raises(ConfigError, match="holds other episodes"):
        run_segmentation(task)


def test_a_folder_of_something_else_is_left_alone(task: SegmentationTask) -> None:
    task.out.mkdir()
    (task.out / "predictions.jsonl").write_text("{}\n")
    with pytest.raises(ConfigError, match=r"holds other files and no run \(no config\.json\)"):
        run_segmentation(task)
    (task.out / "config.json").write_text("{")
    with pytest.raises(DataError, match=r"config\.json: cannot be read"):
        run_segmentation(task)
    assert set(contents(task.out)) == {"predictions.jsonl", "config.json"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query": "b_5"}, "predictions-centre-box.jsonl:2: is not this run's episode"),
        ({"masks": {}}, "predictions-centre-box.jsonl:2: a mask is missing"),
        ({"masks": {"bus": {"size": [24, 32], "counts": [384, 768]}}}, "run lengths don't add up to 24 x 32 pixels"),
        (
            {"masks": {"bus": {"size": [3, 4], "counts": "<"}}},
            r"run lengths are of size \[3, 4\], the image of \[24, 32\]",
        ),
    ],
)
def test_predictions_that_somebody_changed(task: SegmentationTask, change: dict[str, Any], message: str) -> None:
    run_segmentation(task)
    path = task.out / "predictions-centre-box.jsonl"
    lines = lines_of(path)
    lines[1] |= change
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(DataError, match=message):
        run_segmentation(task)


# Bad input


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"methods": ("best",)}, ConfigError, "unknown method 'best': choose ours, no-grabcut"),
        ({"methods": ()}, ConfigError, "name at least one"),
        ({"methods": ("ours", "ours")}, ConfigError, "each once"),
        ({"protocol": "ours"}, ConfigError, "unknown protocol 'ours': choose hsnet"),
        ({"workers": 0}, ConfigError, "workers 0"),
        ({"fold": 9}, ConfigError, "fold 9"),
        ({"way": 3}, ConfigError, "way 3: must be from 1 to the number of classes, 2"),
        ({"shot": 10}, DataError, "no class of fold 1 has the 11 images"),
        ({"skip_small_classes": False}, DataError, r"too few of cat \(0\).*--skip-small-classes"),
        ({"root": Path("nowhere")}, DataError, "No such file or directory"),
        ({"dataset": "coco"}, ConfigError, "unknown data set 'coco'"),
        ({"episodes": 0}, ConfigError, "episodes 0"),
    ],
)
def test_impossible_tasks(
    task: SegmentationTask, change: dict[str, Any], error: type[FewShotError], message: str
) -> None:
    with pytest.raises(error, match=message):
        run_segmentation(replace(task, **change))
    assert not task.out.exists()


def test_a_folder_that_cannot_be_written(task: SegmentationTask) -> None:
    task.out.write_text("a file")
    with pytest.raises(OutputError):
        run_segmentation(task)


def test_a_bad_image_stops_the_run_keeps_what_is_finished_and_goes_on_when_mended(
    task: SegmentationTask, voc: Path
) -> None:
    task = replace(task, methods=("centre-box",))
    image = voc / "JPEGImages" / "a_3.jpg"
    good = image.read_bytes()
    image.write_bytes(good[:100])
    with pytest.raises(FewShotError, match=r"a_3\.jpg"):
        run_segmentation(task)
    assert len(lines_of(task.out / "predictions-centre-box.jsonl")) == 3
    image.write_bytes(good)
    assert run_segmentation(task)["episodes"] == 25


def test_a_support_listed_with_a_class_that_its_mask_lacks(voc: Path, embedder: Embedder) -> None:
    dataset = PascalVoc(voc, voc / "list.txt")
    write_mask(voc / "SegmentationClass" / "a_1.png", labels_of(9))
    engine = Engine(embedder, HintKinds("mask"))
    with pytest.raises(DataError, match=r"a_1\.jpg: listed as 'bus', but its mask holds none"):
        build_method("ours", engine)(dataset, Episode(0, "a_0", (6,), {6: ("a_1",)}))


# The command


def test_the_command_prints_a_table_and_names_what_was_left_out(task: SegmentationTask) -> None:
    done = evaluate(*command(task)[3:])
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    rows = [line.split() for line in done.stdout.splitlines()]
    assert [row[0] for row in rows if row and row[0] in BLIND] == list(BLIND)
    assert ["class", "IoU", *BLIND] in rows
    assert "Left out, for having too few images: cat, chair, cow" in done.stdout
    assert str(task.out / "metrics.json") in done.stdout


def test_errors_are_one_line_and_a_non_zero_exit(task: SegmentationTask) -> None:
    done = evaluate(*command(replace(task, root=task.root / "nothing"))[3:])
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("fewshot-eval: error: ")
    assert done.stderr.count("\n") == 1


def test_the_command_offers_what_there_is() -> None:
    assert get_args(Dataset) == dataset_names()
    assert get_args(get_type_hints(Drawing)["protocol"]) == tuple(PROTOCOLS)


# The segmenter itself


@pytest.mark.parametrize(("way", "hint"), [(1, None), (2, "mask")])
def test_the_segmenter_resumes_to_the_same_predictions(task: SegmentationTask, way: int, hint: str | None) -> None:
    task = replace(task, way=way, episodes=5, methods=("ours",), support_hint=hint, device="cpu")
    metrics = run_segmentation(task)
    whole = contents(task.out)
    path = task.out / "predictions.jsonl"
    path.write_bytes(path.read_bytes()[:-100])
    assert run_segmentation(replace(task, workers=1)) == metrics
    assert contents(task.out) == whole
    config = json.loads(whole["config.json"])
    assert config["segmenter"]["ours"]["refine"] == "guided"
    assert len(config["weights_sha256"]) == 64


def test_other_weights_in_the_same_folder_are_refused(
    task: SegmentationTask, tmp_path: Path, embedder: Embedder
) -> None:
    task = replace(task, episodes=1, methods=("attention",), device="cpu", weights=str(tmp_path / "w.safetensors"))
    save_checkpoint(embedder, task.weights)
    run_segmentation(task)
    other = copy.deepcopy(embedder)
    for parameter in other.parameters():
        parameter.data.mul_(1.001)
    save_checkpoint(other, task.weights)
    with pytest.raises(ConfigError, match="weights_sha256"):
        run_segmentation(task)


@pytest.mark.realdata
def test_ours_beats_both_trivial_baselines_on_real_images(shared_data: Path, tmp_path: Path) -> None:
    """One-way one-shot without masks, on the list's first entries."""
    voc = shared_data / "voc"
    task = SegmentationTask(
        root=voc,
        out=tmp_path / "run",
        split_list=voc / "dev.txt",
        fold="all",
        episodes=60,
        methods=("ours", *BLIND),
        skip_small_classes=True,
    )
    methods = run_segmentation(task)["methods"]
    assert {scores["episodes"] for scores in methods.values()} == {60}
    for name in BLIND:
        assert methods["ours"]["miou"] > methods[name]["miou"], name

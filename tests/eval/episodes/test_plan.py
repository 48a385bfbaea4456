"""What a run consists of: every protocol and data set, lists replayed, images that are missing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from eval.episodes.plan import SegmentationTask
from eval.episodes.scoring import score_folder
from eval.episodes.segmentation import run_segmentation
from fewshot_seg.episodes.protocols import PROTOCOLS
from fewshot_seg.errors import ConfigError, DataError, FewShotError
from tests.eval.command_line import evaluate
from tests.eval.tiny import blind_task
from tests.fewshot_seg.datasets.voc_files import make_voc, sixteen, write_image
from tests.fewshot_seg.imaging.mask_files import make_class_folders, make_images_and_masks, write_coco

BLIND = ("centre-box",)


@pytest.fixture
def task(tmp_path: Path) -> SegmentationTask:
    """Classes 6 and 7, so a part of fold 1."""
    voc = make_voc(tmp_path / "voc", sixteen(first=6))
    return blind_task(voc, tmp_path / "run", 30, BLIND)


def config_of(task: SegmentationTask) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((task.out / "config.json").read_text())
    return config


def episodes_of(task: SegmentationTask) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (task.out / "episodes.jsonl").read_text().splitlines()]


# Protocols


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
@pytest.mark.parametrize("way", [1, 2])
def test_every_protocol_runs_and_is_scored_again(task: SegmentationTask, protocol: str, way: int) -> None:
    task = replace(task, protocol=protocol, way=way)
    metrics = run_segmentation(task)
    assert metrics["protocol"] == config_of(task)["protocol"] == protocol
    assert metrics["missing_images"] == 0
    assert metrics["episodes"] == len(episodes_of(task)) == 30
    assert metrics["as_panet"]["runs"] == PROTOCOLS[protocol].runs
    before = (task.out / "metrics.json").read_bytes()
    score_folder(task.out)
    assert (task.out / "metrics.json").read_bytes() == before


def test_number_and_seed_are_the_protocol_s_own(task: SegmentationTask) -> None:
    run_segmentation(replace(task, protocol="native", episodes=None))
    assert config_of(task)["episodes"] == 20 * 9
    other = replace(task, protocol="pfenet", out=task.out.with_name("other"))
    run_segmentation(other)
    assert config_of(other)["seed"] == 321
    assert run_segmentation(replace(other, seed=321)) == run_segmentation(other)
    with pytest.raises(ConfigError, match="seed 321, now 0"):
        run_segmentation(replace(other, seed=0))


def test_panet_s_queries_need_not_hold_all_classes(task: SegmentationTask) -> None:
    metrics = run_segmentation(replace(task, protocol="panet", way=2))
    assert 0 < metrics["queries_with_all_classes"] < 25
    assert metrics["presence"]["absent"] > 5


# Other people's episodes


def test_a_list_replays_the_same_run(task: SegmentationTask, tmp_path: Path) -> None:
    whole = run_segmentation(replace(task, way=2, shot=2))
    again = replace(task, out=tmp_path / "again", episodes=None, episodes_file=task.out / "episodes.jsonl")
    assert run_segmentation(again) == {
        **whole,
        "classes_left_out": [],
        "classes_without_episodes": ["cat", "chair", "cow"],
    }
    for name in ("episodes.jsonl", "predictions-centre-box.jsonl"):
        assert (again.out / name).read_bytes() == (task.out / name).read_bytes()
    config = config_of(again)
    assert (config["way"], config["shot"], config["episodes"]) == (2, 2, 30)
    moved = task.out.rename(tmp_path / "elsewhere")
    run_segmentation(replace(again, episodes_file=moved / "episodes.jsonl"))  # the same list in another place


def test_the_first_episodes_of_a_plain_list(task: SegmentationTask, tmp_path: Path) -> None:
    (tmp_path / "e.txt").write_text("a_0 | bus a_1 a_2\nc_0 | 7 b_1 b_2\nc_1 | 7 b_1 b_2\n")
    listed = replace(task, episodes_file=tmp_path / "e.txt", episodes=2)
    metrics = run_segmentation(listed)
    assert (metrics["episodes"], set(metrics["per_class"])) == (2, {"bus", "car"})
    assert (config_of(listed)["way"], config_of(listed)["shot"]) == (1, 2)
    with pytest.raises(ConfigError, match=r"e\.txt: 3 episodes, but 4 are asked for"):
        run_segmentation(replace(listed, episodes=4))
    with pytest.raises(ConfigError, match="episodes 0"):
        run_segmentation(replace(listed, episodes=0))
    with pytest.raises(ConfigError, match=r"e\.txt: 'bus' is not in fold 0; give the fold that the list is of"):
        run_segmentation(replace(listed, fold=0))
    (tmp_path / "e.txt").write_text("a_0 | bus a_1 a_3\nc_0 | 7 b_1 b_2\n")
    with pytest.raises(ConfigError, match="holds other episodes"):
        run_segmentation(listed)


# What is missing


def test_missing_images_are_counted_in_everything_that_is_written_and_said(task: SegmentationTask) -> None:
    for n in range(4):
        (task.root / "JPEGImages" / f"a_{n}.jpg").unlink()
    (task.root / "SegmentationClass" / "b_0.png").unlink()
    with pytest.raises(DataError, match=r"4 of 16 images are missing: a_0\.jpg, a_1\.jpg, a_2\.jpg, \.\.\."):
        run_segmentation(task)
    flags = ("--root", task.root, "--split-list", task.split_list, "--fold", 1, "--skip-small-classes")
    method = ("--method", "centre-box", "--episodes", 20, "--allow-missing")
    done = evaluate("segment", *flags, *method, "--out", task.out)
    assert done.returncode == 0, done.stderr
    assert "Without 5 images that are listed, but not there" in done.stdout
    metrics = json.loads((task.out / "metrics.json").read_text())
    assert metrics["missing_images"] == config_of(task)["missing_images"] == 5
    assert not {"a_0", "a_3", "b_0"}.intersection(one["query"] for one in episodes_of(task))
    assert score_folder(task.out) == metrics
    assert "Without images that are listed, but not there (how many): run (5)." in evaluate("compare", task.out).stdout
    write_image(task.root / "JPEGImages" / "a_0.jpg", (24, 32))
    with pytest.raises(ConfigError, match="missing_images 5, now 4"):
        run_segmentation(replace(task, episodes=20, allow_missing=True))


# Every data set, and bad data in each


def make_data(root: Path) -> dict[str, Path]:
    pets = {"a": (1,), "b": (2,), "c": (1, 2), "d": (1, 2)}
    names = {image: tuple(("cat", "dog")[label - 1] for label in labels) for image, labels in pets.items()}
    write_coco(root / "coco20i", ("cat", "dog"), names)
    make_voc(root / "pascal5i", pets)
    make_images_and_masks(root / "masks", ["cat", "dog"], pets)
    make_class_folders(root / "folder", {"cat": 3, "dog": 3})
    return {path.name: path for path in root.iterdir()}


def test_every_data_set_runs(tmp_path: Path) -> None:
    for name, root in make_data(tmp_path / "data").items():
        task = SegmentationTask(root, tmp_path / name, name, fold="all", episodes=12, methods=BLIND)
        metrics = run_segmentation(replace(task, skip_small_classes=True))
        assert metrics["episodes"] == 12
        assert len(metrics["per_class"]) == 2
        if name != "pascal5i":
            assert metrics["classes_left_out"] == []


@pytest.mark.parametrize("name", ["pascal5i", "coco20i", "masks", "folder"])
def test_fewer_images_than_shots_and_a_query_are_one_error(tmp_path: Path, name: str) -> None:
    task = SegmentationTask(make_data(tmp_path / "data")[name], tmp_path / "run", name, fold="all", methods=BLIND)
    first = "aeroplane" if name == "pascal5i" else "cat"
    with pytest.raises(DataError, match=rf"3-shot episodes need 4 images of each class; too few of {first} \(3\)"):
        run_segmentation(replace(task, shot=3))
    assert not task.out.exists()


@pytest.mark.parametrize("name", ["pascal5i", "masks", "folder"])
def test_masks_that_do_not_fit_are_one_error(tmp_path: Path, name: str) -> None:
    root = make_data(tmp_path / "data")[name]
    task = SegmentationTask(root, tmp_path / "run", name, fold="all", methods=BLIND, episodes=12)
    for path in [*root.glob("masks/*.png"), *root.glob("SegmentationClass/*.png"), *root.glob("cat/*.png")]:
        with PIL.Image.open(path) as mask:
            mask.resize((16, 12), PIL.Image.Resampling.NEAREST).save(path)
    with pytest.raises(
        DataError, match=r"masks of another size than their image are brought to it: [34], the first is"
    ):
        run_segmentation(replace(task, skip_small_classes=True, strict=True))


def test_an_empty_class_is_one_error(tmp_path: Path) -> None:
    data = make_data(tmp_path / "data")
    task = SegmentationTask(data["masks"], tmp_path / "run", "masks", fold="all", methods=BLIND)
    (data["masks"] / "classes.json").write_text('["cat", "dog", "elk"]')
    with pytest.raises(DataError, match=r"too few of elk \(0\); give a longer list, or leave such classes out"):
        run_segmentation(task)
    PIL.Image.fromarray(np.zeros((24, 32), np.uint8)).save(data["folder"] / "cat" / "1.png")
    folder = replace(task, root=data["folder"], dataset="folder", episodes=12)
    with pytest.raises(FewShotError, match=r"cat/1\.png: the mask has no foreground; mark the object"):
        run_segmentation(folder)


# The list command


def test_the_command_makes_a_list_that_a_run_takes(task: SegmentationTask, tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("".join(f"{name}_{n}\n" for name in "abc" for n in range(4)))
    out = tmp_path / "lists" / "fold1.txt"
    done = evaluate(
        "split-list", "--root", task.root, "--fold", 1, "--rule", "any", "--images", tmp_path / "ids.txt", "-o", out
    )
    assert done.returncode == 0, done.stderr
    assert f"16 entries of 12 images: {out}" in done.stdout
    assert out.read_text().splitlines()[:2] == ["a_0__06", "a_1__06"]
    assert run_segmentation(replace(task, split_list=out))["episodes"] == 30


def test_the_list_command_s_errors_are_one_line(task: SegmentationTask, tmp_path: Path) -> None:
    done = evaluate("split-list", "--root", task.root, "--out", tmp_path / "list.txt")  # all objects here are small
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("fewshot-eval: error: rule 'oslsm' leaves no class of any image")
    assert done.stderr.count("\n") == 1

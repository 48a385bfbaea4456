"""Another package's refiner, backbone and method run by their names; a bad one is one line with its package in it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from typer import BadParameter

from eval.commands.options import known_methods
from eval.episodes.methods import build_method
from eval.episodes.segmentation import run_segmentation
from fewshot_seg.cutting.refiners import RefinerSetting, build_refiner, refiner_names
from fewshot_seg.errors import CheckpointError, ConfigError, FewShotError
from fewshot_seg.network.checkpoints import load_checkpoint, save_checkpoint
from fewshot_seg.network.embedding import load_embedder
from fewshot_seg.segmentation.options import SegmenterOptions
from fewshot_seg.segmentation.segmenter import Segmenter
from tests.eval.tiny import tiny_checkpoint, tiny_embedder, tiny_task
from tests.example_plugin import install, install_example
from tests.fewshot_seg.command_line import error_line, fewshot, results_of

REFINERS, BACKBONES, METHODS = "fewshot_seg.refiners", "fewshot_seg.backbones", "eval.methods"


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    for name in ("fewshot_example", "bad"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return folder


@pytest.fixture
def example(packages: Path) -> Path:
    install_example(packages)
    return packages


def bad(folder: Path, source: str, group: str) -> None:
    (folder / "bad.py").write_text(source)
    install(folder, "bad-ideas-0.3", {group: {"bad": "bad:make"}})


def test_a_refiner_runs_by_its_name(example: Path, photos: Path, tmp_path: Path) -> None:
    assert refiner_names() == ("guided", "grabcut", "random-walk", "sam", "brightness", "none")
    (tmp_path / "tiny.safetensors").write_bytes(tiny_checkpoint())
    given = (photos / "cat.png", "--support", f"cat={photos / 'cat face.png'}", "-w", tmp_path / "tiny.safetensors")
    for name, more in (("none", ()), ("brightness", ()), ("loose", ("--refine-weights", "0"))):
        done = fewshot(
            "segment", *given, "--out", tmp_path / name, "--refine", name.replace("loose", "brightness"), *more
        )
        assert done.exit_code == 0, done.stderr
    areas = [results_of(tmp_path / name)["images"][0]["objects"][0]["area"] for name in ("none", "brightness", "loose")]
    assert len(set(areas)) == 3
    assert 0 < areas[1] < areas[2]


def test_an_unknown_refiner_is_wrong_usage_that_names_all(example: Path, photos: Path, tmp_path: Path) -> None:
    done = fewshot("segment", photos / "cat.png", "--support", photos / "cat.png", "-o", tmp_path, "--refine", "blur")
    assert "grabcut, random-walk, sam, brightness, none" in error_line(done)
    assert done.exit_code == 2
    with pytest.raises(ConfigError, match=r"unknown refine 'blur': .* sam or brightness or none"):
        SegmenterOptions(refine="blur")


def test_a_native_mask_is_kept_as_it_is(packages: Path, photos: Path) -> None:
    (packages / "fine.py").write_text("def make(setting):\n    return lambda scene: scene.image[..., 0] > 100\n")
    install(packages, "fine-1", {REFINERS: {"fine": "fine:make"}})
    segmenter = Segmenter(tiny_embedder(), SegmenterOptions(refine="fine", keep=0.0, always=True))
    image = np.random.default_rng(0).integers(0, 255, (300, 421, 3), dtype=np.uint8)
    assert np.array_equal(segmenter.segment(image, image).mask, image[..., 0] > 100)


def test_a_backbone_runs_by_its_name_and_comes_back_from_a_checkpoint(
    example: Path, tmp_path: Path, rng: np.random.Generator
) -> None:
    embedder = load_embedder("blocks", device="cpu")
    assert (embedder.spec.backbone, embedder.preprocessing.size, embedder.dim) == ("plugin/blocks", 128, 3)
    image = rng.integers(0, 255, (90, 120, 3), dtype=np.uint8)
    emb = embedder.embed([image])
    assert emb.feature_map.shape == (1, 3, 4, 4)
    assert load_embedder("plugin/blocks", device="cpu").trunk.scale[0, 0, 0] == 2
    save_checkpoint(embedder, tmp_path / "one.safetensors")
    again = load_checkpoint(tmp_path / "one.safetensors", "cpu")
    assert np.array_equal(again.embed([image]).vector, emb.vector)
    assert Segmenter(embedder).segment(image, image).mask.shape == (90, 120)
    with pytest.raises(CheckpointError, match="unknown network 'plugin/block'"):
        load_embedder("plugin/block")


def test_a_method_runs_on_episodes_and_stands_in_the_run(example: Path, tmp_path: Path) -> None:
    task = tiny_task(tmp_path, methods=("same-place", "centre-box"), way=2, shot=2, episodes=4)
    metrics = run_segmentation(task)
    assert 0 < metrics["methods"]["same-place"]["miou"] < 1
    config = json.loads((task.out / "config.json").read_text())
    assert config["plugins"] == {"same-place": "fewshot-example 1.2"}
    assert len((task.out / "predictions-same-place.jsonl").read_text().splitlines()) == 4


BAD = {
    "import nothing_like_it": r"cannot be imported \(ModuleNotFoundError: No module named 'nothing_like_it'\)",
    "other = 1": "cannot be imported",
    "make = 3": "is int, not callable",
}


USED = {
    REFINERS: ("refiner", lambda: build_refiner("bad", RefinerSetting())),
    BACKBONES: ("backbone", lambda: load_embedder("bad", device="cpu")),
    METHODS: ("method", lambda: build_method("bad", None)),
}


@pytest.mark.parametrize("source", BAD)
@pytest.mark.parametrize("group", USED)
def test_what_cannot_be_imported_is_one_line_that_names_the_package(packages: Path, source: str, group: str) -> None:
    bad(packages, source, group)
    kind, use = USED[group]
    with pytest.raises(FewShotError, match=f"^{kind} 'bad' of package bad-ideas 0.3 {BAD[source]}") as caught:
        use()
    assert "\n" not in str(caught.value)


GIVEN = {
    "scene.map": r"gave float32 \(256, 256\), not a bool array \(256, 256\) or \(300, 300\)",
    "scene.map[1:] > 0": r"gave bool \(255, 256\)",
    "(scene.map > 0).tolist()": "gave list",
    "1 / 0": r"failed \(ZeroDivisionError: division by zero\)",
}


@pytest.mark.parametrize("given", GIVEN)
def test_a_refiner_that_gives_no_mask_is_named(packages: Path, given: str, rng: np.random.Generator) -> None:
    bad(packages, f"def make(setting):\n    return lambda scene: {given}\n", REFINERS)
    segmenter = Segmenter(tiny_embedder(), SegmenterOptions(refine="bad", always=True))
    image = rng.integers(0, 255, (300, 300, 3), dtype=np.uint8)
    with pytest.raises(ConfigError, match=f"^refiner 'bad' of package bad-ideas 0.3 {GIVEN[given]}"):
        segmenter.segment(image, image)


@pytest.mark.parametrize(
    ("made", "told"),
    [
        ("3", "built int, not a torch.nn.Module"),
        ("torch.nn.Flatten()", r"gave torch.float32 \(1, 442368\) of a blank image"),
        ("torch.nn.Conv2d(4, 1, 3)", r"failed \(RuntimeError: "),
    ],
)
def test_a_backbone_that_gives_no_map_is_named(packages: Path, made: str, told: str) -> None:
    bad(packages, f"import torch\ndef make(weights):\n    return {made}\n", BACKBONES)
    with pytest.raises(ConfigError, match=f"^backbone 'bad' of package bad-ideas 0.3 {told}"):
        load_embedder("bad", device="cpu")


def test_a_method_that_gives_no_mask_is_named(packages: Path, tmp_path: Path) -> None:
    bad(packages, "def make(query, supports, masks):\n    return masks[0][:3]\n", METHODS)
    with pytest.raises(ConfigError, match=r"^method 'bad' of package bad-ideas 0.3 gave bool \(3, \d+\), not a bool"):
        run_segmentation(tiny_task(tmp_path, methods=("bad",), episodes=2))


def test_two_packages_with_one_name_are_both_named(packages: Path) -> None:
    for name in ("one-1.0", "two-2.0"):
        install(packages, name, {REFINERS: {"twin": f"{name[:3]}:make"}})
    with pytest.raises(ConfigError, match=r"refiner 'twin' is in packages one 1.0 and two 2.0: uninstall one"):
        build_refiner("twin", RefinerSetting())


def test_ours_win_over_a_package_that_takes_their_name(packages: Path) -> None:
    install(packages, "thief-1.0", {REFINERS: {"grabcut": "nothing:make"}, METHODS: {"centre-box": "nothing:make"}})
    assert build_refiner("grabcut", RefinerSetting()) is not None
    assert build_method("centre-box", None) is not None


def test_an_unknown_method_is_wrong_usage(example: Path) -> None:
    assert known_methods(["same-place", "ours"])
    with pytest.raises(BadParameter, match=r"'nobody' is not one of ours, .*centre-box, same-place\."):
        known_methods(["nobody"])

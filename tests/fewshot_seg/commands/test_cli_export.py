"""`fewshot-seg export`: what segment wrote, for other tools."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from fewshot_seg.commands.export import Target
from fewshot_seg.formats import FORMATS
from fewshot_seg.imaging.geometry import decode_rle, encode_rle
from tests.fewshot_seg.command_line import error_line, fewshot, names_in, results_of
from tests.fewshot_seg.formats.readers import EXACT, READERS
from tests.fewshot_seg.image_files import picture, write_good_images


@pytest.fixture(scope="module")
def segmented(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("segmented")
    supports = ("-s", f"cat={photos / 'cat face.png'}", "-s", f"cup={photos / 'cup.jpg'}")
    assert fewshot("segment", photos / "cat.png", photos / "cup.jpg", *supports, "-o", out).exit_code == 0
    return out


def results(folder: Path, paths: list[str], size: tuple[int, int] = (48, 64)) -> Path:
    """A results.json of one square in each image."""
    mask = np.zeros(size, bool)
    mask[4:20, 5:30] = True
    found = {"class": "x", "score": 0.5, "segmentation": encode_rle(mask)}
    rest: dict[str, Any] = {"error": None, "objects": [found], "absent": [], "mask": "a_mask.png", "overlay": "a.jpg"}
    images = [{"path": path, "size": [*size], **rest} for path in paths]
    folder.mkdir(exist_ok=True)
    (folder / "results.json").write_text(json.dumps({"classes": ["x"], "images": images}))
    return folder


def test_the_formats_of_the_help_are_all_there_are() -> None:
    assert list(get_args(Target)) == list(FORMATS)


@pytest.mark.parametrize("to", READERS)
@pytest.mark.parametrize("whole", [False, True])
def test_what_was_found_is_what_other_tools_read(segmented: Path, tmp_path: Path, to: str, whole: bool) -> None:
    done = fewshot("export", segmented, "--to", to, "-o", tmp_path, *(["--whole"] if whole else []))
    assert done.exit_code == 0, done.stderr
    assert "2 of 2 images" in done.stdout
    read = {name.rpartition(".")[0]: things for name, things in READERS[to](tmp_path).items()}
    for image in results_of(segmented)["images"]:
        wanted = [
            (found["class"], decode_rle(one["segmentation"]))
            for found in image["objects"]
            for one in ([found] if whole else found["instances"])
        ]
        things = read[Path(image["path"]).stem]
        if to != "labelstudio":
            assert len(things) == len(wanted)
        for name in {name for name, _ in wanted}:
            mask, back = (np.any([one for of, one in each if of == name], axis=0) for each in (wanted, things))
            assert (mask & back).sum() >= (1 if to in EXACT else 0.98) * (mask | back).sum()


def test_cut_outs_are_of_every_thing(segmented: Path, tmp_path: Path) -> None:
    assert (
        fewshot("export", segmented / "results.json", "--to", "cutout", "-o", tmp_path / "new" / "out").exit_code == 0
    )
    found = [one for image in results_of(segmented)["images"] for kind in image["objects"] for one in kind["instances"]]
    assert len([name for name in names_in(tmp_path / "new" / "out") if name.endswith(".png")]) == len(found)


def test_moved_images_are_found_by_as_much_of_their_path_as_is_there(tmp_path: Path) -> None:
    made = write_good_images(tmp_path / "moved" / "a")
    shutil.copytree(tmp_path / "moved" / "a", tmp_path / "moved" / "b")
    (tmp_path / "moved" / "a" / "rgb.png").write_bytes(b"another")  # b's is meant
    paths = [f"/gone/b/{made[name].name}" for name in ("rgb_png", "exif_6")] + ["/gone/c/exif_8.jpg", "/gone/c/no.jpg"]
    shutil.copy(tmp_path / "moved" / "b" / "exif_8.jpg", tmp_path / "moved")
    done = fewshot(
        "export", results(tmp_path / "r", paths), "--to", "yolo", "-o", tmp_path / "o", "--images", tmp_path / "moved"
    )
    assert done.exit_code == 1
    assert error_line(done) == f"fewshot-seg: error: /gone/c/no.jpg: no such file; nor is it in {tmp_path / 'moved'}"
    assert "3 of 4 images" in done.stdout
    assert names_in(tmp_path / "o" / "labels") == ["exif_6.txt", "exif_8.txt", "rgb.txt"]


def test_the_others_are_done_where_one_is_lost_or_another(tmp_path: Path) -> None:
    good = write_good_images(tmp_path / "i")
    lost, other, there = str(tmp_path / "lost.jpg"), str(good["size_1x1"]), str(good["rgb_png"])
    folder = results(tmp_path / "r", [lost, other, there])
    done = fewshot("export", folder, "--to", "coco", "-o", tmp_path / "o")
    assert (done.exit_code, "1 of 3 images" in done.stdout) == (1, True)
    first, second = done.stderr.splitlines()
    assert first.endswith("lost.jpg: no such file; name the folder that has it now: --images DIR")
    assert second.endswith("1x1.png: is 1x1 (width x height), its masks 64x48; give the same image")
    content = json.loads((tmp_path / "o" / "annotations.json").read_bytes())
    assert [(image["id"], image["file_name"]) for image in content["images"]] == [(1, "i/rgb.png")]
    assert [one["image_id"] for one in content["annotations"]] == [1]
    broken = json.loads((folder / "results.json").read_bytes())
    broken["images"][2]["objects"][0]["segmentation"]["counts"] = "!"
    broken["images"][1]["error"] = "could not be read"
    (folder / "results.json").write_text(json.dumps(broken))
    done = fewshot("export", folder, "--to", "coco", "-o", tmp_path / "o")
    assert "note: 1 images could not be read" in done.stderr
    assert f"{there}: its entry in results.json is damaged: run lengths are no text of COCO's" in done.stderr


def test_same_names_of_several_folders_stay_apart(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_good_images(tmp_path / name)
    folder = results(tmp_path / "r", [str(tmp_path / name / "rgb.png") for name in ("a", "b")])
    for to in ("voc", "coco"):
        assert fewshot("export", folder, "--to", to, "-o", tmp_path / to).exit_code == 0
    assert names_in(tmp_path / "voc" / "SegmentationClass") == ["rgb-2.png", "rgb.png"]
    content = json.loads((tmp_path / "coco" / "annotations.json").read_bytes())
    assert [image["file_name"] for image in content["images"]] == ["a/rgb.png", "b/rgb.png"]


def test_refusals_are_one_line(segmented: Path, tmp_path: Path) -> None:
    assert "holds no results of 'fewshot-seg segment'" in error_line(
        fewshot("export", tmp_path, "--to", "coco", "-o", tmp_path / "o")
    )
    done = fewshot("export", segmented, "--to", "coco", "-o", tmp_path / "o", "--images", tmp_path / "no")
    assert "is no folder" in error_line(done)
    assert not (tmp_path / "o").exists()
    assert fewshot("export", segmented, "--to", "tfrecord", "-o", tmp_path / "o").exit_code == 2
    (tmp_path / "annotations.json").write_text("mine")
    done = fewshot("export", segmented, "--to", "coco", "-o", tmp_path)
    assert "annotations.json is there, and not as an export wrote it" in error_line(done)
    assert (tmp_path / "annotations.json").read_text() == "mine"


def test_an_export_lies_beside_the_photographs_and_the_results(tmp_path: Path) -> None:
    good = write_good_images(tmp_path)
    folder = results(tmp_path, [str(good["exif_6"])])
    assert fewshot("export", folder, "--to", "labelme", "-o", tmp_path).exit_code == 0
    content = json.loads((tmp_path / "exif_6.json").read_bytes())
    assert (content["imagePath"], content["imageHeight"], content["imageWidth"]) == ("exif_6.jpg", *picture().shape[:2])

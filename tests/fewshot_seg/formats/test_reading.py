"""Annotations of other tools as examples: what they outline is what is meant, and what is damaged is said."""

from __future__ import annotations

import base64
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fewshot_seg.commands.hint_options import SupportHints
from fewshot_seg.commands.supports import all_supports
from fewshot_seg.errors import DataError, FewShotError
from fewshot_seg.formats import AnnotatedImage, Annotation, read_supports, write_annotations
from tests.fewshot_seg.command_line import error_line, fewshot, results_of
from tests.fewshot_seg.image_files import picture, write_good_images

SIZE = (48, 64)
POLYGON = {"label": "x", "points": [[1, 1], [9, 1], [9, 9]]}


def square(top: int, left: int, side: int = 12) -> np.ndarray[Any, np.dtype[np.bool_]]:
    mask = np.zeros(SIZE, bool)
    mask[top : top + side, left : left + side] = True
    return mask


def labelme(place: Path, shapes: list[dict[str, Any]], **changes: Any) -> Path:
    content = {
        "shapes": shapes,
        "imagePath": "a.png",
        "imageData": None,
        "imageHeight": 48,
        "imageWidth": 64,
        **changes,
    }
    place.write_text(json.dumps(content))
    return place


def coco(place: Path, **changes: Any) -> Path:
    content: dict[str, Any] = {
        "images": [{"id": 7, "file_name": "a.png", "height": 48, "width": 64}],
        "categories": [{"id": 3, "name": "x"}],
        "annotations": [{"id": 9, "image_id": 7, "category_id": 3, "segmentation": [[1, 1, 20, 1, 20, 20, 1, 20]]}],
    }
    for name, change in changes.items():
        content[name][0].update(change)
    place.write_text(json.dumps(content))
    return place


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.fromarray(picture(*SIZE)).save(tmp_path / "a.png")
    return tmp_path


@pytest.mark.parametrize("to", ["coco", "labelme"])
@pytest.mark.parametrize("kind", ["rgb_png", "exif_6"])
def test_what_was_written_is_read_back_image_by_image_and_class_by_class(to: str, kind: str, tmp_path: Path) -> None:
    first = write_good_images(tmp_path / "photos")[kind]
    second = shutil.copy(first, first.with_name(f"second{first.suffix}"))
    things = (Annotation("x", square(2, 3)), Annotation("y", square(20, 3)), Annotation("x", square(30, 40)))
    images = [AnnotatedImage(one.name, SIZE, things[:count], one) for one, count in ((first, 3), (Path(second), 1))]
    write_annotations(to, images, ["y", "x"], tmp_path / "out")
    found = read_supports(tmp_path / "out", tmp_path / "photos")
    assert list(found) == (["y", "x"] if to == "coco" else ["x", "y"])
    assert [shot.image for shot in found["x"]] == [first, Path(second)]
    assert [shot.image for shot in found["y"]] == [first]
    np.testing.assert_array_equal(found["x"][0].mask, things[0].mask | things[2].mask)
    np.testing.assert_array_equal(found["x"][1].mask, things[0].mask)


def test_images_are_found_where_the_file_says(folder: Path) -> None:
    for place in ("annotations", "images"):
        (folder / place).mkdir()
    assert read_supports(coco(folder / "a.json"))["x"][0].image == folder / "a.png"
    (folder / "a.png").rename(folder / "images" / "a.png")
    found = read_supports(coco(folder / "annotations" / "instances.json"))["x"][0].image
    assert Path(str(found)).samefile(folder / "images" / "a.png")
    windows = labelme(folder / "w.json", [POLYGON], imagePath="images\\a.png")
    assert Path(str(read_supports(windows)["x"][0].image)).samefile(folder / "images" / "a.png")


def test_of_a_given_folder_nothing_outside_is_read(folder: Path) -> None:
    (folder / "inner").mkdir()
    for stated in ("../a.png", str(folder / "a.png"), "..\\a.png"):
        path = labelme(folder / "a.json", [], imagePath=stated)
        with pytest.raises(DataError, match=r"no image .* in .*inner; name the folder of the images"):
            read_supports(path, folder / "inner")


def test_every_shape_of_labelme_that_encloses_something_counts(folder: Path) -> None:
    stream = io.BytesIO()
    Image.fromarray(np.full((5, 4), 255, np.uint8)).convert("1").save(stream, "PNG")
    mask = base64.b64encode(stream.getvalue()).decode()
    shapes = [
        {"label": "box", "shape_type": "rectangle", "points": [[20, 30], [10, 5]]},
        {"label": "disc", "shape_type": "circle", "points": [[30, 24], [40, 24]]},
        {"label": " mask ", "shape_type": "mask", "points": [[60, 40], [63, 44]], "mask": mask},
        {"label": "old", "points": [[1, 1], [9, 1], [9, 9], [1, 9]]},
        {"label": "line", "shape_type": "linestrip", "points": [[1, 1], [9, 1], [9, 9]]},
        {"label": "dot", "shape_type": "point", "points": [[1, 1]]},
    ]
    found = read_supports(labelme(folder / "a.json", shapes))
    areas = {name: int(np.sum(shots[0].mask)) for name, shots in found.items()}  # type: ignore[arg-type]
    assert areas.pop("disc") == pytest.approx(np.pi * 100, rel=0.02)
    assert areas == {"box": 250, "mask": 20, "old": 64}


BAD_LABELME: list[tuple[list[dict[str, Any]], dict[str, Any], str]] = [
    ([], {}, "no annotation here has an outline"),
    ([POLYGON], {"imagePath": "b.png"}, "no image b.png where the file says"),
    ([POLYGON], {"imagePath": None}, "the image's name is None"),
    ([POLYGON], {"imageHeight": 0}, "height 0 is no number of pixels"),
    ([POLYGON], {"imageWidth": 1e9}, "width 1000000000.0 is no number of pixels"),
    ([POLYGON, {**POLYGON, "points": [[1, 1], [9, 1], [9, 1e9]]}], {}, "shape 2: a polygon has the coordinate"),
    ([{**POLYGON, "points": [[1, 1], [9, 1], [9, None]]}], {}, "shape 1: a coordinate is no number"),
    ([{**POLYGON, "points": [[1], [9], [9]]}], {}, "shape 1: is incomplete"),
    ([{**POLYGON, "points": 5}], {}, "shape 1: is incomplete"),
    ([{**POLYGON, "shape_type": "circle", "points": [[1, 1], [10**400, 9]]}], {}, "shape 1: is incomplete"),
    ([{**POLYGON, "label": " "}], {}, "the class's name is ' '"),
    ([{**POLYGON, "shape_type": "mask"}], {}, "shape 1: is incomplete"),
    ([{**POLYGON, "shape_type": "mask", "mask": "AAAA"}], {}, "shape 1: bytes (length 3): "),
    ([{**POLYGON, "shape_type": "rectangle", "points": []}], {}, "shape 1: is incomplete"),
    ([7], {}, "shape 1: is incomplete"),  # type: ignore[list-item]
]


@pytest.mark.parametrize(("shapes", "changes", "message"), BAD_LABELME)
def test_damaged_labelme_is_named(folder: Path, shapes: Any, changes: Any, message: str) -> None:
    with pytest.raises(DataError) as caught:
        read_supports(labelme(folder / "a.json", shapes, **changes))
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{folder / 'a.json'}: ")
    assert "\n" not in str(caught.value)


BAD_COCO: list[tuple[dict[str, Any], str]] = [
    ({"annotations": {"image_id": 8}}, "is incomplete (KeyError(8))"),
    ({"annotations": {"category_id": None}}, "annotation 9: is incomplete (KeyError(None))"),
    ({"annotations": {"segmentation": [[1, 2, 3]]}}, "no annotation here has an outline"),
    ({"annotations": {"segmentation": {"size": [4, 4], "counts": "04"}}}, "annotation 9: run lengths are of size"),
    ({"annotations": {"segmentation": {"size": [48, 64], "counts": [5]}}}, "annotation 9: run lengths don't add up"),
    ({"images": {"height": "48"}}, "height '48' is no number of pixels"),
    ({"images": {"file_name": "b.png"}}, "annotation 9: no image b.png where the file says"),
    ({"categories": {"name": 5}}, "the class's name is 5"),
]


@pytest.mark.parametrize(("changes", "message"), BAD_COCO)
def test_damaged_coco_is_named(folder: Path, changes: Any, message: str) -> None:
    with pytest.raises(DataError) as caught:
        read_supports(coco(folder / "a.json", **changes))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{}", "[" * 100_000, '{"shapes": []}', "\0"])
def test_what_is_no_annotation_is_refused_alone_and_passed_over_or_named_in_a_folder(folder: Path, text: str) -> None:
    (folder / "b.json").write_text(text)
    with pytest.raises(DataError, match=r"b\.json: is"):
        read_supports(folder / "b.json")
    coco(folder / "a.json")
    try:
        assert list(read_supports(folder)) == ["x"]
    except DataError as error:
        assert "b.json: is no JSON" in str(error)  # noqa: PT017 - another file of a folder may be of any kind
    with pytest.raises(DataError, match="No such file"):
        read_supports(folder / "none.json")


def test_one_image_in_several_files_is_one_example(folder: Path) -> None:
    coco(folder / "a.json")
    labelme(folder / "b.json", [POLYGON, {**POLYGON, "label": "y"}])
    found = read_supports(folder)
    assert {name: len(shots) for name, shots in found.items()} == {"x": 1, "y": 1}
    labelme(folder / "b.json", [POLYGON], imageHeight=50)
    with pytest.raises(FewShotError, match="is annotated at two sizes"):
        read_supports(folder)


def test_segment_takes_annotations_as_it_takes_masks(photos: Path, tmp_path: Path) -> None:
    photo, query = tmp_path / "cat.png", tmp_path / "query.png"
    pixels = Image.open(photos / "cat.png").resize((90, 60))
    pixels.save(photo)
    pixels.crop((10, 0, 80, 60)).save(query)
    masks = {name: np.zeros((60, 90), bool) for name in ("cat", "rest")}
    masks["cat"][5:50, 10:70] = True
    masks["rest"] |= ~masks["cat"]
    given: list[str | Path] = []
    for name, mask in masks.items():
        Image.fromarray(mask).save(tmp_path / f"{name}-mask.png")
        given += ["-s", f"{name}={photo}", "--support-mask", f"{name}={tmp_path / name}-mask.png"]
    image = AnnotatedImage("cat.png", (60, 90), tuple(Annotation(*one) for one in masks.items()), photo)
    write_annotations("labelme", [image], ["cat", "rest"], tmp_path / "labelme", tolerance=0)
    write_annotations("coco", [image], ["cat", "rest"], tmp_path / "far" / "coco")
    found = []
    for supports in (given, ["--support-annotations", tmp_path / "labelme"]):
        out = tmp_path / f"out-{len(found)}"
        done = fewshot("segment", query, *supports, "-o", out)
        assert done.exit_code == 0, done.stderr
        found.append(results_of(out)["images"][0]["objects"])
    assert found[0] == found[1]
    hints = SupportHints(annotations=[str(tmp_path / "far" / "coco")], annotated=tmp_path)
    both = all_supports([f"cup={photos / 'cup.jpg'}", f"cat={photos / 'cat face.png'}"], hints)
    assert {name: len(shots) for name, shots in both.items()} == {"cup": 1, "cat": 2, "rest": 1}
    assert both["cat"][1].path == photo
    far = ("--support-annotations", tmp_path / "far" / "coco")
    missing = fewshot("segment", photo, *far, "-o", tmp_path / "x")
    assert "annotation 1: no image cat.png where the file says; name the folder of the images" in error_line(missing)
    none = fewshot("segment", photo, "-o", tmp_path / "x")
    assert (none.exit_code, "--support NAME=PATH or --support-annotations FILE" in none.stderr) == (2, True)

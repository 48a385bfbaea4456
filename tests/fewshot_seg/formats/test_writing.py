"""Each format, written and read by another's reader: the masks come back, and nobody's files are lost."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fewshot_seg.errors import ConfigError, DataError, ShapeError
from fewshot_seg.formats import FORMATS, AnnotatedImage, Annotation, write_annotations
from fewshot_seg.formats.polygons import one_ring, polygons_of
from tests.fewshot_seg.formats.readers import EXACT, READERS, drawn
from tests.fewshot_seg.image_files import picture, write_good_images

SIZE = (120, 160)
CLASSES = ("ring & <rope>", "Stück")


def ring(centre: tuple[int, int], outer: int, inner: int = 0) -> NDArray[np.bool_]:
    canvas = np.zeros(SIZE, np.uint8)
    cv2.circle(canvas, centre, outer, 1, -1)
    if inner:
        cv2.circle(canvas, centre, inner, 0, -1)
    return canvas.astype(bool)


def scene(source: Path | None = None, score: float | None = 0.75) -> AnnotatedImage:
    """A ring, a thing of two parts, and an empty mask, which is no thing."""
    parts = ring((100, 30), 17) | ring((130, 80), 12)
    things = (Annotation(CLASSES[0], ring((40, 50), 35, 15), score), Annotation(CLASSES[1], parts, score))
    empty = Annotation(CLASSES[0], np.zeros(SIZE, bool))
    return AnnotatedImage("a scene.jpg", SIZE, (*things, empty), source)


def iou(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float((one & other).sum() / max(1, (one | other).sum()))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photos" / "a scene.jpg"
    path.parent.mkdir()
    Image.fromarray(picture(*SIZE)).save(path)
    return path


@pytest.mark.parametrize("tolerance", [0, 1, 3])
def test_polygons_keep_parts_and_holes(tolerance: float) -> None:
    mask = scene().annotations[0].mask | scene().annotations[1].mask
    parts = polygons_of(mask, tolerance)
    assert [len(part.holes) for part in parts] == [0, 1, 0]
    found = drawn([one_ring(parts)], SIZE)
    assert iou(found, mask) >= (1 if tolerance == 0 else 1 - 0.02 * tolerance)
    points = len(one_ring(parts))
    assert points < len(one_ring(polygons_of(mask, 0))) or tolerance == 0


def test_a_pixel_a_line_and_nothing_are_outlined_too() -> None:
    mask = np.zeros((5, 9), bool)
    assert polygons_of(mask) == []
    mask[2, 3] = mask[4, 8] = True
    assert [len(part.outer) for part in polygons_of(mask, 50)] == [4, 4]
    np.testing.assert_array_equal(drawn([one_ring(polygons_of(mask, 50))], mask.shape), mask)
    np.testing.assert_array_equal(drawn([one_ring(polygons_of(~mask, 0))], mask.shape), ~mask)


def test_thousands_of_specks_and_holes_take_no_time() -> None:
    mask = np.random.default_rng(0).random((150, 150)) < 0.5
    start = time.process_time()
    parts = polygons_of(mask)
    assert sum(1 + len(part.holes) for part in parts) > 1000
    np.testing.assert_array_equal(drawn([one_ring(polygons_of(mask, 0))], mask.shape), mask)
    assert time.process_time() - start < 10


@pytest.mark.realdata
def test_polygons_of_real_masks_keep_them(shared_data: Path) -> None:
    masks = []
    for path in sorted((shared_data / "voc" / "SegmentationClass").glob("*.png"))[:25]:
        labels = np.asarray(Image.open(path))
        masks += [labels == label for label in set(labels.ravel().tolist()) - {0, 255}]
    assert len(masks) > 30
    assert min(iou(drawn([one_ring(polygons_of(mask))], mask.shape), mask) for mask in masks) >= 0.98


@pytest.mark.parametrize("to", READERS)
def test_masks_come_back_from_every_format(to: str, photo: Path, tmp_path: Path) -> None:
    image = scene(photo)
    files = write_annotations(to, [image], CLASSES, tmp_path / "out")
    assert files
    assert all(path.is_file() for path in files)
    ((name, things),) = READERS[to](tmp_path / "out").items()
    assert name.replace("%20", " ") == image.name
    if to == "labelstudio":  # parts are regions of their own
        assert [label for label, _ in things] == [CLASSES[0], CLASSES[1], CLASSES[1]]
        things = [things[0], (CLASSES[1], things[1][1] | things[2][1])]
    assert sorted(label for label, _ in things) == sorted(CLASSES)
    for one in image.annotations:
        (mask,) = [mask for label, mask in things if label == one.label]
        assert iou(mask, one.mask) >= (1 if to in EXACT else 0.98)


@pytest.mark.parametrize("to", READERS)
@pytest.mark.parametrize("kind", ["exif_6", "exif_7"])
def test_masks_lie_upright_on_turned_photographs(to: str, kind: str, tmp_path: Path) -> None:
    photo = write_good_images(tmp_path / "photos")[kind]
    shown = picture()
    mask = np.zeros(shown.shape[:2], bool)
    mask[2:12, 3:30] = True
    write_annotations(to, [AnnotatedImage(photo.name, mask.shape, (Annotation("x", mask),), photo)], ["x"], tmp_path)
    ((_, [(_, found)]),) = READERS[to](tmp_path).items()
    np.testing.assert_array_equal(found, mask)
    for path in tmp_path.glob("*mages/*"):  # what carries pixels carries them upright, without a word of turning
        with Image.open(path) as image:
            assert 0x0112 not in image.getexif()
            assert np.abs(np.asarray(image).astype(int) - shown).mean() < 3


def test_cut_outs_are_transparent_around_and_in_the_holes(photo: Path, tmp_path: Path) -> None:
    image = scene(photo)
    files = write_annotations("cutout", [image], CLASSES, tmp_path / "out")
    assert [path.name for path in files] == ["a scene_ring-rope-_1.png", "a scene_Stück_2.png"]
    for path, one in zip(files, image.annotations, strict=True):
        x, y, w, h = one.box
        with Image.open(path) as cut:
            assert (cut.mode, cut.size) == ("RGBA", (w, h))
            pixels = np.asarray(cut)
        np.testing.assert_array_equal(pixels[..., 3] > 0, one.mask[y : y + h, x : x + w])
        np.testing.assert_array_equal(pixels[..., :3], np.asarray(Image.open(photo))[y : y + h, x : x + w])


def test_what_a_person_has_said_is_no_prediction(tmp_path: Path) -> None:
    for score, key in ((0.5, "predictions"), (None, "annotations")):
        write_annotations("labelstudio", [scene(score=score)], CLASSES, tmp_path / key)
        (task,) = json.loads((tmp_path / key / "tasks.json").read_bytes())
        assert task.keys() == {"data", key}


@pytest.mark.parametrize("to", FORMATS)
def test_a_second_export_replaces_the_first_but_nothing_that_was_changed(to: str, photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = write_annotations(to, [scene(photo)], CLASSES, out)
    again = AnnotatedImage("a scene.jpg", SIZE, scene().annotations[1:], photo)
    assert {*write_annotations(to, [again], CLASSES, out)} <= {*first} or to == "cutout"
    changed = next(path for path in reversed(first) if path.is_file())
    changed.write_bytes(changed.read_bytes() + b"\n")
    kept = changed.read_bytes()
    with pytest.raises(ConfigError, match=r"not as an export wrote it; move it, or choose another --out"):
        write_annotations(to, [scene(photo)], CLASSES, out)
    assert changed.read_bytes() == kept


@pytest.mark.parametrize("to", READERS)
def test_odd_names_of_classes_break_no_format(to: str, photo: Path, tmp_path: Path) -> None:
    mask = ring((40, 50), 30)
    for number, name in enumerate(("a: b", "- [x]\n{y}", "\ud800", "# no", "'\"&<")):
        out = tmp_path / f"{number}"
        write_annotations(to, [AnnotatedImage("a scene.jpg", SIZE, (Annotation(name, mask),), photo)], [name], out)
        ((_, ((_, found),)),) = READERS[to](out).items()
        assert iou(found, mask) >= 0.98


def test_no_link_is_followed(photo: Path, tmp_path: Path) -> None:
    for name, goal in (("out/images", tmp_path / "elsewhere"), ("other/data.yaml", tmp_path / "mine.yaml")):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).symlink_to(goal)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "mine.yaml").write_text("mine")
    for out in ("out", "other"):
        with pytest.raises(ConfigError, match="move it"):
            write_annotations("yolo", [scene(photo)], CLASSES, tmp_path / out)
    assert not [*(tmp_path / "elsewhere").iterdir()]
    assert (tmp_path / "mine.yaml").read_text() == "mine"


@pytest.mark.parametrize("to", ["yolo", "voc", "cutout"])
def test_an_image_that_cannot_be_read_is_named_and_the_others_are_done(to: str, photo: Path, tmp_path: Path) -> None:
    shutil.copy(photo, photo.with_name("b.jpg"))
    small = photo.with_name("small.png")
    Image.fromarray(picture(9, 9)).save(small)

    def images() -> Iterator[AnnotatedImage]:
        for source in (photo.with_name("gone.jpg"), small, photo.with_name("b.jpg")):
            yield AnnotatedImage(source.name, SIZE, scene().annotations, source)

    told: list[str] = []
    files = write_annotations(to, images(), CLASSES, tmp_path, on_error=lambda _, error: told.append(str(error)))
    assert "gone.jpg: no such file" in told[0]
    assert "small.png: is 9x9 (width x height), its masks 160x120; give the same image" in told[1]
    assert len(told) == 2
    assert not [path for path in files if "gone" in path.name or "small" in path.name]
    assert [path for path in files if path.name.startswith("b")]
    with pytest.raises(DataError, match="needs its pixels"):
        write_annotations(to, [scene()], CLASSES, tmp_path)


def test_nonsense_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown format 'tfrecord': choose coco"):
        write_annotations("tfrecord", [], CLASSES, tmp_path)
    with pytest.raises(ConfigError, match="tolerance nan"):
        write_annotations("yolo", [], CLASSES, tmp_path, tolerance=float("nan"))
    with pytest.raises(ConfigError, match="at least one"):
        write_annotations("coco", [], [], tmp_path)
    with pytest.raises(DataError, match="class 'Stück' is none of ring"):
        write_annotations("coco", [scene()], CLASSES[:1], tmp_path)
    with pytest.raises(ShapeError, match=r"a mask is \(120, 160\), the image \(160, 120\)"):
        AnnotatedImage("a.jpg", SIZE[::-1], scene().annotations)
    with pytest.raises(DataError, match="the score is nan"):
        Annotation("x", np.ones((2, 2), bool), float("nan"))
    for stem in ("../up", "a/b", "..", "a\nb"):
        with pytest.raises(DataError, match="no plain name"):
            AnnotatedImage("a.jpg", SIZE, (), stem=stem)
    assert AnnotatedImage("../../etc/pass.wd.png", SIZE, ()).stem == "pass.wd"

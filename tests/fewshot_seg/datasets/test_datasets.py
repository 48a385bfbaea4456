from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from fewshot_seg.datasets import VOID, Entry, fold_classes, open_dataset
from fewshot_seg.datasets.pascal import CLASSES, PascalVoc
from fewshot_seg.datasets.segmentation import read_split_list
from fewshot_seg.errors import ConfigError, DataError, FewShotError, ImageError
from tests.fewshot_seg.datasets.voc_files import labels_of, make_voc, sixteen, write_image, write_mask


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    return make_voc(tmp_path / "a folder, with = and ü", sixteen())


def open_listed(voc: Path) -> PascalVoc:
    return PascalVoc(voc, voc / "list.txt")


def test_entries_images_and_masks(voc: Path) -> None:
    dataset = open_listed(voc)
    assert dataset.entries[:2] == (Entry("a_0", 1), Entry("a_1", 1))
    assert dataset.entries[-2:] == (Entry("c_3", 1), Entry("c_3", 2))
    assert dataset.image("a_0").is_file()
    mask = dataset.mask("c_0")
    assert (mask.shape, mask.dtype) == ((24, 32), np.int32)
    expected = labels_of(1, 2).astype(np.int32)
    assert np.array_equal(mask, np.where(expected == 255, VOID, expected))
    assert dataset.labels("c_0") == {1, 2}  # neither background nor void


def test_without_a_list_every_class_of_every_mask_is_an_entry(voc: Path) -> None:
    assert PascalVoc(voc).entries == open_listed(voc).entries


def test_a_list_s_order_is_kept_and_blank_lines_and_a_byte_order_mark_are_passed_over(voc: Path) -> None:
    (voc / "list.txt").write_bytes(b"\xef\xbb\xbfc_1__02\r\n\r\n  a_0__01  \r\n")
    assert open_listed(voc).entries == (Entry("c_1", 2), Entry("a_0", 1))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a_0", r"list\.txt:3: 'a_0' is not of the form ID__CC"),
        ("a_0__x1", r"list\.txt:3: .* is not of the form"),
        ("../a_0__01", r"list\.txt:3: .* is not of the form"),
        ("a_0 01", r"list\.txt:3: .* is not of the form"),
        ("__01", r"list\.txt:3: .* is not of the form"),
        ("a_0__00", r"list\.txt:3: .* has the unknown class 0; classes go from 1 to 20"),
        ("a_0__21", r"list\.txt:3: .* has the unknown class 21"),
        ("a_0__01", r"list\.txt:3: 'a_0__01' is in line 1 too"),
    ],
)
def test_a_bad_line_is_named_with_file_and_line(voc: Path, line: str, message: str) -> None:
    (voc / "list.txt").write_text(f"a_0__01\na_1__01\n{line}\n")
    with pytest.raises(DataError, match=message):
        open_listed(voc)


@pytest.mark.parametrize(
    ("content", "message"), [(b"\n \n", "no entries"), (b"\xff\xfe\x00", "no UTF-8 text"), (None, "No such file")]
)
def test_a_bad_list(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "list.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_split_list(path, 20)


def test_missing_images_are_counted_with_three_examples(voc: Path) -> None:
    for n in range(5):
        (voc / "JPEGImages" / f"b_{n}.jpg").unlink()
    with pytest.raises(DataError, match=r"5 of 16 images are missing: b_0\.jpg, b_1\.jpg, b_2\.jpg, \.\.\."):
        open_listed(voc)
    with pytest.raises(DataError, match="5 of 16 images are missing"):
        PascalVoc(voc)


def test_missing_masks_are_counted(voc: Path) -> None:
    (voc / "SegmentationClass" / "c_1.png").unlink()
    with pytest.raises(DataError, match=r"SegmentationClass: 1 of 16 masks are missing: c_1\.png;"):
        open_listed(voc)


def test_images_off_the_list_may_be_missing(voc: Path) -> None:
    (voc / "JPEGImages" / "b_0.jpg").unlink()
    (voc / "list.txt").write_text("a_0__01\n")
    assert len(open_listed(voc).entries) == 1


@pytest.mark.parametrize("folder", ["JPEGImages", "SegmentationClass"])
def test_another_layout_is_refused(tmp_path: Path, folder: str) -> None:
    (tmp_path / "JPEGImages").mkdir()
    (tmp_path / "SegmentationClass").mkdir()
    (tmp_path / folder).rmdir()
    with pytest.raises(DataError, match=f"{folder}: No such file or directory; the root must hold"):
        PascalVoc(tmp_path)


def test_an_empty_folder_and_masks_without_objects(tmp_path: Path) -> None:
    make_voc(tmp_path, {"x": ()})
    with pytest.raises(DataError, match="no mask here holds a class"):
        PascalVoc(tmp_path)


def test_a_mask_of_another_size_than_its_image(voc: Path) -> None:
    write_image(voc / "JPEGImages" / "a_0.jpg", (32, 24))
    with pytest.raises(DataError, match=r"a_0\.png: the mask is 32x24 \(width x height\) but its image is 24x32"):
        open_listed(voc).mask("a_0")


def test_a_turned_image_is_as_large_as_a_viewer_shows_it(voc: Path) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    PIL.Image.new("RGB", (24, 32)).save(voc / "JPEGImages" / "a_0.jpg", exif=exif)
    assert open_listed(voc).mask("a_0").shape == (24, 32)


def test_an_unknown_label(voc: Path) -> None:
    write_mask(voc / "SegmentationClass" / "a_0.png", labels_of(1, 21, 254))
    for read in (open_listed(voc).mask, open_listed(voc).labels):
        with pytest.raises(DataError, match=r"a_0\.png: label 21, 254 is no class; labels are 0 to 20 and 255"):
            read("a_0")


def test_a_colour_mask_and_a_damaged_one(voc: Path) -> None:
    PIL.Image.new("RGB", (32, 24), (1, 2, 3)).save(voc / "SegmentationClass" / "a_0.png")
    with pytest.raises(DataError, match="is in colour; a label mask must be a palette or grey image"):
        open_listed(voc).mask("a_0")
    (voc / "SegmentationClass" / "a_1.png").write_text("no image")
    with pytest.raises(ImageError, match=r"a_1\.png"):
        open_listed(voc).mask("a_1")


def test_folds_are_those_of_pascal_5i(voc: Path) -> None:
    dataset = open_listed(voc)
    assert fold_classes(dataset, 0) == (1, 2, 3, 4, 5)
    assert fold_classes(dataset, 3) == (16, 17, 18, 19, 20)
    assert fold_classes(dataset, "all") == tuple(range(1, 21))
    assert len(CLASSES) == 20
    assert CLASSES[14] == "person"
    with pytest.raises(ConfigError, match="fold 4: pascal5i has folds 0 to 3, or 'all'"):
        fold_classes(dataset, 4)


def test_a_data_set_by_name(voc: Path) -> None:
    assert open_dataset("pascal5i", voc, voc / "list.txt").entries == open_listed(voc).entries
    with pytest.raises(ConfigError, match=r"unknown data set 'pascal' \(did you mean 'pascal5i'\?\)"):
        open_dataset("pascal", voc)


@pytest.mark.realdata
def test_the_real_development_list_is_what_the_masks_hold(shared_data: Path) -> None:
    listed = PascalVoc(shared_data / "voc", shared_data / "voc" / "dev.txt")
    assert len(listed.entries) == 842
    assert PascalVoc(shared_data / "voc").entries == listed.entries


@pytest.mark.realdata
@pytest.mark.parametrize("fold", range(4))
def test_the_real_split_lists_read_and_hold_their_fold_s_classes(shared_data: Path, fold: int) -> None:
    splits = shared_data / "splits" / "pascal"
    held_out = set(PascalVoc.folds[fold])
    val = read_split_list(splits / "val" / f"fold{fold}.txt", 20)
    assert {entry.label for entry in val} == held_out
    # The real images are not in these lists: an error that says so, not a crash later.
    with pytest.raises(FewShotError, match=f"{len({entry.image for entry in val})} images are missing"):
        PascalVoc(shared_data / "voc", splits / "val" / f"fold{fold}.txt")

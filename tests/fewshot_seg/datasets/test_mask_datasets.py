"""Data sets of images with masks, but for VOC's own: SBD's masks, COCO, images beside masks, class folders."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from scipy.io import savemat

from fewshot_seg.datasets import VOID, Entry, SegmentationDataset, dataset_names, fold_classes, open_dataset
from fewshot_seg.datasets.coco import Coco
from fewshot_seg.datasets.folder import ClassFolders
from fewshot_seg.datasets.masks import ImagesAndMasks
from fewshot_seg.datasets.pascal import PascalVoc
from fewshot_seg.errors import ConfigError, DataError
from tests.fewshot_seg.datasets.voc_files import labels_of, make_voc, sixteen, write_image, write_mask
from tests.fewshot_seg.imaging.mask_files import (
    SIZE,
    make_class_folders,
    make_coco,
    make_images_and_masks,
    square,
    write_coco,
    write_white,
)

PETS = {"a": (1,), "b": (2,), "c": (1, 2)}
NAMED = {"a": ("cat",), "b": ("dog",), "c": ("cat", "dog")}


def open_all(root: Path) -> dict[str, SegmentationDataset]:
    """Each data set, with classes 1 and 2 in images a, b and c (folders: two images each)."""
    make_voc(root / "voc", PETS)
    write_coco(root / "coco", ("cat", "dog"), NAMED)
    make_images_and_masks(root / "masks", ["cat", "dog"], PETS)
    make_class_folders(root / "folder", {"cat": 2, "dog": 2})
    homes = {"pascal5i": "voc", "coco20i": "coco", "masks": "masks", "folder": "folder"}
    return {name: open_dataset(name, root / homes[name]) for name in dataset_names()}


def test_all_keep_the_protocol(tmp_path: Path) -> None:
    for name, dataset in open_all(tmp_path).items():
        assert dataset.name == name
        assert dataset.missing == ()
        assert {entry.label for entry in dataset.entries} == {1, 2}
        for entry in dataset.entries:
            mask = dataset.mask(entry.image)
            assert (mask.shape, mask.dtype) == (SIZE, np.int32)
            assert entry.label in mask
            assert dataset.labels(entry.image) == set(np.unique(mask).tolist()) - {0, VOID}
            assert dataset.image(entry.image).is_file()
        everything = [label for fold in dataset.folds for label in fold]
        assert sorted(everything) == [*range(1, len(dataset.class_names) + 1)]


def test_missing_images_are_refused_or_counted_by_all(tmp_path: Path) -> None:
    for name, dataset in open_all(tmp_path).items():
        first = dataset.entries[0].image
        path = dataset.image(first)
        root = tmp_path / {"pascal5i": "voc", "coco20i": "coco"}.get(name, name)
        listed = tmp_path / f"{name}.txt"
        listed.write_text("".join(f"{entry.image}__{entry.label:02d}\n" for entry in dataset.entries))
        path.unlink()
        # Without 1.jpg, 1.png of a class folder is an image that has no mask.
        with pytest.raises(DataError, match=rf"1 of \d (images|masks) are missing: {first}.*--allow-missing"):
            open_dataset(name, root, listed)
        partial = open_dataset(name, root, listed, allow_missing=True)
        assert partial.missing == (first,)
        assert partial.entries == tuple(entry for entry in dataset.entries if entry.image != first)


def test_nothing_there_is_an_error_in_any_case(tmp_path: Path) -> None:
    make_voc(tmp_path, PETS)
    (tmp_path / "other.txt").write_text("x__01\ny__02\n")
    with pytest.raises(DataError, match="of 2 listed images none has its files; check the list"):
        PascalVoc(tmp_path, tmp_path / "other.txt", allow_missing=True)


def test_masks_of_another_size_are_refused_by_all(tmp_path: Path) -> None:
    for dataset in open_all(tmp_path).values():
        image = dataset.entries[0].image
        write_image(dataset.image(image), (10, 11))
        with pytest.raises(DataError, match=r"the mask is 32x24 \(width x height\) but its image is 11x10"):
            dataset.mask(image)


@pytest.mark.parametrize("size", [(48, 64), (12, 16), (242, 323)])
def test_masks_of_another_size_and_the_same_shape_are_brought_to_their_image(
    tmp_path: Path, size: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    """FSS-1000 has such: by nearest neighbour, as Pillow's; counted and said once, and refused by strict."""
    make_class_folders(tmp_path, {"cat": 2})
    write_image(tmp_path / "cat" / "2.jpg", size)
    dataset = ClassFolders(tmp_path)
    small = np.asarray(PIL.Image.open(tmp_path / "cat" / "2.png").convert("L"))
    wanted = PIL.Image.fromarray(small).resize(size[::-1], PIL.Image.Resampling.NEAREST)
    np.testing.assert_array_equal(dataset.mask("cat/2") == 1, np.asarray(wanted) > 0)
    assert dataset.mask("cat/1").shape == SIZE
    for _ in range(2):
        assert dataset.resized(["cat/1", "cat/2", "cat/2"]) == ("cat/2",)
    said = [record.getMessage().split(": ", 1)[1] for record in caplog.records]
    assert said == ["masks of another size than their image are brought to it: 1, the first is cat/2"]
    strict = ClassFolders(tmp_path, strict=True)
    for refused in (lambda: strict.mask("cat/2"), lambda: strict.resized(["cat/2"])):
        with pytest.raises(DataError, match="mask"):
            refused()


# VOC with SBD's masks


@pytest.mark.parametrize("folder", ["cls", "SBD/cls", "SBD/dataset/cls", "benchmark_RELEASE/dataset/cls"])
def test_masks_of_sbd_are_taken_where_voc_has_none(tmp_path: Path, folder: str) -> None:
    root = make_voc(tmp_path, sixteen())
    (root / "SegmentationClass" / "a_0.png").unlink()
    (root / "SegmentationClass" / "a_1.png").unlink()
    write_sbd(root / folder / "a_0.mat", labels_of(1))
    write_sbd(root / folder / "a_1.mat", labels_of(1))
    write_sbd(root / folder / "a_2.mat", labels_of(5))  # VOC's own wins
    write_mask(root / "SegmentationClassAug" / "a_1.png", labels_of(3))  # and this one over the .mat
    dataset = PascalVoc(root)
    assert [dataset.labels(f"a_{n}") for n in range(3)] == [{1}, {3}, {1}]
    assert len(dataset.entries) == 20
    assert np.array_equal(dataset.mask("a_0") == 1, labels_of(1) == 1)


def test_masks_of_sbd_alone_are_enough(tmp_path: Path) -> None:
    root = make_voc(tmp_path, PETS)
    (root / "SegmentationClass").rename(root / "SegmentationClassAug")
    assert PascalVoc(root, root / "list.txt").labels("c") == {1, 2}


def write_sbd(path: Path, labels: np.ndarray[Any, Any], field: str = "Segmentation") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    inner = {"Boundaries": np.zeros((20, 1), object), field: labels, "CategoriesPresent": np.unique(labels)}
    savemat(path, {"GTcls": inner})


@pytest.mark.parametrize(("content", "message"), [(b"no MATLAB", "no masks of SBD"), (None, "no masks of SBD")])
def test_a_bad_file_of_sbd(tmp_path: Path, content: bytes | None, message: str) -> None:
    root = make_voc(tmp_path, PETS)
    (root / "SegmentationClass" / "a.png").unlink()
    write_sbd(root / "cls" / "a.mat", labels_of(1), field="Other")
    if content is not None:
        (root / "cls" / "a.mat").write_bytes(content)
    with pytest.raises(DataError, match=rf"a\.mat: {message}"):
        PascalVoc(root)


def test_an_unknown_label_of_sbd(tmp_path: Path) -> None:
    root = make_voc(tmp_path, PETS)
    (root / "SegmentationClass" / "a.png").unlink()
    write_sbd(root / "cls" / "a.mat", labels_of(21))
    with pytest.raises(DataError, match=r"a\.mat: label 21 is no class"):
        PascalVoc(root)


# COCO


def test_coco_s_classes_folds_and_entries(tmp_path: Path) -> None:
    names = tuple(f"c{n}" for n in range(80))
    dataset = make_coco(tmp_path, names, {"x": ("c4", "c0"), "y": ("c79",)})
    assert dataset.class_names == names
    assert dataset.folds[0] == tuple(range(1, 81, 4))
    assert dataset.folds[3] == tuple(range(4, 81, 4))
    assert dataset.entries == (Entry("x", 1), Entry("x", 5), Entry("y", 80))
    assert fold_classes(dataset, 1)[:2] == (2, 6)
    assert dataset.image("x") == tmp_path / "tiny" / "x.jpg"


def test_annotations_are_painted_crowds_first_then_in_order(tmp_path: Path) -> None:
    counts = [0, SIZE[0] * SIZE[1]]  # everything
    annotations = [
        {"image_id": 100, "category_id": 10, "segmentation": square(2, 2, 8), "iscrowd": 0},
        {"image_id": 100, "category_id": 20, "segmentation": square(6, 2, 8), "iscrowd": 0},
        {"image_id": 100, "category_id": 20, "segmentation": {"counts": counts, "size": [*SIZE]}, "iscrowd": 1},
    ]
    write_coco(tmp_path, ("cat", "dog"), {"x": ()}, annotations=annotations)
    dataset = Coco(tmp_path)
    mask = dataset.mask("x")
    assert (mask[5, 4], mask[5, 7], mask[5, 12], mask[20, 30]) == (1, 2, 2, 2)
    assert dataset.entries == (Entry("x", 1), Entry("x", 2))


def test_coco_by_its_json_and_its_images_in_other_places(tmp_path: Path) -> None:
    path = write_coco(tmp_path, ("cat", "dog"), NAMED)
    for place in ("images/tiny", "images"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        next(tmp_path.glob("**/a.jpg")).parent.rename(tmp_path / "aside")
        (tmp_path / "aside").rename(tmp_path / place)
        assert Coco(path).mask("a").shape == SIZE
        if place != "images":
            (tmp_path / place).rename(tmp_path / "tiny")
            (tmp_path / "images").rmdir()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": None}, "has no lists 'images', 'annotations', 'categories'"),
        ({"categories": []}, "categories must be there"),
        ({"categories": [{"id": 1}]}, "a category has no id or no name"),
        ({"categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "a"}]}, "differ in id and name"),
        ({"annotations": [{"image_id": [1]}]}, r"an image or annotation is incomplete \(TypeError"),
        ({"images": [{"id": 7, "file_name": "a.jpg", "width": 3}]}, "image 7: height None is no number of pixels"),
        ({"images": [{"id": 7, "file_name": "a.jpg", "height": -5, "width": 3}]}, "image 7: height -5"),
        ({"annotations": []}, "no image here holds a class"),
    ],
)
def test_a_bad_json_of_coco(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    write_coco(tmp_path, ("cat", "dog"), NAMED, **changes)
    with pytest.raises(DataError, match=message):
        Coco(tmp_path)


WHOLE = SIZE[0] * SIZE[1]


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ("text", "no list of polygons"),
        ({"counts": 3}, "run lengths are of size None"),
        ({"counts": [5], "size": [2, 2]}, "run lengths are of size"),
        ({"counts": [WHOLE // 2, WHOLE], "size": [*SIZE]}, "don't add up"),  # what native code reads beyond its memory
        ({"counts": [WHOLE - 1], "size": [*SIZE]}, "don't add up"),
        ([["a"] * 6], "a coordinate is no number"),
        ([[1, 1, 9, 1, math.nan, 9]], "coordinate nan"),
        ([[1, 1, math.inf, 1, 9, 9]], "coordinate inf"),
        ([[1, 1, 1e9, 1, 9, 9]], "coordinate 1000000000"),
        ([[1, 1, 1e300, 1, 9, 9]], r"coordinate 1e\+300"),
    ],
)
def test_a_bad_annotation_is_named_when_the_json_is_read(tmp_path: Path, shape: object, message: str) -> None:
    annotations = [{"id": 7, "image_id": 100, "category_id": 10, "segmentation": shape}]
    write_coco(tmp_path, ("cat",), {"x": ()}, annotations=annotations)
    with pytest.raises(DataError, match=rf"instances_tiny\.json: annotation 7 of image x: .*{message}"):
        Coco(tmp_path)


@pytest.mark.parametrize(("height", "width"), [(-5, 10), (2**70, 10), (10**5, 10**5), (1.5, 10), ("9", 10), (0, 9)])
def test_an_impossible_size_is_refused_before_memory_is_taken(tmp_path: Path, height: object, width: object) -> None:
    path = write_coco(tmp_path, ("cat",), {"x": ("cat",)})
    content = json.loads(path.read_text())
    content["images"][0] |= {"height": height, "width": width}
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"instances_tiny\.json: image 100: "):
        Coco(tmp_path)


def test_no_entry_without_pixels(tmp_path: Path) -> None:
    """Nor without a segmentation, of two points, or wholly covered by another class."""
    whole = [[0, 0, SIZE[1], 0, SIZE[1], SIZE[0], 0, SIZE[0]]]
    shapes = {"x": ([], square(2, 2, 8)), "y": ([[1, 2, 3, 4]], None), "z": (square(2, 2, 8), whole)}
    annotations = [
        {"image_id": 100 + place, "category_id": 10 * (1 + n), "segmentation": shape}
        for place, group in enumerate(shapes.values())
        for n, shape in enumerate(group)
    ]
    path = write_coco(tmp_path, ("cat", "dog"), dict.fromkeys(shapes, ()), annotations=annotations)
    assert Coco(tmp_path).entries == (Entry("x", 2), Entry("z", 2))
    (tmp_path / "list.txt").write_text("x__02\nz__01\n")
    with pytest.raises(DataError, match=r"list\.txt: 1 lines name a class that the image has no pixel of: z__01"):
        Coco(path, tmp_path / "list.txt")


def test_what_cannot_be_used_of_coco_is_left_out_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = {"image_id": 100, "category_id": 10, "segmentation": square(2, 2, 8)}
    unusable: list[dict[str, Any]] = [
        {"segmentation": [[1, 2]]},
        {"segmentation": [[1, 2, 9, 9]], "category_id": 20},
        {"segmentation": [], "category_id": 20},
        {"segmentation": None},
        {"image_id": 1},
        {"category_id": 11},
    ]
    annotations = [{"id": 50 + number, **whole, **changes} for number, changes in enumerate([{}, *unusable])]
    write_coco(tmp_path, ("cat", "dog"), {"x": ()}, annotations=annotations)
    dataset = Coco(tmp_path)
    assert dataset.entries == (Entry("x", 1),)
    said = [record.getMessage().split(": ", 1)[1] for record in caplog.records]
    assert said == [
        "annotations without an outline of three points or more are left out: 4, the first is 51",
        "annotations of an image that the file doesn't list are left out: 1, the first is 55",
        "annotations of a category that the file doesn't list are left out: 1, the first is 56",
    ]


def test_strict_refuses_what_would_be_left_out(tmp_path: Path) -> None:
    annotations = [{"id": 7, "image_id": 100, "category_id": 11, "segmentation": square(2, 2, 8)}]
    write_coco(tmp_path, ("cat", "dog"), {"x": ()}, annotations=annotations)
    with pytest.raises(DataError, match="a category that the file doesn't list are left out: 1, the first is 7; mend"):
        open_dataset("coco20i", tmp_path, strict=True)


def coco_of(root: Path, images: list[dict[str, Any]], **changes: Any) -> Coco:
    """A square of class cat in each image that has an id; files lie where the names say."""
    annotations = [
        {"id": 50 + n, "image_id": one["id"], "category_id": 10, "segmentation": square(2 + n, 2, 8)}
        for n, one in enumerate(images)
        if "id" in one
    ]
    path = write_coco(root, ("cat", "dog"), {}, **{"images": images, "annotations": annotations, **changes})
    for one in images:
        if "file_name" in one:
            write_image(root / "tiny" / one["file_name"].replace("\\", "/"), SIZE, seed=len(one["file_name"]))
    return Coco(path)


def test_a_parent_category_without_annotations_shifts_no_class(tmp_path: Path) -> None:
    """Roboflow writes one; COCO's "person", whose supercategory is "person", stays."""
    categories = [
        {"id": 0, "name": "pets", "supercategory": "none"},
        {"id": 10, "name": "cat", "supercategory": "pets"},
        {"id": 30, "name": "person", "supercategory": "person"},
    ]
    size = {"height": SIZE[0], "width": SIZE[1]}
    dataset = coco_of(tmp_path, [{"id": 1, "file_name": "x.jpg", **size}], categories=categories)
    assert dataset.class_names == ("cat", "person")
    assert dataset.left_out == {"categories that stand above others, without annotations,": (1, "pets")}


def test_names_of_coco_s_images_as_tools_write_them(tmp_path: Path) -> None:
    """Folders, backslashes, one name in two folders, a path of another machine, gaps in ids."""
    size = {"height": SIZE[0], "width": SIZE[1]}
    names = {3: "a\\x.jpg", 900: "b/x.jpg", 17: "a/y.jpg", 2**40: "z.png"}
    images = [{"id": number, "file_name": name, **size} for number, name in names.items()]
    dataset = coco_of(tmp_path, images)
    homes = {"a/x": "a/x.jpg", "b/x": "b/x.jpg", "y": "a/y.jpg", "z": "z.png"}
    assert {one.image: dataset.image(one.image) for one in dataset.entries} == {
        image_id: tmp_path / "tiny" / home for image_id, home in homes.items()
    }
    columns = [int(dataset.mask(image_id).any(0).argmax()) for image_id in homes]
    assert columns == [2, 3, 4, 5]
    write_coco(tmp_path, ("cat",), {}, images=[{"id": 1, "file_name": "/else/where/z.png", **size}], annotations=[])
    assert (tmp_path / "annotations" / "instances_tiny.json").is_file()


def test_ids_of_coco_s_images_that_cannot_be_told_apart(tmp_path: Path) -> None:
    """Listed twice is one image; two images of one id, and images without an id or a name, are left out."""
    size = {"height": SIZE[0], "width": SIZE[1]}
    one, other = {"id": 1, "file_name": "x.jpg", **size}, {"id": 2, "file_name": "y.jpg", **size}
    nameless = [{"id": 5, **size}, {"file_name": "w.jpg", **size}]
    dataset = coco_of(tmp_path, [one, one, other, other | {"file_name": "z.jpg"}, *nameless])
    assert dataset.entries == (Entry("x", 1),)
    assert dataset.left_out == {
        "images without an id or a name": (2, "5"),
        "images of different names and one id": (1, "2"),
        "annotations of an image that the file doesn't list": (3, "52"),
    }


def test_coco_s_images_without_a_size(tmp_path: Path) -> None:
    dataset = coco_of(tmp_path, [{"id": 1, "file_name": "x.jpg"}, {"id": 2, "file_name": "y.jpg", "height": None}])
    assert [dataset.mask(one.image).shape for one in dataset.entries] == [SIZE, SIZE]
    (tmp_path / "tiny" / "y.jpg").unlink()
    dataset = Coco(tmp_path)
    assert dataset.entries == (Entry("x", 1),)
    assert dataset.left_out["images without a size and without a file"] == (1, "2")


def test_coco_folders_without_their_parts(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no json file of instances here; give a json file"):
        Coco(tmp_path)
    path = write_coco(tmp_path, ("cat", "dog"), NAMED)
    (path.parent / "instances_other.json").write_text("{")
    with pytest.raises(DataError, match="2 json files of instances here"):
        Coco(tmp_path)
    with pytest.raises(DataError, match=r"instances_other\.json: is no JSON"):
        Coco(path.parent / "instances_other.json")
    for image in (tmp_path / "tiny").iterdir():
        image.unlink()
    with pytest.raises(DataError, match="none of its images is here; put them into tiny, images/tiny or images"):
        Coco(path)


# Images beside masks


@pytest.mark.parametrize("classes", [["cat", "dog"], {"dog": 2, "cat": 1}, {"background": 0, "cat": 1, "dog": 2}])
def test_images_and_masks(tmp_path: Path, classes: object) -> None:
    dataset = ImagesAndMasks(make_images_and_masks(tmp_path, classes, PETS))
    assert dataset.class_names == ("cat", "dog")
    assert dataset.entries == (Entry("a", 1), Entry("b", 2), Entry("c", 1), Entry("c", 2))
    assert dataset.folds == ((1,), (2,))
    assert np.array_equal(dataset.mask("c") == VOID, labels_of(1, 2) == 255)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([], "class names must be there"),
        (["cat", "cat"], "must be there, be text and differ"),
        (["cat", 3], "must be there, be text and differ"),
        ({"cat": 1, "dog": 3}, "numbers must go from 1 up without gaps"),
        ({"cat": 1, "dog": "2"}, "must be there, be text and differ"),
        ("cat", "class names must be there"),
    ],
)
def test_bad_class_names(tmp_path: Path, classes: object, message: str) -> None:
    make_images_and_masks(tmp_path, classes, PETS)
    with pytest.raises(DataError, match=rf"classes\.json: .*{message}"):
        ImagesAndMasks(tmp_path)


def test_more_than_254_classes_in_masks_of_16_bits(tmp_path: Path) -> None:
    make_images_and_masks(tmp_path, [f"c{n}" for n in range(1, 1001)], {"a": (1,)})
    labels = labels_of(1).astype(np.uint16)
    labels[labels == 1] = 1000
    labels[labels == 255] = 65535
    labels[0, 0] = 255  # a class like any other
    PIL.Image.fromarray(labels).save(tmp_path / "masks" / "a.png")
    dataset = ImagesAndMasks(tmp_path)
    assert dataset.labels("a") == {255, 1000}
    assert np.array_equal(dataset.mask("a") == VOID, labels == 65535)
    assert dataset.folds[3][-1] == 1000


def test_unknown_labels_and_missing_parts(tmp_path: Path) -> None:
    root = make_images_and_masks(tmp_path, ["cat", "dog"], {"a": (1, 3)})
    with pytest.raises(DataError, match=r"a\.png: label 3 is no class; labels are 0 to 2 and 255"):
        ImagesAndMasks(root)
    (root / "classes.json").write_text("[")
    with pytest.raises(DataError, match="is no JSON; write"):
        ImagesAndMasks(root)
    (root / "classes.json").unlink()
    with pytest.raises(DataError, match=r"classes\.json: No such file or directory; the root must hold"):
        ImagesAndMasks(root)


# Class folders


@pytest.mark.parametrize("mask", ["{name}/{n}.png", "{name}/{n}_mask.png", "{name}/masks/{n}.png"])
def test_class_folders(tmp_path: Path, mask: str) -> None:
    dataset = ClassFolders(make_class_folders(tmp_path, {"cat": 11, "ant": 2}, mask))
    assert dataset.class_names == ("ant", "cat")
    assert [entry.image for entry in dataset.entries[:4]] == ["ant/1", "ant/2", "cat/1", "cat/2"]
    assert dataset.entries[-1] == Entry("cat/11", 2)
    assert np.array_equal(dataset.mask("cat/3"), 2 * (labels_of(1) == 1))


def test_class_folders_in_two_trees(tmp_path: Path) -> None:
    make_class_folders(tmp_path / "images", {"cat": 2, "dog": 1}, "../masks/{name}/{n}.png")
    dataset = ClassFolders(tmp_path)
    assert dataset.class_names == ("cat", "dog")
    assert dataset.labels("dog/1") == {2}
    assert dataset.mask("dog/1").max() == 2


@pytest.mark.parametrize(("value", "mode"), [(255, "RGB"), (1, "L"), (127, "L"), (128, "L"), (255, "1"), (38, "LA")])
def test_what_is_foreground_in_a_class_folder(tmp_path: Path, value: int, mode: str) -> None:
    dataset = ClassFolders(make_class_folders(tmp_path, {"cat": 2}))
    write_white(tmp_path / "cat" / "1.png", value, mode)
    assert np.array_equal(dataset.mask("cat/1") == 1, labels_of(1) == 1)
    write_white(tmp_path / "cat" / "1.png", 0)
    with pytest.raises(DataError, match=r"1\.png: the mask has no foreground; mark the object"):
        dataset.mask("cat/1")


def test_soft_edges_of_a_class_folder_s_masks_are_cut_at_half(tmp_path: Path) -> None:
    dataset = ClassFolders(make_class_folders(tmp_path, {"cat": 1}))
    ramp = np.tile(np.linspace(0, 255, SIZE[1]).astype(np.uint8), (SIZE[0], 1))
    PIL.Image.fromarray(ramp).save(tmp_path / "cat" / "1.png")
    assert np.array_equal(dataset.mask("cat/1") == 1, ramp >= 128)


def test_instances_and_cut_outs_in_a_class_folder(tmp_path: Path) -> None:
    dataset = ClassFolders(make_class_folders(tmp_path, {"cat": 3}))
    square = labels_of(1) == 1
    instances = np.where(square, 60, 0).astype(np.uint8)
    instances[8] *= 3  # a second object, of another grey
    PIL.Image.fromarray(instances).save(tmp_path / "cat" / "1.png")
    red = np.zeros((*SIZE, 3), np.uint8)
    red[square, 0] = 255
    PIL.Image.fromarray(red).save(tmp_path / "cat" / "2.png")
    photo = np.random.default_rng(0).integers(0, 256, (*SIZE, 4), np.uint8)
    photo[:, :, 3] = 255 * square
    PIL.Image.fromarray(photo).save(tmp_path / "cat" / "3.png")
    for number in (1, 2, 3):
        assert np.array_equal(dataset.mask(f"cat/{number}") == 1, square)


@pytest.mark.parametrize(
    "mask", ["{name}/{n}.PNG", "{name}/{n}_mask.JPG", "{name}/masks/{n}.tif", "{name}/masks/{n}.Bmp"]
)
def test_masks_of_class_folders_with_any_suffix(tmp_path: Path, mask: str) -> None:
    dataset = ClassFolders(make_class_folders(tmp_path, {"cat": 2}, mask))
    assert [entry.image for entry in dataset.entries] == ["cat/1", "cat/2"]
    assert np.array_equal(dataset.mask("cat/2") == 1, labels_of(1) == 1)


@pytest.mark.parametrize(
    ("suffix", "mode"), [("png", "1"), ("PNG", "L"), ("jpg", "L"), ("tif", "RGB"), ("webp", "RGB")]
)
def test_masks_of_one_class_are_any_mask(tmp_path: Path, suffix: str, mode: str) -> None:
    root = make_images_and_masks(tmp_path, ["cat"], {"a": (1,)})
    (root / "masks" / "a.png").unlink()
    write_white(root / "masks" / f"a.{suffix}", 255, mode)
    dataset = ImagesAndMasks(root)
    assert dataset.entries == (Entry("a", 1),)
    assert np.array_equal(dataset.mask("a"), labels_of(1) == 1)


def test_grey_saved_as_colour_holds_numbers_and_a_jpeg_of_several_classes_does_not(tmp_path: Path) -> None:
    root = make_images_and_masks(tmp_path, ["cat", "dog"], {"a": (1, 2)})
    PIL.Image.fromarray(labels_of(1, 2)).convert("RGB").save(root / "masks" / "a.png")
    dataset = ImagesAndMasks(root)
    assert dataset.labels("a") == {1, 2}
    assert np.array_equal(dataset.mask("a") == VOID, labels_of(1, 2) == 255)
    (root / "masks" / "a.png").unlink()
    write_white(root / "masks" / "a.jpg")
    with pytest.raises(DataError, match=r"a\.jpg: is a JPEG; a label mask must be"):
        ImagesAndMasks(root)


def test_a_void_border_of_a_palette_is_no_object(tmp_path: Path) -> None:
    root = make_images_and_masks(tmp_path, ["cat"], {"a": (1,), "b": (1,)})
    border = np.where(labels_of(1) == 255, 255, 0).astype(np.uint8)
    write_mask(root / "masks" / "b.png", border)
    assert ImagesAndMasks(root).entries == (Entry("a", 1),)


def test_lists_of_entries_and_of_classes(tmp_path: Path) -> None:
    root = make_class_folders(tmp_path / "data", {"ant": 2, "bee": 2, "cow": 2})
    path = tmp_path / "list.txt"
    path.write_text("cow/1__03\nant/2__01\n")
    assert ClassFolders(root, path).entries == (Entry("cow/1", 3), Entry("ant/2", 1))
    path.write_text("cow\nant\n")
    chosen = ClassFolders(root, path)
    assert chosen.class_names == ("ant", "cow")
    assert [entry.label for entry in chosen.entries] == [1, 1, 2, 2]
    for text, message in (("cow\nelk\n", "classes have no folder: 'elk'"), ("cow/1__01\n", "is listed as 'ant'")):
        path.write_text(text)
        with pytest.raises(DataError, match=message):
            ClassFolders(root, path)
    path.write_text("../ant/1__01\n")
    with pytest.raises(DataError, match="is not of the form"):
        ClassFolders(root, path)


def test_images_without_masks_and_folders_without_classes(tmp_path: Path) -> None:
    root = make_class_folders(tmp_path / "data", {"cat": 3})
    (root / "cat" / "2.png").unlink()
    with pytest.raises(DataError, match="1 of 3 masks are missing: cat/2;"):
        ClassFolders(root)
    partial = ClassFolders(root, allow_missing=True)
    assert (partial.missing, len(partial.entries)) == (("cat/2",), 2)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no folders here; the root must hold a folder for each class"):
        ClassFolders(tmp_path / "empty")
    (tmp_path / "empty" / "cat").mkdir()
    with pytest.raises(DataError, match="no class has an image"):
        ClassFolders(tmp_path / "empty")


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    root = make_class_folders(tmp_path / "data", {"cat": 2})
    write_image(root / "cat" / "1.bmp", SIZE)
    with pytest.raises(DataError, match="two images of one name, 1; keep one"):
        ClassFolders(root)
    masks = make_images_and_masks(tmp_path / "masks", ["cat"], {"a": (1,)})
    write_image(masks / "images" / "a.bmp", SIZE)
    with pytest.raises(DataError, match=r"two files of one name, a\.bmp and a\.jpg; keep one"):
        ImagesAndMasks(masks)


def test_unknown_data_sets_are_named_with_what_there_is() -> None:
    with pytest.raises(ConfigError, match="choose pascal5i, coco20i, masks, folder"):
        open_dataset("imagenet", ".")


@pytest.mark.realdata
def test_real_images_beside_masks(shared_data: Path) -> None:
    dataset = open_dataset("masks", shared_data / "coco128")
    assert len(dataset.class_names) == 80
    assert len({entry.label for entry in dataset.entries}) == 71
    counts = json.loads((shared_data / "coco128" / "images_per_class.json").read_text())
    found = dict.fromkeys(dataset.class_names, 0)
    for entry in dataset.entries:
        found[dataset.class_names[entry.label - 1]] += 1
    assert {name: count for name, count in found.items() if count} == {n: c for n, c in counts.items() if c}

"""COCO's json as tools write it: what of it can be used, and how much of each kind cannot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, Final, NamedTuple

from fewshot_seg.errors import DataError, describe
from fewshot_seg.files import read_user_json
from fewshot_seg.imaging.decode import MAX_PIXELS, opened, oriented
from fewshot_seg.imaging.find import IMAGE_SUFFIXES
from fewshot_seg.imaging.geometry import Outline, check_outline, check_size

HINT: Final = "give a json file of COCO's instances, or the folder that has annotations/instances_SPLIT.json"

_Unused = dict[str, list[object]]


class Painted(NamedTuple):
    """One annotation: its class, COCO's segmentation, and where its outline lies."""

    label: int
    shape: Any
    outline: Outline


class CocoJson(NamedTuple):
    """What a json file says.

    Attributes:
        names: of the classes; label i is the i-th, from 1.
        folder: of the images.
        files: image id -> its file, of those that are there.
        sizes: image id -> (H, W).
        painted: image id -> its annotations in the order of painting: crowds first.
        left_out: what can't be used, of each kind how many and which is the first.
    """

    names: tuple[str, ...]
    folder: Path
    files: dict[str, Path]
    sizes: dict[str, tuple[int, int]]
    painted: dict[str, list[Painted]]
    left_out: dict[str, tuple[int, str]]


def read_coco(path: Path) -> CocoJson:
    """A json file of COCO's instances, and where its images are.

    An image's id is its file's name without folders and suffix, or with them where two would have one. Left out and
    counted are images without an id or name or with another's id, annotations of images and categories that aren't
    there, and those without an outline of three points; further a category without annotations that is another's
    supercategory. An image without a size has that of its file.

    Raises:
        DataError: no such json, an outline that cannot be (`imaging.geometry`), or none of its images is there.
        ImageError: an image without a size can't be read.
    """
    content = _read(path)
    unused: _Unused = {}
    names, numbers = _classes(content, path, unused)
    try:
        listed = _listed(content["images"], unused)
        folder, files = _files(path, {image_id: place for image_id, place, _ in listed.values()})
        sizes: dict[str, tuple[int, int]] = {}
        for number, (image_id, _, one) in listed.items():
            if one.get("height") is not None or one.get("width") is not None:
                with _named(path, f"image {number}"):
                    sizes.setdefault(image_id, check_size(one.get("height"), one.get("width")))
            elif image_id in files:
                sizes.setdefault(image_id, _size_of(files[image_id]))
            else:
                unused.setdefault("images without a size and without a file", []).append(number)
        ids = {number: image_id for number, (image_id, _, _) in listed.items() if image_id in sizes}
        painted = _painted(content["annotations"], ids, numbers, sizes, path, unused)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{describe(path)}: an image or annotation is incomplete ({error!r}); {HINT}") from error
    left_out = {kind: (len(found), str(found[0])) for kind, found in unused.items()}
    return CocoJson(names, folder, files, sizes, painted, left_out)


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = read_user_json(path, HINT, HINT)
    parts = ("images", "annotations", "categories")
    if not isinstance(content, dict) or not all(isinstance(content.get(part), list) for part in parts):
        raise DataError(f"{describe(path)}: has no lists 'images', 'annotations', 'categories'; {HINT}")
    return content


def _classes(content: Mapping[str, Any], path: Path, unused: _Unused) -> tuple[tuple[str, ...], dict[int, int]]:
    """The classes' names, and category id -> class number."""
    try:
        above = {one.get("supercategory") for one in content["categories"] if one.get("supercategory") != one["name"]}
        annotated = {one.get("category_id") for one in content["annotations"]}
        every = sorted((int(one["id"]), str(one["name"])) for one in content["categories"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{describe(path)}: a category has no id or no name; {HINT}") from error
    ordered = [(category, name) for category, name in every if name not in above or category in annotated]
    if parents := [name for category, name in every if (category, name) not in ordered]:
        unused["categories that stand above others, without annotations,"] = [*parents]
    names = tuple(name for _, name in ordered)
    if not names or len(set(names)) < len(names) or len(dict(ordered)) < len(names):
        raise DataError(f"{describe(path)}: categories must be there, and differ in id and name; {HINT}")
    return names, {category: label for label, (category, _) in enumerate(ordered, start=1)}


def _listed(
    images: Sequence[Mapping[str, Any]], unused: _Unused
) -> dict[Any, tuple[str, PurePosixPath, Mapping[str, Any]]]:
    """Number -> image id, its file's place, and what is said of it."""
    places: dict[Any, tuple[PurePosixPath, Mapping[str, Any]]] = {}
    twice: set[Any] = set()
    for position, one in enumerate(images):
        number, name = one.get("id"), one.get("file_name")
        if number is None or not isinstance(name, str) or not PurePosixPath(name.replace("\\", "/")).name:
            unused.setdefault("images without an id or a name", []).append(position if number is None else number)
            continue
        place = PurePosixPath(name.replace("\\", "/"))
        if places.setdefault(number, (place, one))[0] != place:
            twice.add(number)
    if twice:
        unused["images of different names and one id"] = [number for number in places if number in twice]
    kept = {number: place for number, (place, _) in places.items() if number not in twice}
    stems = Counter(place.stem for place in set(kept.values()))
    inside = Counter(str(place.with_suffix("")) for place in set(kept.values()))

    def id_of(place: PurePosixPath) -> str:
        if stems[place.stem] == 1:
            return place.stem
        return str(place if inside[str(place.with_suffix(""))] > 1 else place.with_suffix(""))

    return {number: (id_of(place), place, places[number][1]) for number, place in kept.items()}


def _painted(
    annotations: Sequence[Mapping[str, Any]],
    ids: Mapping[Any, str],
    numbers: Mapping[Any, int],
    sizes: Mapping[str, tuple[int, int]],
    path: Path,
    unused: _Unused,
) -> dict[str, list[Painted]]:
    """Image id -> its annotations in the order of painting."""
    painted: dict[str, list[Painted]] = {image_id: [] for image_id in sizes}
    for one in sorted(annotations, key=lambda one: not one.get("iscrowd")):
        image_id, label = ids.get(one.get("image_id")), numbers.get(one.get("category_id"))
        if image_id is None or label is None:
            kind = f"annotations of {'an image' if image_id is None else 'a category'} that the file doesn't list"
            unused.setdefault(kind, []).append(one.get("id"))
            continue
        with _named(path, f"annotation {one.get('id', '?')} of image {image_id}"):
            outline = check_outline(one.get("segmentation"), sizes[image_id])
        if outline is None:
            kind = "annotations without an outline of three points or more"
            unused.setdefault(kind, []).append(one.get("id"))
        else:
            painted[image_id].append(Painted(label, one["segmentation"], outline))
    return painted


@contextmanager
def _named(path: Path, what: str) -> Iterator[None]:
    """Errors of one image or annotation say whose they are."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{describe(path)}: {what}: {error}; mend it or get the file again") from error


def _size_of(image: Path) -> tuple[int, int]:
    with opened(image, MAX_PIXELS) as picture:
        width, height = oriented(picture).size
    return height, width


def _files(path: Path, wanted: Mapping[str, PurePosixPath]) -> tuple[Path, dict[str, Path]]:
    """The folder with the images, the first that has any of those wanted, and image id -> file.

    An image lies where its name says, from that folder, or, where the name is the only one of its kind, in it.
    """
    split = path.stem.removeprefix("instances_")
    bases = (path.parent, path.parent.parent)
    for folder in (base / part for base in bases for part in (split, f"images/{split}", "images", ".")):
        if folder.is_dir():
            find = cache(_finder)
            found: dict[str, Path] = {}
            for image_id, place in wanted.items():
                outside = place.is_absolute() or ".." in place.parts
                homes = [] if outside else [folder / place.parent]
                for home in [*homes, folder] if image_id == place.stem else homes:
                    names, stems = find(home)
                    if (file := names.get(place.name) or stems.get(place.stem)) is not None:
                        found[image_id] = file
                        break
            if found:
                return folder, found
    places = f"{split}, images/{split} or images"
    raise DataError(f"{describe(path)}: none of its images is here; put them into {places} beside annotations")


def _finder(folder: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """A folder's images by name, and by a stem that but one has: one listing, instead of a question for each."""
    try:
        files = [file for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES and file.name[0] != "."]
    except OSError:
        return {}, {}
    counts = Counter(file.stem for file in files)
    return {file.name: file for file in files}, {file.stem: file for file in files if counts[file.stem] == 1}

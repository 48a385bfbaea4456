"""Other tools' annotations as examples: COCO's JSON, LabelMe's JSON, and folders of them."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from fewshot_seg.errors import DataError, FewShotError, describe
from fewshot_seg.files import read_user_json
from fewshot_seg.formats.shapes import shape_mask
from fewshot_seg.imaging.find import natural_key
from fewshot_seg.imaging.geometry import check_size, draw_outline

if TYPE_CHECKING:
    from fewshot_seg.prompts.supports import Support

_FORM: Final = "give COCO's json of instances, or LabelMe's json files"
_COCO: Final = {"images", "annotations", "categories"}
_LABELME: Final = {"shapes", "imagePath"}

Masks = dict[str, dict[Path, NDArray[np.bool_]]]
"""Class -> image -> (H,W) bool."""


def read_supports(
    path: str | os.PathLike[str], images: str | os.PathLike[str] | None = None
) -> dict[str, list[Support]]:
    """Annotated images as examples with masks, for `Segmenter.segment` and its like.

    Each image is one example of each class that is outlined in it: all things of a class, crowds too, are its mask.
    What has no outline (boxes alone, points, lines) is passed over; LabelMe's rectangles, circles and masks count.
    Sizes and coordinates are of the upright image, after EXIF orientation.

    Args:
        path: a JSON file, or a folder, whose other JSON files are passed over.
        images: the folder of the images, and the only one that is looked into. None: where the file says, from its own
            folder and the one above, and in `images` there.

    Returns:
        Classes, COCO's by their ids, LabelMe's as they come; their examples in the files' order.

    Raises:
        DataError: no such file, no annotations with outlines, an image that isn't there, an outline that can't be.
        Which file and which annotation is said in one line.
    """
    from fewshot_seg.prompts.supports import Support

    masks: Masks = {}
    for file in _files(Path(path)):
        content = read_user_json(file, _FORM, _FORM)
        place = partial(_image, file=file, base=None if images is None else Path(images))
        if isinstance(content, dict) and content.keys() >= _COCO:
            more = _coco(content, file, place)
        elif isinstance(content, dict) and content.keys() >= _LABELME:
            more = _labelme(content, file, place)
        elif file == Path(path):
            raise DataError(f"{describe(file)}: is neither COCO's nor LabelMe's; {_FORM}")
        else:
            continue
        for name, own in more.items():
            masks.setdefault(name, {})
            for image, mask in own.items():
                _add(masks, name, image, mask)
    found = {name: [Support(image, mask=mask) for image, mask in own.items()] for name, own in masks.items() if own}
    if not found:
        raise DataError(f"{describe(path)}: no annotation here has an outline; {_FORM}")
    return found


def below(folder: Path, stated: str) -> Path | None:
    """The file in a folder by the end of a stated path, as much of it as is there; None if nothing is."""
    parts = [part for part in stated.replace("\\", "/").split("/") if part not in ("", ".")]
    for start in range(len(parts)):
        place = folder.joinpath(*parts[start:])
        if ".." not in parts[start:] and is_file(place):
            return place
    return None


def is_file(path: Path) -> bool:
    """Whether it is one; `Path.is_file` raises for names that can't be."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = [one for one in path.iterdir() if one.suffix == ".json" and not one.name.startswith(".")]
    return sorted(found, key=lambda one: natural_key(one.name))


def _image(stated: object, file: Path, base: Path | None) -> Path:
    if not isinstance(stated, str) or not stated:
        raise DataError(f"the image's name is {stated!r}")
    if base is not None:
        place = below(base, stated)
    else:
        name = stated.replace("\\", "/")
        bases = [top / part for top in (file.parent, file.parent.parent) for part in (".", "images")]
        place = next((one / name for one in bases if is_file(one / name)), None)
    if place is None:
        where = f"in {describe(base)}" if base is not None else "where the file says"
        raise DataError(f"no image {describe(stated)} {where}; name the folder of the images")
    return place


def _add(masks: Masks, name: str, image: Path, mask: NDArray[np.bool_]) -> None:
    mine = masks.setdefault(name, {})
    if image in mine and mine[image].shape != mask.shape:
        raise DataError(f"{describe(image)}: is annotated at two sizes; keep the annotations of one")
    mine[image] = mine[image] | mask if image in mine else mask


def _coco(content: dict[str, Any], file: Path, place: Callable[[object], Path]) -> Masks:
    where = describe(file)
    try:
        names = {one["id"]: _name(one["name"]) for one in sorted(content["categories"], key=lambda one: one["id"])}
        masks: Masks = {name: {} for name in names.values()}
        of: dict[object, list[dict[str, Any]]] = {image["id"]: [] for image in content["images"]}
        for one in content["annotations"]:
            of[one["image_id"]].append(one)
        for image in content["images"]:
            for one in of[image["id"]]:
                where = f"{describe(file)}: annotation {one.get('id', '?')}"
                mask = draw_outline(one.get("segmentation"), check_size(image["height"], image["width"]))
                if mask.any():
                    _add(masks, names[one["category_id"]], place(image["file_name"]), mask)
    except FewShotError as error:
        raise DataError(f"{where}: {error}") from error
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DataError(f"{where}: is incomplete ({error!r}); {_FORM}") from error
    return masks


def _labelme(content: dict[str, Any], file: Path, place: Callable[[object], Path]) -> Masks:
    masks: Masks = {}
    where = describe(file)
    try:
        image, size = place(content["imagePath"]), check_size(content["imageHeight"], content["imageWidth"])
        for number, shape in enumerate(content["shapes"], start=1):
            where = f"{describe(file)}: shape {number}"
            mask = shape_mask(shape, size)
            if mask.any():
                _add(masks, _name(shape["label"]), image, mask)
    except FewShotError as error:
        raise DataError(f"{where}: {error}") from error
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DataError(f"{where}: is incomplete ({error!r}); {_FORM}") from error
    return masks


def _name(name: object) -> str:
    """As `--support NAME=` takes it."""
    text = unicodedata.normalize("NFC", name.strip()) if isinstance(name, str) else ""
    if not text:
        raise DataError(f"the class's name is {name!r}; give it a name")
    return text

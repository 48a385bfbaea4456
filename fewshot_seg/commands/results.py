"""One image's result as files and as an entry of results.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fewshot_seg.commands.result_files import cutout_name, mask_name, overlay_name
from fewshot_seg.cutting.instances import instances_of
from fewshot_seg.cutting.matting import cut_out
from fewshot_seg.errors import describe
from fewshot_seg.imaging.export import write_cutout, write_image, write_label_png
from fewshot_seg.imaging.geometry import bounding_box, encode_rle
from fewshot_seg.imaging.render import overlay
from fewshot_seg.segmentation.segmenter import Segmentation

COLUMNS = ("image", "class", "meaning", "count", "area %", "score")


def save_result(
    folder: Path,
    stem: str,
    path: str,
    image: npt.NDArray[np.uint8],
    result: Segmentation,
    instances: bool = True,
    alpha: bool = False,
) -> dict[str, Any]:
    """Write STEM_mask.png, STEM_overlay.jpg and, with alpha, STEM_cutout.png; return the entry for results.json.

    Classes that are not in the image have no object in the entry; they stand in "absent". Areas are in pixels of
    the native image; the masks are read from the label map, so that the entry and the PNG always agree.

    Raises:
        OutputError: a file cannot be written.
    """
    write_label_png(folder / mask_name(stem), result.label_map)
    write_image(folder / overlay_name(stem), overlay(image, result.label_map, result.classes))
    if alpha:
        write_cutout(folder / cutout_name(stem), cut_out(image, result.mask))
    return {
        "path": path,
        "size": [int(side) for side in result.size],
        "error": None,
        "objects": objects_of(result, instances),
        "absent": _absent(result),
        "mask": mask_name(stem),
        "overlay": overlay_name(stem),
    } | ({"cutout": cutout_name(stem)} if alpha else {})


def failed_entry(path: str, error: str) -> dict[str, Any]:
    """The entry of an image that could not be read: its size is not known, no file was written."""
    nothing: dict[str, Any] = {"objects": [], "absent": [], "mask": None, "overlay": None}
    return {"path": path, "size": None, "error": error} | nothing


def table_rows(entries: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """Rows for `COLUMNS`, one per object found, and one per class that was not.

    Control characters in names are written as escapes: a file's name must not steer the terminal.
    """
    rows: list[tuple[str, ...]] = []
    for entry in entries:
        path = describe(entry["path"])
        if entry["error"] is not None:
            rows.append((path, "error", "", "", "", ""))
        for found in entry["objects"]:
            share = 100 * found["area"] / (entry["size"][0] * entry["size"][1])
            count = str(len(found["instances"])) if "instances" in found else ""
            row = path, describe(found["class"]), found["meaning"], count, f"{share:.1f}", _score(found)
            rows.append(row)
        rows += [(path, describe(one["class"]), "", "", "absent", _score(one)) for one in entry["absent"]]
    return rows


def objects_of(result: Segmentation, instances: bool = True) -> list[dict[str, Any]]:
    """The entries of what was found, for JSON; their areas are in pixels of the native image."""
    objects = []
    for label, found in enumerate(result.objects, start=1):
        mask = result.label_map == label
        area = int(mask.sum())
        if area:
            objects.append(
                {
                    "class": found.name,
                    "area": area,
                    "score": _rounded(found.score),
                    "doubtful": found.doubtful,
                    "meaning": found.meaning,
                    "refined": found.refined,
                    "bbox": bounding_box(mask),
                    "segmentation": encode_rle(mask),
                }
                | ({"instances": _instances(mask, found.attention)} if instances else {})
            )
    return objects


def _instances(mask: npt.NDArray[np.bool_], attention: npt.NDArray[np.float32]) -> list[dict[str, Any]]:
    """The things of a class, one by one, the largest first; a score is the map's mean over the thing."""
    return [
        {
            "area": int(thing.sum()),
            "score": _rounded(float(attention[thing].mean())),
            "bbox": bounding_box(thing),
            "segmentation": encode_rle(thing),
        }
        for thing in instances_of(mask)
    ]


def _absent(result: Segmentation) -> list[dict[str, Any]]:
    """The classes without a pixel, and how sure it is, all the same, that they are there."""
    there = set(np.unique(result.label_map).tolist())
    missing = (found for label, found in enumerate(result.objects, start=1) if label not in there)
    return [{"class": found.name, "score": _rounded(found.score), "doubtful": found.doubtful} for found in missing]


def _score(entry: dict[str, Any]) -> str:
    """With a question mark where a person should look."""
    return f"{entry['score']:.2f}{'?' if entry['doubtful'] else ''}"


def _rounded(score: float) -> float:
    return round(float(score), 6)

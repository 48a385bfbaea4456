"""From kept maps to masks, without the network: sliders, clicks, a brush and an eraser act on what was found before."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

import cv2
import numpy as np
import PIL.Image
from numpy.typing import NDArray

from fewshot_seg.errors import DataError
from fewshot_seg.files import parse_json, read_arrays
from fewshot_seg.imaging.export import atomic_file
from fewshot_seg.matching.locators import Located
from fewshot_seg.prompts.constraints import apply_to_map
from fewshot_seg.prompts.hints import Hint, Query, query_constraints
from fewshot_seg.segmentation.cutter import SEEDS_OF_PROBABILITIES, Cutter, Target
from fewshot_seg.segmentation.options import SegmenterOptions
from fewshot_seg.segmentation.results import Segmentation


class Settings(NamedTuple):
    """What the page's sliders say; None: as measured to be best."""

    threshold: float | None = None
    presence: float | None = None

    def options(self, base: SegmenterOptions) -> SegmenterOptions:
        """The segmenter's options with what the sliders say."""
        changed = base if self.presence is None else replace(base, presence=self.presence)
        if self.threshold is not None:
            changed = replace(changed, seeds=replace(SEEDS_OF_PROBABILITIES, threshold=self.threshold))
        return changed


@dataclass(frozen=True, eq=False)
class Kept:
    """What the network said of a query: what `Located` holds, and of which classes."""

    classes: tuple[str, ...]
    located: Located

    @classmethod
    def of(cls, result: Segmentation) -> Kept:
        """What is to be kept of a result that was cut without hints."""
        objects = result.objects
        maps = np.stack([one.attention_map for one in objects]).astype(np.float32)
        scores = np.array([one.score for one in objects], np.float32)
        meanings = tuple(float(one.meaning == "thing") for one in objects)
        probabilistic = any(one.threshold is not None for one in objects)
        return cls(result.classes, Located(maps, scores, probabilistic, meanings=meanings))

    def save(self, path: Path) -> None:
        """Write it; OutputError where that fails."""
        about = json.dumps([self.classes, self.located.probabilistic, self.located.meanings])
        with atomic_file(path) as stream:
            np.savez(stream, maps=self.located.maps, scores=self.located.scores, about=np.array(about))

    @classmethod
    def load(cls, path: Path) -> Kept:
        """Read it. DataError: it is gone or damaged."""
        try:
            file = read_arrays(path)
            classes, probabilistic, meanings = parse_json(str(file["about"]))
            located = Located(file["maps"], file["scores"], probabilistic, meanings=tuple(meanings))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path.name}: what was found is gone or damaged; run this image again") from error
        return cls(tuple(classes), located)


def cut(
    image: NDArray[np.uint8], kept: Kept, edits: list[dict[str, Any]], options: SegmenterOptions
) -> NDArray[np.int32]:
    """A query's masks, steered by the points among its corrections as by hints.

    Args:
        image: (H,W,3) uint8 RGB.
        kept: what was found.
        edits: corrections; {"class", "point": [x, y], "foreground"} of classes that were looked for count.
        options: thresholds.

    Returns:
        (H,W) int32: label i + 1 is kept.classes[i].

    Raises:
        DataError: a point outside the image, or the same one as object and as background.
    """
    size = image.shape[0], image.shape[1]
    hints = {name: Hint(points=points) for name in kept.classes if (points := _points_of(edits, name))}
    constraints = (
        query_constraints(Query("", hints=hints), kept.classes, size) if hints else (None,) * len(kept.classes)
    )
    pairs = zip(kept.located.maps, constraints, strict=True)
    maps = np.stack([map_ if known is None else apply_to_map(map_, known) for map_, known in pairs])
    target = Target("", image, kept.located._replace(maps=maps), constraints)
    return Cutter(options).cut(target, kept.classes).label_map


def draw_strokes(labels: NDArray[np.int32], edits: list[dict[str, Any]], classes: Sequence[str]) -> None:
    """Into labels (H,W) of these classes: {"class", "stroke": {"foreground", "radius", "points"}}, in their order.

    Strokes are exact: a brush adds what it covers, an eraser takes it away.
    """
    for edit in edits:
        if "stroke" in edit and edit["class"] in classes:
            _draw(labels, classes.index(edit["class"]) + 1, edit["stroke"])


def renumbered(labels: NDArray[np.int32], old: Sequence[str], new: Sequence[str]) -> NDArray[np.int32]:
    """A label map (H,W) of the classes `old` as one of `new`; what is no class any more is background."""
    table = np.array([0, *(new.index(name) + 1 if name in new else 0 for name in old)], np.int32)
    return np.asarray(table[labels])


def stroke_mask(stroke: dict[str, Any], size: tuple[int, int]) -> NDArray[np.bool_]:
    """What a stroke {"radius": pixels, "points": [[x, y], ...]} covers of an image of size (H,W): (H,W) bool."""
    mask = np.zeros(size, np.uint8)
    _draw(mask, 1, {**stroke, "foreground": True})
    return mask > 0


_SHIFT: Final = 4  # bits of a pixel's fraction that OpenCV draws by


def _draw(labels: NDArray[Any], label: int, stroke: dict[str, Any]) -> None:
    """Into labels (H,W): the stroke takes what it covers, or gives back what it covers of this label."""
    radius = max(0.5, float(stroke["radius"]))
    points = np.asarray(stroke["points"], np.float64).reshape(-1, 2)
    height, width = labels.shape
    margin = int(radius) + 2
    low = np.floor(points.min(0)).astype(int) - margin
    high = np.ceil(points.max(0)).astype(int) + margin
    (left, top), (right, bottom) = low.clip(0), np.minimum(high, (width, height))
    if left >= right or top >= bottom:
        return
    canvas = np.zeros((bottom - top, right - left), np.uint8)
    drawn = np.round((points - (left, top)) * 2**_SHIFT).astype(np.int32)
    for x, y in drawn:
        cv2.circle(canvas, (int(x), int(y)), round(radius * 2**_SHIFT), 1, cv2.FILLED, shift=_SHIFT)
    for (ax, ay), (bx, by) in pairwise(drawn):
        cv2.fillConvexPoly(canvas, _bar((ax, ay), (bx, by), radius * 2**_SHIFT), 1, shift=_SHIFT)
    part = labels[top:bottom, left:right]
    if stroke["foreground"]:
        part[canvas > 0] = label
    else:
        part[(canvas > 0) & (part == label)] = 0


def _bar(start: tuple[int, int], end: tuple[int, int], radius: float) -> NDArray[np.int32]:
    """The rectangle (4,2) around a segment."""
    a, b = np.array(start, np.float64), np.array(end, np.float64)
    along = (b - a) / max(float(np.hypot(*(b - a))), 1e-9)
    across = np.array((-along[1], along[0])) * radius
    return np.round([a + across, b + across, b - across, a - across]).astype(np.int32)


def _points_of(edits: list[dict[str, Any]], name: str) -> list[tuple[float, float, bool]]:
    """A class's points; the same pixel marked again counts as it was marked last."""
    found = {(int(x), int(y)): (x, y, edit["foreground"]) for edit in edits if edit["class"] == name and "point" in edit
             for x, y in [edit["point"]]}  # fmt: skip
    return list(found.values())


def read_labels(path: Path) -> NDArray[np.int32]:
    """An accepted label map (H,W) int32. DataError: it is gone or damaged."""
    try:
        with PIL.Image.open(path) as file:
            return np.asarray(file, np.int32)
    except OSError as error:
        raise DataError(f"{path.name}: the accepted mask is gone or damaged ({error}); accept it again") from error

"""What the segmenter gives: one query's label map, and what was found of each class."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from fewshot_seg.cutting.matting import cut_out
from fewshot_seg.errors import DataError, FewShotError
from fewshot_seg.imaging.decode import read_image
from fewshot_seg.imaging.display import picture_html, show
from fewshot_seg.imaging.images import resize_map
from fewshot_seg.imaging.inputs import ImageInput
from fewshot_seg.imaging.render import overlay

DOUBTFUL: Final = 0.1
"""Scores so near the threshold are doubtful."""


@dataclass(frozen=True, eq=False)
class ObjectResult:
    """What was found of one class in one query.

    Attributes:
        name: the class.
        score: how sure it is, in [0, 1], that the object is there at all, found or not: a calibrated probability
            from a matcher, else the cosine of the query, seen through its map, and the supports.
        attention_map: (h,w) float32 in [0, 1]: where the object is, before refinement, on a small grid.
        trimap: (h',w') uint8 at working size, values as in `fewshot_seg.cutting.seeds`.
        label: the class's number in `label_map`, from 1.
        label_map: the query's, shared with the other classes' results.
        meaning: "thing": this very thing was looked for, by appearance; "kind": this kind of thing.
        threshold: the score below which its mask is empty; None where it was not asked whether it is there.
        refined: whether the mask is the refined one; False where refinement was not asked for, or not kept.
    """

    name: str
    score: float
    attention_map: NDArray[np.float32] = field(repr=False)
    trimap: NDArray[np.uint8] = field(repr=False)
    label: int
    label_map: NDArray[np.int32] = field(repr=False)
    refined: bool = False
    meaning: Literal["kind", "thing"] = "kind"
    threshold: float | None = None

    @property
    def present(self) -> bool:
        """Whether it was found: its mask holds a pixel."""
        return bool((self.label_map == self.label).any())

    @property
    def doubtful(self) -> bool:
        """Whether its score is so near the threshold that a person should look."""
        return self.threshold is not None and abs(self.score - self.threshold) <= DOUBTFUL

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(H,W) bool at the query's native size; all False where the object is absent."""
        return np.asarray(self.label_map == self.label)

    def cutout(self, image: ImageInput) -> NDArray[np.uint8]:
        """The object with soft edges, from the query's image: (H,W,4) uint8 RGBA, without the background's colours.

        Raises:
            ImageError: it can't be read. ShapeError: it is of another size.
        """
        return cut_out(read_image(image), self.mask)

    @property
    def attention(self) -> NDArray[np.float32]:
        """(H,W) float32 in [0, 1]: the attention map brought to the query's native size."""
        height, width = self.label_map.shape
        return resize_map(self.attention_map, (height, width))


@dataclass(frozen=True, eq=False)
class Segmentation:
    """One query's result.

    Attributes:
        source: the query's path, or what it was.
        label_map: (H,W) int32 at the query's native size as a viewer shows it; 0 background, 1..N the classes.
        objects: one for each class, in the supports' order, found or not.
        image: the query as it was given, for pictures of the result; None where it isn't known.
    """

    source: str
    label_map: NDArray[np.int32] = field(repr=False)
    objects: tuple[ObjectResult, ...]
    image: ImageInput | None = field(default=None, repr=False)

    @property
    def size(self) -> tuple[int, int]:
        """(H,W) of the query."""
        height, width = self.label_map.shape
        return height, width

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes' names; class i has label i + 1."""
        return tuple(found.name for found in self.objects)

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(H,W) bool: any of the classes."""
        return np.asarray(self.label_map > 0)

    def overlay(self, image: ImageInput | None = None) -> NDArray[np.uint8]:
        """The query with each class filled in its colour: (H,W,3) uint8 RGB, an array.

        Args:
            image: the query, where it isn't to be read again as it was given.

        Raises:
            DataError: no image is known. ImageError: it can't be read any more. ShapeError: it is of another size.
        """
        image = self.image if image is None else image
        if image is None:
            raise DataError(f"{self.source}: its image isn't kept; give it: overlay(image)")
        return overlay(read_image(image), self.label_map, self.classes)

    def show(self, image: ImageInput | None = None) -> None:
        """The overlay, in a notebook below the cell with a table of the classes, elsewhere in the system's viewer.

        Args and Raises: as `overlay`.
        """
        picture = self.overlay(image)
        show(picture, self._html(picture))

    def _repr_html_(self) -> str:
        try:
            picture = self.overlay()
        except FewShotError:  # gone, or changed: the masks alone
            picture = overlay(np.full((*self.size, 3), 128, np.uint8), self.label_map, self.classes)
        return self._html(picture)

    def _html(self, picture: NDArray[np.uint8]) -> str:
        rows = [
            (one.name, one.meaning, f"{100 * one.mask.mean():.1f} %", f"{one.score:.2f}{'?' if one.doubtful else ''}")
            for one in self.objects
        ]
        table = [("class", "meaning", "area", "score"), *rows]
        cells = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in table)
        body = "".join(f"<tr>{row}</tr>" for row in cells)
        return f"<div>{picture_html(picture, f'masks of {self.source}')}<table>{body}</table></div>"

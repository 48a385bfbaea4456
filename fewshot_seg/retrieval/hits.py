"""What a search found, as a list that can be looked at."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol, TypeVar

from fewshot_seg.errors import describe
from fewshot_seg.imaging.render import Image8, Tile, sheet

_TILE: Final = 200
_A_ROW: Final = 5
_FRAME: Final = (30, 100, 220)


class Found(Protocol):
    """What every hit has; one of a region has its `box` and its image's `size`, too."""

    @property
    def path(self) -> str:
        """The image's, as it was given when it was indexed."""

    @property
    def score(self) -> float:
        """How much it is like what was searched for."""

    @property
    def columns(self) -> Mapping[str, str]:
        """What else is known of it."""

    @property
    def location(self) -> str:
        """Where its file is now."""


Item = TypeVar("Item", bound=Found)


class Hits(list[Item]):
    """Hits, best first. A notebook shows them as pictures."""

    def sheet(self) -> Image8:
        """The hits with rank, score and name: (H,W,3) uint8 RGB; grey where a file can't be read any more.

        Raises:
            ShapeError: there is none.
        """
        tiles = [_tile(rank, hit) for rank, hit in enumerate(self, start=1)]
        return sheet([tiles[start : start + _A_ROW] for start in range(0, len(tiles), _A_ROW)], tile=_TILE)

    def show(self) -> None:
        """The sheet, below a notebook's cell or in the system's viewer; where nothing was found, that."""
        from fewshot_seg.imaging.display import show

        if self:
            show(self.sheet(), self._repr_html_())
        else:
            print("no hits")  # noqa: T201 - asked for

    def _repr_html_(self) -> str:
        from fewshot_seg.imaging.display import picture_html

        names = "; ".join(f"{rank}. {hit.score:.3f} {describe(hit.path)}" for rank, hit in enumerate(self, start=1))
        return picture_html(self.sheet(), names) if self else "<p>no hits</p>"


def _tile(rank: int, hit: Found) -> Tile:
    import cv2

    from fewshot_seg.imaging.display import thumbnail

    picture = thumbnail(hit.location, _TILE).copy()
    if (box := getattr(hit, "box", None)) is not None:
        scale = picture.shape[1] / hit.size[1]  # type: ignore[attr-defined]
        left, top, right, bottom = (round(scale * place) for place in (*box[:2], box[0] + box[2], box[1] + box[3]))
        cv2.rectangle(picture, (left, top), (right - 1, bottom - 1), _FRAME, 2)
    columns = "".join(f"\n{name}: {value}" for name, value in hit.columns.items() if value)
    return Tile(picture, f"{rank}.  {hit.score:.3f}\n{describe(Path(*Path(hit.path).parts[-2:]))}{columns}")

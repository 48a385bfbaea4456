"""Results as pictures: overlays, heat maps, and sheets of captioned tiles. Arrays in and out, no files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fewshot_seg.errors import ShapeError

Image8 = npt.NDArray[np.uint8]

FILL = 0.4  # opacity of the colour inside a mask: the object stays recognisable
HEAT = 0.85  # opacity of the heat map where the attention is 1
# By cv2's codes: sure background, sure foreground, probable background, probable foreground.
SEED_COLOURS = ((10, 14, 30), (60, 210, 110), (70, 110, 200), (250, 215, 70))
SEED_OPACITY = (0.8, 0.65, 0.6, 0.6)


_LABELS, _CHANNELS = np.arange(256)[:, None], np.arange(3)
_BITS = [((_LABELS >> (3 * bit + _CHANNELS)) & 1) << (7 - bit) for bit in range(8)]
PALETTE: Image8 = np.sum(_BITS, axis=0).astype(np.uint8)
"""The (256, 3) PASCAL VOC colour map: the bits of a label, spread over the high bits of R, G and B."""
PALETTE.setflags(write=False)


def class_colour(label: int) -> tuple[int, int, int]:
    """RGB of a label in overlays: its palette colour, brightened, as VOC's own drown in a photograph."""
    # Not scaled to full brightness: label 8 would then look like label 1.
    red, green, blue = (min(255, 45 + int(1.35 * value)) for value in PALETTE[label % 256])
    return red, green, blue


def overlay(image: Image8, label_map: npt.NDArray[np.integer[Any]], names: Sequence[str] = ()) -> Image8:
    """The image with each class filled in its colour and outlined, and the rest paler if there is any.

    Args:
        image: (H, W, 3) uint8 RGB.
        label_map: (H, W) integers, 0 background, or bool (one class).
        names: of the classes that were looked for, label i + 1 is names[i]. Two or more get a legend of those
            that are there, in the corner that hides least of them; one needs none.

    Returns:
        (H, W, 3) uint8 RGB, a new array. The line width follows the image's size.

    Raises:
        ShapeError: the two do not have the same height and width.
    """
    import cv2

    _check(image, label_map.shape)
    labels = [int(label) for label in np.unique(label_map) if label]
    if not labels:
        return image.copy()
    # Without this a red object in a red overlay could not be told from its surroundings.
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    result = np.asarray(cv2.addWeighted(image, 0.25, grey, 0.55, 0), dtype=np.uint8)
    for label in labels:
        inside = label_map == label
        colour = np.asarray(class_colour(label), dtype=np.float32)
        result[inside] = (image[inside] * (1 - FILL) + colour * FILL).astype(np.uint8)
    height, width = image.shape[:2]
    line = int(max(1, round(min(max(height, width) / 400, min(height, width) / 100))))
    for label in labels:
        contours, _ = cv2.findContours((label_map == label).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        # A white line under the coloured one: visible on any background.
        cv2.drawContours(result, contours, -1, (255, 255, 255), 2 * line + 1, cv2.LINE_AA)
        cv2.drawContours(result, contours, -1, class_colour(label), line, cv2.LINE_AA)
    keys = [(names[label - 1], class_colour(label)) for label in labels if 1 <= label <= len(names)]
    if len(names) < 2:
        return result
    from fewshot_seg.imaging.lettering import draw_legend

    return draw_legend(result, label_map, keys)


def heat_map(image: Image8, attention: npt.NDArray[np.floating[Any]]) -> Image8:
    """The image, greyed, with the attention laid over it: Inferno colours, the stronger the more opaque.

    Args:
        image: (H, W, 3) uint8 RGB.
        attention: (h, w) in [0, 1]; values outside are clipped. A map of another size than the image's is brought
            to it by cubic interpolation, which shows no grid.

    Returns:
        (H, W, 3) uint8 RGB, a new array.

    Raises:
        ShapeError: the attention isn't (h, w), or the image isn't as above.
    """
    import cv2

    _check(image, image.shape[:2])
    if attention.ndim != 2 or attention.size == 0:
        raise ShapeError(f"expected attention of shape (h, w), got {attention.shape}")
    strength = np.nan_to_num(attention.astype(np.float32))
    if strength.shape != image.shape[:2]:
        strength = np.asarray(cv2.resize(strength, image.shape[1::-1], interpolation=cv2.INTER_CUBIC))
    strength = np.clip(strength, 0, 1)
    colours = cv2.applyColorMap((strength * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
    base = 0.25 * image + 0.75 * grey
    # A power below 1 keeps weak attention visible, a root would lay a haze over all of it.
    opacity = (HEAT * strength**0.7)[..., None]
    blended: Image8 = (base * (1 - opacity) + colours * opacity).astype(np.uint8)
    return blended


def seed_map(image: Image8, trimap: npt.NDArray[np.integer[Any]]) -> Image8:
    """The image with GrabCut's seeds: sure foreground green, probable yellow; background blue, dark if sure.

    Args:
        image: (H, W, 3) uint8 RGB.
        trimap: (h, w) of cv2's codes 0 to 3 at any size.

    Returns:
        (H, W, 3) uint8 RGB, a new array.

    Raises:
        ShapeError: the trimap is not (h, w), or empty.
    """
    import cv2

    if trimap.ndim != 2 or 0 in trimap.shape:
        raise ShapeError(f"a trimap is (h, w), got {trimap.shape}")
    height, width = image.shape[:2]
    codes = np.asarray(
        cv2.resize(trimap.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST), dtype=np.intp
    ).clip(0, 3)
    tint = np.asarray(SEED_COLOURS, dtype=np.float32)[codes]
    opacity = np.asarray(SEED_OPACITY, dtype=np.float32)[codes][..., None]
    return np.asarray(image * (1 - opacity) + tint * opacity, dtype=np.uint8)


def above(top: Image8, bottom: Image8) -> Image8:
    """Two (H, W, 3) images one above the other, the lower one resized to the upper one's width."""
    import cv2

    width = top.shape[1]
    height = max(1, round(bottom.shape[0] * width / bottom.shape[1]))
    resized = cv2.resize(bottom, (width, height), interpolation=cv2.INTER_AREA)
    return np.vstack([top, np.asarray(resized, dtype=np.uint8)])


class Tile(NamedTuple):
    """A picture of a sheet, (H, W, 3) uint8 RGB, and its caption; lines after the first are printed paler."""

    image: Image8
    caption: str = ""


def sheet(rows: Sequence[Sequence[Tile | None]], title: str = "", *, tile: int = 300) -> Image8:
    """Rows of captioned tiles on white, columns aligned.

    Args:
        rows: the tiles; a row may be shorter than the others, None leaves a place free.
        title: printed above them.
        tile: the width of a column and the greatest height of a picture, in pixels.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ShapeError: no tile at all, or a tile that is not (H, W, 3).
    """
    from fewshot_seg.imaging.lettering import draw_sheet

    filled = [row for row in rows if any(row)]
    if not filled:
        raise ShapeError("a sheet needs at least one tile")
    for cell in (cell for row in filled for cell in row if cell):
        _check(cell.image, cell.image.shape[:2])
    return draw_sheet(filled, title, tile)


def _check(image: Image8, shape: tuple[int, ...]) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ShapeError(f"an image is (H, W, 3), got {image.shape}")
    if image.shape[:2] != shape:
        raise ShapeError(f"the image is {image.shape[:2]}, the map {shape}: both must have the same (H, W)")

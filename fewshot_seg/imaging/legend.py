"""The drawing behind an overlay's legend: which colour is which class, in the corner where it hides least."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from fewshot_seg.imaging.sheet import INK, PAPER, Font, shorten

Image8 = npt.NDArray[np.uint8]
Key = tuple[str, tuple[int, int, int]]  # a class's name and its RGB

SMALLEST, LARGEST = 11, 40  # font sizes
SHARE = 1 / 24  # font size over the image's shorter side
MOST = 0.6  # of the image's width and height
OPACITY = 0.82  # of the panel
_MORE = (150, 155, 165)


def draw_legend(image: Image8, label_map: npt.NDArray[np.integer[Any]], keys: Sequence[Key]) -> Image8:
    """The image (H, W, 3) with a panel of coloured squares and names; the image itself if it is too small.

    Args:
        image: what is drawn on; it isn't changed.
        label_map: (H, W), 0 background: the panel takes the corner with the fewest other pixels.
        keys: names and colours, from top to bottom. The ones that don't fit are counted in a last line.
    """
    height, width = image.shape[:2]
    size = round(min(max(SHARE * min(height, width), SMALLEST), LARGEST))
    line, pad = round(1.45 * size), round(0.55 * size)
    room = int(MOST * width) - 2 * pad - line
    rows = int(MOST * height - 2 * pad) // line
    if not keys or room < 2 * size or rows < min(len(keys), 2):
        return image
    font = ImageFont.load_default(size=size)
    shown = _fit(keys, rows)
    texts = [shorten(" ".join(name.split()) or "?", font, room) for name, _ in shown]
    panel_width = 2 * pad + line + round(max(font.getlength(text) for text in texts))
    box = (2 * pad + line * len(shown), panel_width)
    top, left = _corner(label_map, box, margin=pad)
    panel = _panel(box, [(text, colour) for text, (_, colour) in zip(texts, shown, strict=True)], font, line, pad)
    result = image.copy()
    here = result[top : top + box[0], left : left + box[1]]
    here[:] = (here * (1 - OPACITY) + panel[: here.shape[0], : here.shape[1]] * OPACITY).astype(np.uint8)
    return result


def _fit(keys: Sequence[Key], rows: int) -> list[Key]:
    """As many as there are rows for; the last one then says how many are left out."""
    if len(keys) <= rows:
        return list(keys)
    return [*keys[: rows - 1], (f"+ {len(keys) - rows + 1} more", _MORE)]


def _panel(box: tuple[int, int], keys: Sequence[Key], font: Font, line: int, pad: int) -> Image8:
    canvas = Image.new("RGB", box[::-1], PAPER)
    draw = ImageDraw.Draw(canvas)
    side = round(0.6 * line)
    for row, (text, colour) in enumerate(keys):
        middle = pad + row * line + line // 2
        draw.rectangle((pad, middle - side // 2, pad + side, middle - side // 2 + side), fill=colour)
        draw.text((pad + line, middle), text, fill=INK, font=font, anchor="lm")
    return np.asarray(canvas)


def _corner(label_map: npt.NDArray[np.integer[Any]], box: tuple[int, int], margin: int) -> tuple[int, int]:
    """(top, left) of the box in the corner that hides the fewest labelled pixels."""
    height, width = (max(0, side - part) for side, part in zip(label_map.shape, box, strict=True))
    tops, lefts = (sorted({max(0, free - margin), min(margin, free)}, reverse=True) for free in (height, width))
    places = [(top, left) for top in tops for left in reversed(lefts)]  # at the bottom left, if all are alike
    return min(places, key=lambda at: np.count_nonzero(label_map[at[0] : at[0] + box[0], at[1] : at[1] + box[1]]))

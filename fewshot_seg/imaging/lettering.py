"""The drawing behind `render.sheet` and an overlay's legend: layout first, ink second."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Image8 = npt.NDArray[np.uint8]
Cell = tuple[Image8, str]
Key = tuple[str, tuple[int, int, int]]  # a class's name and its RGB
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

MARGIN, GAP = 28, 16  # pixels round the sheet, between tiles
TITLE, CAPTION = 22, 15  # font sizes
LEADING = 1.35  # line height over font size
SMALLEST, LARGEST = 11, 40  # font sizes of a legend
SHARE = 1 / 24  # its font size over the image's shorter side
MOST = 0.6  # of the image's width and height
OPACITY = 0.82  # of its panel
PAPER, INK, PALE = (255, 255, 255), (24, 26, 30), (110, 115, 125)
MORE = (150, 155, 165)


def draw_sheet(rows: Sequence[Sequence[Cell | None]], title: str, tile: int) -> Image8:
    """Rows of (image, caption) as one (H, W, 3) image; see `render.sheet`."""
    columns = max(len(row) for row in rows)
    width = 2 * MARGIN + columns * tile + (columns - 1) * GAP
    title_font, font = ImageFont.load_default(size=TITLE), ImageFont.load_default(size=CAPTION)
    title_lines = _wrap(title, title_font, width - 2 * MARGIN)
    fitted = [
        [(x, _fit(cell[0], tile), _wrap(cell[1], font, tile)) for x, cell in enumerate(row) if cell] for row in rows
    ]
    line = round(CAPTION * LEADING)
    tops = [max(picture.height for _, picture, _ in row) for row in fitted]
    heights = [top + 6 + line * max(len(lines) for _, _, lines in row) for top, row in zip(tops, fitted, strict=True)]
    head = round(TITLE * LEADING) * len(title_lines) + (GAP if title_lines else 0)
    height = 2 * MARGIN + head + sum(heights) + GAP * (len(rows) - 1)

    canvas = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(canvas)
    for number, (text, _) in enumerate(title_lines):
        draw.text((MARGIN, MARGIN + number * round(TITLE * LEADING)), text, fill=INK, font=title_font)
    y = MARGIN + head
    for row, top, row_height in zip(fitted, tops, heights, strict=True):
        for column, picture, lines in row:
            x = MARGIN + column * (tile + GAP)
            # Flush left and bottom: every caption hangs directly under its picture.
            canvas.paste(picture, (x, y + top - picture.height))
            for number, (text, first) in enumerate(lines):
                draw.text((x, y + top + 6 + number * line), text, fill=INK if first else PALE, font=font)
        y += row_height + GAP
    return np.asarray(canvas)


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
    shown = list(keys) if len(keys) <= rows else [*keys[: rows - 1], (f"+ {len(keys) - rows + 1} more", MORE)]
    texts = [_shorten(" ".join(name.split()) or "?", font, room) for name, _ in shown]
    panel_width = 2 * pad + line + round(max(font.getlength(text) for text in texts))
    box = (2 * pad + line * len(shown), panel_width)
    top, left = _corner(label_map, box, margin=pad)
    panel = _panel(box, [(text, colour) for text, (_, colour) in zip(texts, shown, strict=True)], font, line, pad)
    result = image.copy()
    here = result[top : top + box[0], left : left + box[1]]
    here[:] = (here * (1 - OPACITY) + panel[: here.shape[0], : here.shape[1]] * OPACITY).astype(np.uint8)
    return result


def _fit(image: Image8, tile: int) -> Image.Image:
    """The picture scaled, up or down, into a tile x tile box (at least one pixel a side)."""
    height, width = image.shape[:2]
    scale = min(tile / width, tile / height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return Image.fromarray(np.ascontiguousarray(image)).resize(size, Image.Resampling.LANCZOS)


def _wrap(text: str, font: Font, width: int) -> list[tuple[str, bool]]:
    """Lines no wider than `width`, each with "is of the first paragraph"; a word too long is shortened."""
    lines: list[tuple[str, bool]] = []
    for number, paragraph in enumerate(text.splitlines()):
        line = ""
        for word in paragraph.split():
            joined = f"{line} {word}".strip()
            if line and font.getlength(joined) > width:
                lines.append((line, number == 0))
                line = word
            else:
                line = joined
            line = _shorten(line, font, width)
        lines.append((line, number == 0))
    return lines


def _shorten(word: str, font: Font, width: int) -> str:
    """`word`, or its two ends round an ellipsis: the end of a file name tells more than its middle."""
    if font.getlength(word) <= width:
        return word
    keep = len(word)
    while keep > 1 and font.getlength(f"{word[: keep // 2]}...{word[-(keep // 2) :]}") > width:
        keep -= 1
    return f"{word[: keep // 2]}...{word[-(keep // 2) :]}"


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

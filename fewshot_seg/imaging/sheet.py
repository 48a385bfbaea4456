"""The drawing behind `render.sheet`: layout first, ink second."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Image8 = npt.NDArray[np.uint8]
Cell = tuple[Image8, str]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

MARGIN, GAP = 28, 16  # pixels round the sheet, between tiles
TITLE, CAPTION = 22, 15  # font sizes
LEADING = 1.35  # line height over font size
PAPER, INK, PALE = (255, 255, 255), (24, 26, 30), (110, 115, 125)


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
            line = shorten(line, font, width)
        lines.append((line, number == 0))
    return lines


def shorten(word: str, font: Font, width: int) -> str:
    """`word`, or its two ends round an ellipsis: the end of a file name tells more than its middle."""
    if font.getlength(word) <= width:
        return word
    keep = len(word)
    while keep > 1 and font.getlength(f"{word[: keep // 2]}...{word[-(keep // 2) :]}") > width:
        keep -= 1
    return f"{word[: keep // 2]}...{word[-(keep // 2) :]}"

"""Results before one's eyes: below a notebook's cell, else in the system's viewer."""

from __future__ import annotations

import base64
import io
import sys
from html import escape
from importlib import import_module
from typing import Final

import numpy as np
import PIL.Image

from fewshot_seg.errors import FewShotError
from fewshot_seg.imaging.decode import read_image
from fewshot_seg.imaging.inputs import ImageInput
from fewshot_seg.imaging.render import Image8

SIDE: Final = 800
"""Pixels of the longer side of a picture in a notebook, at most: its file is kept small."""
_GONE: Final = 225


def picture_html(picture: Image8, text: str) -> str:
    """A picture (H,W,3) as an <img> that holds it; the text is for those who can't see it."""
    image = PIL.Image.fromarray(picture)
    image.thumbnail((SIDE, SIDE))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=85)
    content = base64.b64encode(stream.getvalue()).decode("ascii")
    return f'<img alt="{escape(text)}" style="max-width:100%" src="data:image/jpeg;base64,{content}">'


def show(picture: Image8, html: str) -> None:
    """Show HTML in a notebook, elsewhere the picture (H,W,3) in a window, where the system has a viewer."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if hasattr(shell, "kernel"):
        notebook = import_module("IPython.display")
        notebook.display(notebook.HTML(html))
    else:
        PIL.Image.fromarray(picture).show()


def thumbnail(source: ImageInput, side: int) -> Image8:
    """A small version, no side above `side`; grey where it can't be read any more."""
    try:
        image = PIL.Image.fromarray(read_image(source, min_side=side))
    except FewShotError:
        return np.full((side, side, 3), _GONE, np.uint8)
    image.thumbnail((side, side))
    return np.asarray(image)

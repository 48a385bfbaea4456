"""Pictures as they are sent: JPEG for photographs, PNG for label maps and heat maps."""

from __future__ import annotations

from io import BytesIO
from typing import Final

import numpy as np
from fastapi import Response
from numpy.typing import NDArray

from fewshot_seg.imaging.images import read_image
from fewshot_seg.web.refusals import BAD, RefusalError

SIDES: Final = (16, 8192)


def picture(path: str, side: int | None) -> Response:
    """An image file as JPEG, upright; `side`: its longer side at most."""
    low, high = SIDES
    if side is not None and not low <= side <= high:
        raise RefusalError(BAD, f"side {side}: must be {low} to {high}")
    content = encoded(read_image(path, min_side=side), "JPEG", side)
    return Response(content, media_type="image/jpeg", headers={"cache-control": "private, max-age=86400"})


def grey_png(map_: NDArray[np.float32]) -> bytes:
    """A map (h,w) in [0, 1] as an 8-bit grey PNG, 255 for 1."""
    return encoded((np.clip(map_, 0, 1) * 255).round().astype(np.uint8), "PNG")


def encoded(pixels: NDArray[np.uint8], kind: str, side: int | None = None) -> bytes:
    """(H,W) or (H,W,3) uint8 as "PNG" or "JPEG"; made smaller where its longer side is above `side`."""
    from PIL import Image

    picture, stream = Image.fromarray(pixels), BytesIO()
    if side is not None:
        picture.thumbnail((side, side))
    picture.save(stream, kind, **({"quality": 90} if kind == "JPEG" else {"compress_level": 1}))
    return stream.getvalue()

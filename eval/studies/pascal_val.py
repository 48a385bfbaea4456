"""The images that PASCAL-5i is scored on, known by digests of their ids: what tuning must not see.

The lists of all four folds hold 1,381 images of VOC2012's validation set. Of each id the first four
bytes of its SHA-256 are kept, so that one of a thousand other ids is taken for one of them with a chance of
less than one in a thousand. They stand in pascal_val.txt, in base 64.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from functools import cache
from importlib import resources

FOLD_IMAGES = (345, 433, 587, 326)
"""How many images each fold's list has."""

_BYTES = 4


def validation_images(image_ids: Iterable[str]) -> list[str]:
    """Those of the ids that PASCAL-5i's validation lists hold, in order, each once."""
    known = _known()
    return sorted(
        {one for one in image_ids if hashlib.sha256(one.encode("utf-8", "replace")).digest()[:_BYTES] in known}
    )


@cache
def _known() -> frozenset[bytes]:
    raw = base64.b64decode(resources.files(__package__).joinpath("pascal_val.txt").read_bytes())
    return frozenset(raw[place : place + _BYTES] for place in range(0, len(raw), _BYTES))

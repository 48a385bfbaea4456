"""An image from the web, where the caller asks for it: nothing else here fetches what it was given.

Whoever passes on addresses of others must check them first: this goes wherever they lead, the own network included.
"""

from __future__ import annotations

import http.client
import time
import urllib.request
from typing import Final
from urllib.parse import urlsplit

from fewshot_seg.errors import ImageError, describe

MAX_BYTES: Final = 100_000_000
TIMEOUT: Final = 30.0
_PART: Final = 1 << 16


def fetch(url: str, *, max_bytes: int = MAX_BYTES, timeout: float = TIMEOUT) -> bytes:
    """What an address holds, for `read_image` and all else that takes an image; nothing is decoded.

    Args:
        url: http or https; so is where it leads.
        max_bytes: more is refused.
        timeout: seconds for all of it.

    Raises:
        ImageError: another kind of address, no answer, an error, too much, or too slow.
    """
    name, end = describe(url), time.monotonic() + timeout
    if urlsplit(url).scheme not in ("http", "https"):
        raise ImageError(f"{name}: is no address of http or https; give a path as it is")
    content = bytearray()
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "fewshot-seg"})
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            while part := answer.read1(_PART):
                content += part
                if len(content) > max_bytes:
                    raise ImageError(
                        f"{name}: more than {max_bytes / 1e6:g} MB; fetch a smaller one, or raise max_bytes"
                    )
                if time.monotonic() > end:
                    raise TimeoutError(f"not there after {timeout:g} s")
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise ImageError(f"{name}: cannot be fetched ({' '.join(str(error).split())}); check the address") from error
    return bytes(content)

"""Every error that fewshot-seg raises on purpose: one tree, so that a caller can catch it whole.

A message is one line and says what is wrong, with which file or value, and what to do about it. The commands
print it after "error:" and exit with a non-zero status, so it has to make sense without a traceback.
"""

from __future__ import annotations

import os
from typing import Final


class FewShotError(Exception):
    """The root: everything that goes wrong through its input rather than through a bug."""


class ImageError(FewShotError):
    """An image that cannot be read: missing, empty, truncated, too large, or not an image."""


class DataError(FewShotError):
    """Input that reads well but cannot be used: no supports, an empty mask, a class named twice."""


class CheckpointError(FewShotError):
    """Weights that cannot be loaded: absent, truncated, of another architecture, not plain tensors."""


class ConfigError(FewShotError):
    """An option or setting with an impossible value, an unknown name, or a contradiction to another one."""


class OutputError(FewShotError):
    """A result that cannot be written: a read-only folder, a full disk, a name that is taken."""


class ShapeError(FewShotError, ValueError):
    """An array or tensor of the wrong shape; the message gives the shape it got and the one it wants."""


PATH_TYPES: Final = (str, os.PathLike)
BYTES_TYPES: Final = (bytes, bytearray, memoryview)


def describe(source: object) -> str:
    """A short name of an input for messages, on one line: its path, "bytes (length N)", "array (H, W, 3)", ..."""
    if isinstance(source, PATH_TYPES):
        # Bytes that are not text, and control characters, would break the line or the terminal.
        text = os.fsdecode(source).encode("utf-8", "backslashreplace").decode()
        return text if text.isprintable() and text else repr(text)
    if isinstance(source, BYTES_TYPES):
        return f"{type(source).__name__} (length {len(source)})"
    if hasattr(source, "shape"):
        return f"{'tensor' if hasattr(source, 'detach') else 'array'} {tuple(source.shape)}"
    if hasattr(source, "filename") or hasattr(source, "getexif"):  # an image of PIL's, which is not imported for this
        path = getattr(source, "filename", "")
        return describe(path) if path else f"PIL image {source.width}x{source.height}"  # type: ignore[attr-defined]
    return f"object of type {type(source).__name__}"

"""Every error that fewshot-seg raises on purpose: one tree, so that a caller can catch it whole.

A message is one line and says what is wrong, with which file or value, and what to do about it. The commands
print it after "error:" and exit with a non-zero status, so it has to make sense without a traceback.
"""

from __future__ import annotations

__all__ = [
    "CheckpointError",
    "ConfigError",
    "DataError",
    "FewShotError",
    "ImageError",
    "OutputError",
    "ShapeError",
]


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

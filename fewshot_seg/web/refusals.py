"""What is answered where a request can't be: an HTTP status and one line."""

from __future__ import annotations

from typing import Final

from fewshot_seg.errors import ConfigError, DataError, FewShotError, ImageError, OutputError, ShapeError

BAD, MISSING, TOO_LARGE, WRONG_TYPE, BAD_OPTIONS, BUSY, FAILED, STOPPING = 400, 404, 413, 415, 422, 429, 500, 503
_STATUS: Final = ((ImageError, BAD), (DataError, BAD), (ShapeError, BAD), (ConfigError, BAD), (OutputError, FAILED))


class RefusalError(FewShotError):
    """A request that is not carried out.

    Args:
        status: the HTTP status, 400 or more.
        message: one line.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def status_of(error: FewShotError) -> int:
    """The HTTP status that says what kind of error this is."""
    if isinstance(error, RefusalError):
        return error.status
    return next((status for kind, status in _STATUS if isinstance(error, kind)), FAILED)

"""Multipart forms: their description for openapi.json, and errors that call files as they were sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from fewshot_seg.errors import FewShotError, ImageError
from fewshot_seg.web.refusals import BAD, WRONG_TYPE, RefusalError
from fewshot_seg.web.uploads import Form

FILES: Final = {"type": "array", "items": {"type": "string", "format": "binary"}}
TEXTS: Final = {"type": "array", "items": {"type": "string"}}


def renamed(work: Iterator[Any], form: Form) -> Iterator[Any]:
    """The same work, whose errors call files as they were sent."""
    try:
        yield from work
    except RefusalError:
        raise
    except FewShotError as error:
        status = status_of_image(str(error)) if isinstance(error, ImageError) else BAD
        raise RefusalError(status, form.named(str(error))) from error


def status_of_image(message: str) -> int:
    """415 for what is no image at all, else 400."""
    return WRONG_TYPE if "not an image" in message else BAD


def form_schema(properties: dict[str, Any]) -> dict[str, Any]:
    """A multipart body's description for openapi.json."""
    schema = {"type": "object", "properties": properties}
    return {"requestBody": {"content": {"multipart/form-data": {"schema": schema}}, "required": True}}

"""Multipart requests: their files lie on disk for as long as the request lasts, named by numbers."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException

from fewshot_seg.web.refusals import BAD, WRONG_TYPE, RefusalError

MOST_FILES: Final = 1000
_MOST_FIELD: Final = 2**20  # bytes of a field that is no file
_MOST_NAME: Final = 255


@dataclass(frozen=True)
class Upload:
    """One file: what it was called, as text, and where it is for now."""

    name: str
    path: Path


@dataclass(frozen=True)
class Form:
    """A multipart request's files and fields, each by its name, in the order in which they were sent."""

    files: dict[str, list[Upload]] = field(default_factory=dict)
    fields: dict[str, list[str]] = field(default_factory=dict)

    def only(self, *allowed: str) -> None:
        """RefusalError: a part that nobody reads; it may be misspelt."""
        for name in [*self.files, *self.fields]:
            if name not in allowed:
                raise RefusalError(BAD, f"unknown part {name[:50]!r}: send {', '.join(allowed)}")

    def needed(self, name: str, most: int = MOST_FILES) -> list[Upload]:
        """The files of this name, at least one. RefusalError: none, or too many."""
        found = self.files.get(name, [])
        if not 1 <= len(found) <= most:
            raise RefusalError(BAD, f"send 1 to {most} files as {name!r}; there are {len(found)}")
        return found

    def named(self, text: str) -> str:
        """A message in which files are called as they were sent."""
        for upload in (one for group in self.files.values() for one in group):
            text = text.replace(str(upload.path), upload.name)
        return text


@asynccontextmanager
async def received(request: Request) -> AsyncIterator[Form]:
    """A request's form; its files are removed when the block ends, however it ends.

    Raises:
        RefusalError: it is no multipart form, or a broken one.
    """
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise RefusalError(WRONG_TYPE, "send multipart/form-data")
    try:
        async with request.form(max_files=MOST_FILES, max_fields=MOST_FILES, max_part_size=_MOST_FIELD) as sent:
            with TemporaryDirectory(prefix="fewshot-seg-", ignore_cleanup_errors=True) as folder:
                form = Form()
                for number, (name, value) in enumerate(sent.multi_items()):
                    if isinstance(value, UploadFile):
                        path = Path(folder) / str(number)
                        await run_in_threadpool(_copy, value, path)
                        form.files.setdefault(name, []).append(Upload(shown_name(value.filename), path))
                    else:
                        form.fields.setdefault(name, []).append(value)
                yield form
    except (HTTPException, MultiPartException) as error:
        reason = error.detail if isinstance(error, HTTPException) else error.message
        raise RefusalError(BAD, f"the form can't be read: {reason}") from error


def shown_name(name: str | None) -> str:
    """A file's name as text: without folders and control characters, at most 255 characters."""
    last = (name or "").replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(one if one.isprintable() else "?" for one in last)[:_MOST_NAME] or "image"


def _copy(upload: UploadFile, path: Path) -> None:
    with path.open("wb") as target:
        shutil.copyfileobj(upload.file, target)

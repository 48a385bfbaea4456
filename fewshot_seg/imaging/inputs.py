"""Images as programs have them: which forms there are, and the bytes of those that are encoded."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import IO, Any, Final, Protocol

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from fewshot_seg.errors import BYTES_TYPES, PATH_TYPES, ImageError, describe

MAX_STREAM: Final = 1 << 30
"""Bytes of a stream that are read at most."""


class TensorImage(Protocol):
    """A tensor of torch's, which isn't imported for this."""

    def detach(self) -> Any:
        """Without its gradient."""

    def cpu(self) -> Any:
        """In memory that NumPy can see."""


ImageInput = (
    str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes] | PIL.Image.Image | NDArray[Any] | TensorImage
)
"""A path; the bytes of an image file, or a binary stream that can seek; a PIL image; an (H, W, 3) uint8 RGB or
(H, W) uint8 grey array; or a (3, H, W) uint8 tensor. Masks and scribbles may hold other numbers."""

_READING: Final = Lock()  # threads may share a stream, which has one position


def is_one(sources: object) -> bool:
    """Whether this is one image in any form, not several: (B, H, W, 3) arrays and (B, 3, H, W) tensors are several."""
    if isinstance(sources, np.ndarray) or _is_tensor(sources):
        return bool(sources.ndim < 4)  # type: ignore[attr-defined]
    return isinstance(sources, (*PATH_TYPES, *BYTES_TYPES, PIL.Image.Image)) or _is_stream(sources)


def as_array(source: object) -> object:
    """A tensor as the array (H, W, 3) or (H, W) that it is meant for; anything else as it is.

    Raises:
        ImageError: a tensor that NumPy has no numbers for, such as bfloat16.
    """
    if not _is_tensor(source):
        return source
    try:
        array = np.asarray(source.detach().cpu().numpy())  # type: ignore[attr-defined]
    except TypeError as error:
        raise ImageError(f"{describe(source)}: {error}; an image must be uint8") from error
    if array.ndim == 3:
        if array.shape[0] not in (1, 3, 4):
            raise ImageError(f"{describe(source)}: a tensor must be (3, H, W), channels first; rearrange its axes")
        array = array.transpose(1, 2, 0)
        array = array[:, :, 0] if array.shape[2] == 1 else array
    return np.ascontiguousarray(array)


@contextmanager
def binary(source: object, name: str) -> Iterator[IO[bytes]]:
    """The bytes of an image file, from the beginning; a stream that was given stays open.

    Raises:
        ImageError: no file that can be read, nothing in it, or neither path, bytes nor stream.
    """
    if isinstance(source, PATH_TYPES):
        with _open_file(source, name) as file:
            yield file
        return
    content = source if isinstance(source, BYTES_TYPES) else _stream_content(source, name)
    if len(content) == 0:
        raise ImageError(f"{name}: empty; get it again")
    yield io.BytesIO(content)


def _stream_content(source: Any, name: str) -> bytes:
    if not _is_stream(source):
        raise ImageError(f"{name}: not an image; give a path, bytes, a PIL image or an (H, W, 3) uint8 array")
    if not source.seekable():
        raise ImageError(f"{name}: a stream that can't seek; read it, and give its bytes")
    with _READING:
        source.seek(0)
        content = source.read(MAX_STREAM + 1)
    if not isinstance(content, bytes):
        raise ImageError(f"{name}: a stream of text; open it in binary mode")
    if len(content) > MAX_STREAM:
        raise ImageError(f"{name}: more than {MAX_STREAM >> 20} MiB; save it as a file and give its path")
    return content


def _is_tensor(source: object) -> bool:
    return hasattr(source, "detach") and hasattr(source, "cpu") and hasattr(source, "ndim")


def _is_stream(source: object) -> bool:
    return all(hasattr(source, name) for name in ("read", "seek", "seekable"))


def _open_file(path: str | os.PathLike[str], name: str) -> IO[bytes]:
    """The file, open for reading; what is no readable file is named as what it is."""
    try:
        status = Path(path).stat()
        if stat.S_ISDIR(status.st_mode):
            raise ImageError(f"{name}: is a folder; give an image file")
        if not stat.S_ISREG(status.st_mode):  # a pipe could block for ever, and decoders must be able to seek
            raise ImageError(f"{name}: is not a regular file; save the image to a file first")
        if status.st_size == 0:
            raise ImageError(f"{name}: the file is empty; get it again")
        return Path(path).open("rb")
    except FileNotFoundError:
        hint = "it is a URL: give what imaging.fetch.fetch gets of it" if "://" in name else "check the path"
        raise ImageError(f"{name}: no such file; {hint}") from None
    except PermissionError:
        raise ImageError(f"{name}: permission denied; make the file readable") from None
    except (OSError, ValueError) as error:  # too long a name, a loop of links, a NUL in it, a bad disk
        raise ImageError(f"{name}: cannot be opened ({one_line(error)}); check the path") from error


def one_line(error: BaseException) -> str:
    """What went wrong, for a message."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    if isinstance(error, KeyError) or not text.strip():  # a KeyError's text is the key alone
        text = f"{type(error).__name__} {text}"
    return " ".join(text.split())

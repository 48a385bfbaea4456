"""What a prediction was made with: the code, and the libraries under it."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import fewshot_seg

_LIBRARIES: Final = ("numpy", "opencv-python", "pillow", "scikit-image", "timm", "torch", "torchvision")
_OWN: Final = (
    "episodes/hints.py",
    "episodes/methods.py",
    "episodes/predictions.py",
)  # of this package: what else it does comes after predicting
_ASIDE: Final = ("commands", "cli.py", "__main__.py")  # of fewshot_seg: what people type and see


@cache
def code_digest() -> str:
    """SHA-256 of the source code that decides what is predicted; a version number alone may stand for several."""
    digest = hashlib.sha256()
    for folder, path in _sources():
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        digest.update(path.read_bytes().replace(b"\r\n", b"\n") + b"\0")
    return digest.hexdigest()


@cache
def libraries() -> dict[str, str]:
    """Name -> version of Python and of what is computed with."""
    return {"python": platform.python_version()} | {name: _version(name) for name in _LIBRARIES}


def _sources() -> Iterable[tuple[Path, Path]]:
    inference, here = Path(str(fewshot_seg.__file__)).parent, Path(__file__).parents[1]
    for path in sorted(inference.rglob("*.py")):
        if path.relative_to(inference).parts[0] not in _ASIDE:
            yield inference, path
    for name in _OWN:
        yield here, here / name


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # under another name: opencv-python-headless, a conda build
        return "unknown"

"""Names of output files: one per input, never two the same, never an input's own."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from fewshot_seg.errors import ConfigError

LONGEST = 200  # bytes of a stem: file systems allow 255, and "_overlay.jpg" and a number come after it


def output_stems(paths: Sequence[Path], earlier: Mapping[str, str] | None = None) -> list[str]:
    """The file names without their endings, made unique: the second `cat` becomes `cat-2`, and so on.

    Names are unique without regard to case and Unicode normal form, as some file systems see no difference. A
    file that is really called `cat-2.jpg` keeps its name; the second `cat` then becomes `cat-3`. The answer
    depends only on the paths, their order, and `earlier`.

    Args:
        paths: of the images.
        earlier: real path -> stem of images that the folder has results of: these keep theirs.
    """
    stems = [_shortened(path.stem) for path in paths]
    given = [(earlier or {}).get(os.path.realpath(path)) for path in paths] if earlier else [None] * len(paths)
    literal = {_key(stem) for stem in stems}
    used = {_key(stem) for stem in (earlier or {}).values()}
    unique: list[str] = []
    for stem, kept in zip(stems, given, strict=True):
        name, number = stem, 2
        while kept is None and (_key(name) in used or (number > 2 and _key(name) in literal)):
            name, number = f"{stem}-{number}", number + 1
        used.add(_key(name))
        unique.append(kept or name)
    return unique


def refuse_overwriting(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Check that no output is one of the inputs, or lies inside one that is a folder. Nothing is touched.

    Files are told apart by what they are, not by their names: links, `..` and another case are seen through.

    Args:
        outputs: what is going to be written: files, or folders. They need not be there.
        inputs: what the command reads: files, and folders that it must leave as they are (an index, a run, a data
            set). Ones that are not there are passed over.

    Raises:
        ConfigError: one is (as when `--out` is the folder of the images and an earlier run's files are
        queries).
    """
    places: dict[tuple[int, int], Path] = {}  # every output that is there, and all folders above any
    above: set[Path] = set()
    outside: dict[tuple[int, int], Path] = {}
    for output in outputs:
        _note(places, output, output)
        if (folder := output.parent) not in above:
            above.add(folder)
            for parent in (real := Path(os.path.realpath(folder)), *real.parents):
                _note(outside, parent, output)
    for source in inputs if places or outside else ():
        key = _file_key(source)
        if key in places:
            output = places[key]
            raise ConfigError(f"the output {output} would overwrite an input of the same name; choose another place")
        if key in outside:
            output = outside[key]
            raise ConfigError(f"the output {output} would lie in {source}, which is read; choose another place")


def _note(places: dict[tuple[int, int], Path], path: Path, output: Path) -> None:
    if (key := _file_key(path)) is not None:
        places.setdefault(key, output)


def _file_key(path: Path) -> tuple[int, int] | None:
    """Of a file or folder, through links; None where there is none."""
    try:
        found = Path(os.path.realpath(path)).stat()  # `..` below a folder that is not there is fine
    except (OSError, ValueError):  # a loop of links, a name with a NUL
        return None
    return found.st_dev, found.st_ino


def refuse_foreign(files: Iterable[Path], ours: Callable[[Path], bool]) -> None:
    """Check that what is going to be replaced is a regular file, and of an earlier run.

    Args:
        files: that will be written.
        ours: tells it of a file that is there.

    Raises:
        ConfigError: one may be anybody's, such as a true mask that goes by the same name.
    """
    for file in files:
        if os.path.lexists(file) and (file.is_symlink() or not file.is_file() or not ours(file)):
            raise ConfigError(f"{file} is there, and no result of an earlier run; move it, or choose another --out")


def is_our_mask(mask: Path) -> bool:
    """Whether it is a label map in the colours that this program gives them: there after a run that was killed."""
    return mask.is_file() and not mask.is_symlink() and _has_our_colours(mask)


def _has_our_colours(mask: Path) -> bool:
    from PIL import Image

    from fewshot_seg.imaging.render import PALETTE

    try:
        with Image.open(mask) as image:
            palette = image.getpalette()
    except OSError:
        return False
    return palette is not None and palette == PALETTE.reshape(-1).tolist()[: len(palette)]


def _key(stem: str) -> str:
    return unicodedata.normalize("NFC", stem).casefold()


def _shortened(stem: str) -> str:
    while len(stem.encode("utf-8", "surrogateescape")) > LONGEST:
        stem = stem[:-1]
    return stem or "image"

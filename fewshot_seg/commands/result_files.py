"""What segment leaves in a folder: results.jsonl, a line an image as it is done, and results.json, if it is few."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from fewshot_seg.errors import ConfigError
from fewshot_seg.files import read_json, regular

SUMMARY: Final = "results.json"
LOG: Final = re.compile(r"results(-(\d{1,6})-of-\d{1,6})?\.jsonl")


def mask_name(stem: str) -> str:
    """File name of the label map."""
    return f"{stem}_mask.png"


def overlay_name(stem: str) -> str:
    """File name of the overlay."""
    return f"{stem}_overlay.jpg"


def cutout_name(stem: str) -> str:
    """File name of the cut-out with soft edges."""
    return f"{stem}_cutout.png"


def stems_of(entries: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Real path of each image that has a result -> what its files are called."""
    done = (entry for entry in entries if entry["error"] is None)
    return {os.path.realpath(entry["path"]): entry["mask"].removesuffix(mask_name("")) for entry in done}


@dataclass(frozen=True)
class Results:
    """What a folder's results say.

    Attributes:
        classes: label i of a mask is the i-th of them, unless the image's entry has classes of its own.
        images: the entries.
        made_by: digest of what decided the masks; None where that isn't one thing for all.
    """

    classes: list[str] = field(default_factory=list)
    images: list[dict[str, Any]] = field(default_factory=list)
    made_by: str | None = None

    @property
    def files(self) -> set[str]:
        """The names of the files that it lists."""
        return {image[kind] for image in self.images for kind in ("mask", "overlay") if image["error"] is None}

    @property
    def stems(self) -> dict[str, str]:
        """As `stems_of` has it."""
        return stems_of(self.images)

    def with_run(self, classes: list[str], entries: list[dict[str, Any]], made_by: str) -> Results:
        """The results after another run: its images' entries replace older ones, the others stay.

        New classes come after the older; where a run's own order is another, its entries say so ("classes").
        """
        latest = {os.path.realpath(entry["path"]): entry for entry in entries}
        others = [entry for entry in self.images if os.path.realpath(entry["path"]) not in latest]
        entries = list(latest.values())
        if not others:
            return Results(classes, entries, made_by)
        union = list(dict.fromkeys([*self.classes, *classes]))
        if union[: len(classes)] != classes:
            entries = [entry | {"classes": classes} for entry in entries]
        return Results(union, [*others, *entries], made_by if self.made_by == made_by else None)


def read_results(folder: Path) -> Results:
    """The results of earlier runs in a folder, of killed ones, too; none where there are none.

    Raises:
        ConfigError: a file of that name is another program's, or damaged.
    """
    found = read_summary(folder / SUMMARY)
    for path in logs_in(folder):
        header, *entries = lines_of(path)
        found = found.with_run(header["classes"], entries, header["made_by"])
    return found


def logs_in(folder: Path) -> list[Path]:
    """The logs in a folder, those of parts first ("-" comes before ".")."""
    names = os.listdir(folder) if folder.is_dir() else []  # noqa: PTH208 - of a million files names are enough
    return [folder / name for name in sorted(names) if LOG.fullmatch(name)]


def known_stems(folder: Path) -> dict[str, str]:
    """Real path of an image that the folder has results of -> what its files are called. ConfigError as of results."""
    found = read_summary(folder / SUMMARY).stems
    for path in logs_in(folder):
        found |= stems_of(entries_of(path))
    return found


def without_results(paths: Sequence[Path]) -> list[Path]:
    """The paths without the masks, overlays and cut-outs that a results.json beside them lists: an earlier run's."""
    written = {folder / name for folder in {path.parent for path in paths} for name in _listed(folder)}
    return [path for path in paths if path not in written]


def _listed(folder: Path) -> set[str]:
    try:
        kinds = (mask_name, overlay_name, cutout_name)
        return {name(stem) for stem in known_stems(folder).values() for name in kinds}
    except ConfigError:  # another program's
        return set()


def read_summary(path: Path) -> Results:
    """What a results.json says; nothing where there is none. ConfigError: it is another program's."""
    if not os.path.lexists(path):
        return Results()
    try:
        content = read_json(path)
        found = Results(list(content["classes"]), list(content["images"]), content.get("made_by"))
        names = [*found.classes, *found.files, *found.stems, *found.stems.values()]
        if path.is_symlink() or not all(isinstance(name, str) for name in names):
            raise ValueError
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise not_ours(path) from error
    return found


def entries_of(path: Path) -> Iterator[dict[str, Any]]:
    """The entries of a log, in the order of writing; errors as of `lines_of`."""
    lines = lines_of(path)
    next(lines)
    return lines


def lines_of(path: Path) -> Iterator[dict[str, Any]]:
    """A log's header, then its entries; a last line that a kill cut short is none. ConfigError: another's, damaged."""
    number = 0
    try:
        if path.is_symlink():
            raise ValueError
        with regular(path).open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                if number > 1 and not line.endswith(b"\n"):
                    break
                yield _checked(json.loads(line), number)
        if number == 0:
            raise ValueError
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise not_ours(path, f", line {number}" if number > 1 else "") from error


def _checked(line: dict[str, Any], number: int) -> dict[str, Any]:
    if number == 1:
        texts = [line["made_by"], *line["classes"]]
    else:
        texts = [line["path"], *((line["mask"], line["overlay"]) if line["error"] is None else (line["error"],))]
        texts += [one["class"] for one in (*line["objects"], *line["absent"])]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError
    return line


def not_ours(path: Path, where: str = "") -> ConfigError:
    """What is said of a file that segment did not write so."""
    return ConfigError(f"{path}{where} is no result of an earlier run; move it, or choose another --out")

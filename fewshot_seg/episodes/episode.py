"""Episodes: which image is segmented by which supports; kept in files, and read from other people's."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fewshot_seg.datasets import SegmentationDataset
from fewshot_seg.errors import DataError, describe
from fewshot_seg.files import parse_json, regular
from fewshot_seg.imaging.export import atomic_file


@dataclass(frozen=True)
class Episode:
    """One query, and the supports of each class to be cut out of it.

    Attributes:
        index: its number, from 0.
        query: image id.
        classes: 1-based, ascending: the order says nothing about which of them the query holds.
        supports: class -> its K image ids, in the order of `classes`. No image stands in an episode twice.
    """

    index: int
    query: str
    classes: tuple[int, ...]
    supports: Mapping[int, tuple[str, ...]]

    def to_dict(self, class_names: Sequence[str]) -> dict[str, Any]:
        """{"index", "query", "supports": {class name: [ids]}}: a line of episodes.jsonl."""
        supports = {class_names[label - 1]: list(self.supports[label]) for label in self.classes}
        return {"index": self.index, "query": self.query, "supports": supports}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], class_names: Sequence[str]) -> Episode:
        """What `to_dict` wrote. DataError: another form, or an unknown class."""
        try:
            named = {str(name): tuple(map(_text, ids)) for name, ids in values["supports"].items()}
            index, query = int(values.get("index", 0)), _text(values["query"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError('not of the form {"index", "query", "supports": {class: [ids]}}') from error
        if unknown := sorted(set(named) - set(class_names)):
            raise DataError(f"unknown class {unknown[0]!r}")
        if not named or not all(named.values()):
            raise DataError("a class without supports, or no class")
        supports = dict(sorted((class_names.index(name) + 1, ids) for name, ids in named.items()))
        return cls(index, query, tuple(supports), supports)


def write_episodes(path: str | os.PathLike[str], episodes: Iterable[Episode], class_names: Sequence[str]) -> None:
    """Write episodes.jsonl: one JSON object a line; the file appears whole or not at all.

    Raises:
        OutputError: it can't be written.
    """
    with atomic_file(path) as stream:
        for episode in episodes:
            line = json.dumps(episode.to_dict(class_names), ensure_ascii=False)
            stream.write(line.encode("utf-8", "backslashreplace") + b"\n")


def read_episodes(path: str | os.PathLike[str], class_names: Sequence[str]) -> list[Episode]:
    """The episodes of a file that `write_episodes` wrote.

    Raises:
        DataError: no such file, or a bad line (with file and line).
    """
    lines = enumerate(_lines(path), start=1)
    return [_parse(line, f"{describe(path)}:{number}", class_names) for number, line in lines]


def read_episode_list(path: str | os.PathLike[str], dataset: SegmentationDataset) -> list[Episode]:
    """Anyone's list of episodes, to be replayed on a data set.

    Each line is an episode in one of two forms, blank lines and lines that begin with # are passed over:

    - {"query": ID, "supports": {CLASS: [ID, ...]}}, as `write_episodes` writes it; an "index" is not needed;
    - QUERY | CLASS ID ... [| CLASS ID ...]: the query's id, and for each class its number (1-based) or name and
      its supports' ids, apart by blanks. Names and ids with blanks or | need the other form.

    Args:
        path: a UTF-8 text file.
        dataset: its class names and images are what the list may name.

    Returns:
        The episodes, numbered from 0 in the file's order.

    Raises:
        DataError: no readable text, no episodes, or (with file and line) another form, an unknown class or image,
            or a query among its own supports.
    """
    known = {entry.image for entry in dataset.entries}
    episodes: list[Episode] = []
    for number, line in enumerate(_lines(path), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        where = f"{describe(path)}:{number}"
        episode = _parse(text if text.startswith("{") else _as_json(text, where, dataset), where, dataset.class_names)
        _check_images(episode, known, where)
        episodes.append(replace(episode, index=len(episodes)))
    if not episodes:
        raise DataError(f"{describe(path)}: the file has no episodes; a line is QUERY | CLASS SUPPORT ...")
    return episodes


def _lines(path: str | os.PathLike[str]) -> list[str]:
    try:
        return regular(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{describe(path)}: cannot read the episodes: {error}") from error


def _as_json(text: str, where: str, dataset: SegmentationDataset) -> str:
    """The plain form of a line as the other one."""
    query, *groups = (part.split() for part in text.split("|"))
    if len(query) != 1 or not groups or not all(len(group) > 1 for group in groups):
        raise DataError(f"{where}: {text!r} is not of the form QUERY | CLASS SUPPORT ...; mend the line")
    names = [_class_name(group[0], dataset.class_names) for group in groups]
    if len(set(names)) < len(names):
        raise DataError(f"{where}: a class stands there twice; put its supports together")
    supports = {name: group[1:] for name, group in zip(names, groups, strict=True)}
    return json.dumps({"query": query[0], "supports": supports})


def _class_name(text: str, class_names: Sequence[str]) -> str:
    """A class by name or by number."""
    is_number = text.isascii() and text.isdigit() and text not in class_names
    return class_names[int(text) - 1] if is_number and 1 <= int(text) <= len(class_names) else text


def _check_images(episode: Episode, known: set[str], where: str) -> None:
    shots = [image for images in episode.supports.values() for image in images]
    if unknown := [image for image in (episode.query, *shots) if image not in known]:
        what = f"image {unknown[0]!r} is not in the data set, or not in the split list"
        raise DataError(f"{where}: {what}; give the data that the episodes are of")
    if episode.query in shots:
        raise DataError(f"{where}: the query {episode.query!r} is one of its own supports; take it out")


def _parse(line: str, where: str, class_names: Sequence[str]) -> Episode:
    try:
        return Episode.from_dict(parse_json(line), class_names)
    except DataError as error:
        raise DataError(f"{where}: {error}; write the file again") from error
    except (ValueError, OverflowError) as error:
        raise DataError(f"{where}: not a line of JSON ({error}); write the file again") from error


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no image id")
    return value

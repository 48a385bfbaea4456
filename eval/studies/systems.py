"""What a comparison is between: one method with one set of options, on one fold or on several runs' folds."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.episodes.counts import RunCounts
from eval.episodes.matchers import matcher_words
from eval.episodes.methods import hints_in
from eval.episodes.scoring import read_config, stored_counts
from eval.measures.bootstrap import number_groups, resample_tally
from eval.measures.metrics import means
from eval.studies.pascal_val import FOLD_IMAGES, validation_images
from fewshot_seg.errors import DataError, describe

FOLDS = ("0", "1", "2", "3")

# Of a run's config: what makes runs over several folds one system.
_SAME = ("dataset", "way", "shot", "protocol", "seed", "weights_sha256", "methods", "absent")


@dataclass(frozen=True, eq=False)
class Part:
    """One run of a system."""

    run: Path
    config: Mapping[str, Any]
    counts: RunCounts
    method: str

    def figures(self) -> dict[str, float]:
        """The three means of `metrics.MEANS`, as shares."""
        return {name: float(value) for name, value in means(self.counts.score(self.method).tally).items()}

    def holding_all(self) -> tuple[int, dict[str, float]]:
        """In how many episodes the query holds every class of the episode, and the means over these."""
        chosen = self.counts.holding_all(self.method)
        score = self.counts.score(self.method, chosen)
        return int(chosen.sum()), {name: float(value) for name, value in means(score.tally).items()}

    def drawn(self, samples: int, seed: int) -> dict[str, NDArray[np.float64]]:
        """The means of `samples` resamples of the query images, (B,) each."""
        groups = number_groups(self.counts.queries)
        return means(resample_tally(self.counts.tallies(self.method), groups, samples, seed))


@dataclass(frozen=True, eq=False)
class System:
    """One method with one set of options.

    Attributes:
        name: for tables; no two have the same.
        parts: fold ("0" to "3", or "all") -> the run of it.
    """

    name: str
    parts: Mapping[str, Part]

    @property
    def first(self) -> Part:
        """One of its runs; the others differ in the fold."""
        return next(iter(self.parts.values()))

    @property
    def config(self) -> Mapping[str, Any]:
        """Of its first run."""
        return self.first.config

    @property
    def given(self) -> str:
        """What comes with a support, a kind of hint or "nothing", and with the query, if anything."""
        hints = hints_in(self.config, self.first.method)
        return (hints.supports or "nothing") + (f", query {hints.query}" if hints.query else "")

    @property
    def matcher(self) -> str:
        """What its matchers knew of the classes that they were asked for, see `matchers.matcher_words`."""
        return " + ".join(sorted({matcher_words(part.config, part.method) for part in self.parts.values()}))

    @property
    def missing(self) -> int:
        """Images that its lists name but that weren't there, over all folds."""
        return sum(int(part.config.get("missing_images", 0)) for part in self.parts.values())

    @property
    def left_out(self) -> tuple[str, ...]:
        """Classes that were left out of a run for having too few images."""
        return tuple(dict.fromkeys(name for part in self.parts.values() for name in part.config["classes_left_out"]))

    @property
    def benchmark(self) -> bool:
        """Whether all of its runs are on PASCAL-5i's validation lists, with no listed image missing."""
        return (
            not self.missing
            and not self.config.get("absent")
            and all(_on_benchmark(part) for part in self.parts.values())
        )

    def means(self, folds: Sequence[str]) -> dict[str, float]:
        """The means of `metrics.MEANS` over these folds, each alike."""
        every = [self.parts[fold].figures() for fold in folds]
        return {name: float(np.mean([one[name] for one in every])) for name in every[0]}


def load_systems(runs: Iterable[str | os.PathLike[str]]) -> list[System]:
    """The systems in these run folders, in the order of the first run of each.

    Runs that differ in their fold alone become one system, whose mean over folds can be told.

    Raises:
        DataError: a folder is no scored run. ConfigError: from its config.
    """
    found: list[dict[str, Part]] = []
    keys: list[str] = []
    for run in dict.fromkeys(Path(run) for run in runs):
        for part in load_parts(run):
            key, fold = _key(part), str(part.config["fold"])
            place = next((n for n, known in enumerate(keys) if known == key and fold not in found[n]), None)
            if place is None or fold == "all" or "all" in found[place]:
                keys.append(key)
                found.append({fold: part})
            else:
                found[place][fold] = part
    names = _names(found)
    return [System(name, dict(sorted(parts.items()))) for name, parts in zip(names, found, strict=True)]


def load_parts(run: Path) -> list[Part]:
    """A scored run's methods. DataError: the folder is no scored run."""
    config = read_config(run)
    counts = stored_counts(run, config)
    if counts is None:
        raise DataError(f"{describe(run)}: is not scored, or not as it is now; run 'fewshot-eval score' on it first")
    return [Part(run, config, counts, method) for method in config["methods"]]


def _on_benchmark(part: Part) -> bool:
    """All queries are validation images; where the protocol takes each in turn, all of the fold's are there."""
    queries, fold = set(part.counts.queries), part.config["fold"]
    if part.config["dataset"] != "pascal5i" or fold == "all" or len(validation_images(queries)) < len(queries):
        return False
    return part.config["protocol"] != "hsnet" or len(queries) == FOLD_IMAGES[fold]


def _key(part: Part) -> str:
    options = (part.config.get("segmenter") or {}).get(part.method)
    used = part.config.get("matcher")
    if options is not None and used is not None:  # each fold may have a matcher of its own
        own = Path(used["choice"]).parent if used["held_out"] else used["choice"]
        options = {**options, "matcher": [str(own), used["held_out"]]}
    told = hints_in(part.config, part.method)
    return json.dumps([part.method, options, told, *(part.config.get(name) for name in _SAME)], sort_keys=True)


def _names(found: Sequence[Mapping[str, Part]]) -> list[str]:
    """Short names of folders, with the method where a run has several; longer paths where they would be equal."""
    for depth in (1, 2, 3):
        names = [_name(list(parts.values()), depth) for parts in found]
        if len(set(names)) == len(names):
            return names
    return [f"{name} #{place}" for place, name in enumerate(names, start=1)]


def _name(parts: Sequence[Part], depth: int) -> str:
    plain = re.fullmatch(r"(fold)?[-_ ]*[0-9]", parts[0].run.resolve().name)  # tells nothing alone
    folders = ["/".join(part.run.resolve().parts[-depth - bool(plain) :]) for part in parts]
    name = folders[0]
    if len(folders) > 1:
        shared = os.path.commonprefix(folders)  # noqa: RUF071 - letter by letter
        name = re.sub(r"[-_. /]*(fold)?[-_. ]*$", "", shared) or parts[0].run.resolve().parent.name
    return name if len(parts[0].config["methods"]) == 1 else f"{name}: {parts[0].method}"

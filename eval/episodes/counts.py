"""What is kept of a scored run: every episode's pixel counts, from which all figures follow without the data."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.measures.metrics import SegmentationScore, Tally, episode_tallies
from fewshot_seg.episodes.episode import Episode
from fewshot_seg.errors import DataError, describe
from fewshot_seg.files import read_arrays, regular
from fewshot_seg.imaging.export import atomic_file

COUNTS = "counts.npz"

Counts = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class RunCounts:
    """Counts of E episodes, with at most N classes each, of every method of a run.

    Attributes:
        queries: (E,) image ids.
        labels: (E, N) class numbers; 0 where an episode has fewer than N.
        shots: (E,) supports of each class (the fewest, where an episode's classes differ).
        digest: of the episodes; equal for the same ones, supports and all.
        confusion: method -> (E, N+1, N+1), see `metrics.confusion`.
        boundary: method -> (E, N, 4), see `boundary.boundary_counts`; empty where outlines weren't asked for.
        scores: method -> (E, N) float64, how sure it is of each class; NaN where there is none. Only methods that say.
        sources: method -> SHA-256 of its predictions file.
    """

    queries: tuple[str, ...]
    labels: Counts
    shots: Counts
    digest: str
    confusion: dict[str, Counts] = field(default_factory=dict)
    boundary: dict[str, Counts] = field(default_factory=dict)
    scores: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)

    @property
    def classes(self) -> tuple[int, ...]:
        """The class numbers of the episodes, ascending."""
        return tuple(int(label) for label in np.unique(self.labels) if label)

    def present(self, method: str) -> NDArray[np.bool_]:
        """(E, N): the query holds the class, void aside; False where an episode has fewer than N."""
        return np.asarray((self.confusion[method].sum(2)[:, 1:] > 0) & (self.labels > 0))

    def holding_all(self, method: str) -> NDArray[np.bool_]:
        """(E,): the query holds every class of its episode."""
        return np.asarray((self.present(method) | (self.labels == 0)).all(1))

    def tallies(self, method: str, classes: Sequence[int] | None = None) -> Tally:
        """Each episode's own tally; `classes` as `episode_tallies` takes them, by default `self.classes`."""
        return episode_tallies(self.labels, self.confusion[method], self.classes if classes is None else classes)

    def score(self, method: str, where: NDArray[np.bool_] | None = None) -> SegmentationScore:
        """The score of all episodes, or of those `where` (E,) holds."""
        chosen = np.ones(len(self.queries), bool) if where is None else where
        score = SegmentationScore(self.classes)
        score.add_all(self.labels[chosen], self.confusion[method][chosen])
        return score


def empty_counts(episodes: Sequence[Episode], methods: Sequence[str], *, boundary: bool) -> RunCounts:
    """Counts of these episodes with nothing counted yet."""
    ways = max((len(one.classes) for one in episodes), default=1)
    labels = np.zeros((len(episodes), ways), np.int64)
    for place, one in enumerate(episodes):
        labels[place, : len(one.classes)] = one.classes
    shots = [min(len(images) for images in one.supports.values()) for one in episodes]
    return RunCounts(
        tuple(one.query for one in episodes),
        labels,
        np.array(shots, np.int64),
        _episodes_digest(episodes),
        {name: np.zeros((len(episodes), ways + 1, ways + 1), np.int64) for name in methods},
        {name: np.zeros((len(episodes), ways, 4), np.int64) for name in methods} if boundary else {},
    )


def save_counts(path: Path, counts: RunCounts) -> None:
    """Write a run's counts.npz, whole or not at all; the same counts give the same bytes.

    Raises:
        OutputError: it can't be written.
    """
    arrays: dict[str, NDArray[np.generic]] = {
        "queries": np.array(counts.queries, np.str_),
        "labels": counts.labels,
        "shots": counts.shots,
        "digest": np.array(counts.digest),
    }
    for name, part in _parts(counts).items():
        arrays |= {f"{name}/{method}": np.asarray(value) for method, value in part.items()}
    with atomic_file(path) as stream:
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]  # its own flag looks like an array's name


def load_counts(path: Path) -> RunCounts:
    """What `save_counts` wrote. DataError: no such file, or something else."""
    try:
        arrays = read_arrays(path)
        parts: dict[str, dict[str, NDArray[Any]]] = {"confusion": {}, "boundary": {}, "scores": {}, "sources": {}}
        for name, value in arrays.items():
            kind, _, method = name.partition("/")
            if method:
                parts[kind][method] = value
        _check(arrays, parts)
        return RunCounts(
            tuple(str(one) for one in arrays["queries"]),
            arrays["labels"],
            arrays["shots"],
            str(arrays["digest"]),
            parts["confusion"],
            parts["boundary"],
            parts["scores"],
            {method: str(value) for method, value in parts["sources"].items()},
        )
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"{describe(path)}: cannot be read ({error}); run 'fewshot-eval score' on its folder"
        ) from error


def _check(arrays: Mapping[str, NDArray[Any]], parts: Mapping[str, Mapping[str, NDArray[Any]]]) -> None:
    """ValueError where arrays are not what `RunCounts` says: E episodes of N classes or fewer."""
    episodes, labels = arrays["queries"].shape, arrays["labels"]
    if len(episodes) != 1 or labels.ndim != 2 or {len(labels), len(arrays["shots"])} != set(episodes):
        raise ValueError("its episodes are not as many everywhere")
    ways = labels.shape[1]
    shapes = {"confusion": (*episodes, ways + 1, ways + 1), "scores": labels.shape, "sources": ()}
    for kind, part in parts.items():
        for method, one in part.items():
            if one.shape != shapes.get(kind, one.shape) or one.dtype.kind not in ("U" if kind == "sources" else "iuf"):
                raise ValueError(f"{kind} of {method} are of another shape or type")
    if labels.dtype.kind not in "iu" or arrays["shots"].dtype.kind not in "iu":
        raise ValueError("its classes or shots are no whole numbers")


def file_digest(path: Path) -> str:
    """SHA-256 of a file; "" for one that can't be read."""
    try:
        with regular(path).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return ""


def _parts(counts: RunCounts) -> Mapping[str, Mapping[str, object]]:
    return {
        "confusion": counts.confusion,
        "boundary": counts.boundary,
        "scores": counts.scores,
        "sources": counts.sources,
    }


def _episodes_digest(episodes: Sequence[Episode]) -> str:
    digest = hashlib.sha256()
    for one in episodes:
        supports = [(label, list(images)) for label, images in sorted(one.supports.items())]
        digest.update(repr((one.query, supports)).encode("utf-8", "backslashreplace"))
    return digest.hexdigest()

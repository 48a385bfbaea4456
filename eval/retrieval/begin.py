"""A run of retrieval or of re-identification: task checked, folder claimed, images embedded, figures written."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eval.episodes.scoring import METRICS
from eval.measures.bootstrap import SAMPLES
from eval.retrieval.data import DataChoice, RetrievalImages
from eval.retrieval.vectors import embed_files
from eval.runs.folder import claim_run, held_folder
from eval.runs.provenance import code_digest, libraries
from fewshot_seg import __version__
from fewshot_seg.errors import ConfigError, DataError, describe
from fewshot_seg.files import read_arrays
from fewshot_seg.imaging.export import atomic_file, write_json
from fewshot_seg.network.embedding import Embedder, for_retrieval, load_embedder
from fewshot_seg.retrieval.identity import identity_of
from fewshot_seg.streams import Track

_FREE: Final = ("root",)  # where the data lies doesn't change a result

C = TypeVar("C", bound=DataChoice)
R = TypeVar("R")


@dataclass(frozen=True)
class SearchTask(Generic[C]):
    """What both kinds of run measure.

    Attributes:
        choice: which images ask and are asked for.
        out: the run's folder.
        weights: as `load_embedder` takes them, at least one, each once; the run's own figures are the first's.
        device: as `load_embedder` takes it.
        size: pixels a side at which images are embedded, as `for_retrieval` takes it.
        workers: as `vectors.embed_files` takes it.
        samples: resamples of the queries for intervals; 0 gives none.

    Raises:
        ConfigError: weights that can't be compared, or a number out of its range.
    """

    choice: C
    out: Path
    weights: tuple[str, ...] = ("default",)
    device: str = "auto"
    size: int | None = None
    workers: int | None = None
    samples: int = SAMPLES

    def __post_init__(self) -> None:
        check_weights(self.weights)
        if self.samples < 0 or (self.workers is not None and self.workers < 1):
            raise ConfigError("bootstrap must be 0 or more, workers at least 1")


@dataclass(frozen=True, eq=False)
class Embedded:
    """A run's images as one of its weights sees them.

    Attributes:
        vectors: (I,D) float32 of unit norm on the CPU; zeros where an image can't be read.
        images: those that can be read; places stay what they are.
        unreadable: id of each of the others -> why.
        device: where to score them.
        scores: the file for each query's scores.
    """

    vectors: Tensor
    images: RetrievalImages
    unreadable: dict[str, str]
    device: torch.device
    scores: Path


Measure = Callable[[Embedded], dict[str, Any]]
"""The figures of one of the weights; each query's scores are written."""


def scores_file(out: Path, name: str) -> Path:
    """Where the scores of each query are kept, for the weights that are called `name`."""
    return out / f"queries-{name}.npz"


def save_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays by name, all or none. OutputError: they can't be written."""
    with atomic_file(path) as stream:
        np.savez_compressed(stream, **arrays)


def load_arrays(path: Path, wanted: Callable[[Mapping[str, NDArray[Any]]], R]) -> R:
    """What `wanted` takes of the arrays that `save_arrays` wrote.

    Raises:
        DataError: the file isn't there, or something else.
    """
    try:
        return wanted(read_arrays(path))
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{describe(path)}: cannot be read; run the evaluation again") from error


def run_search(
    task: SearchTask[Any],
    kind: str,
    images: RetrievalImages,
    told: Mapping[str, Any],
    measure: Measure,
    sum_up: Callable[[dict[str, dict[str, Any]]], dict[str, Any]],
    track: Track,
) -> dict[str, Any]:
    """Embed what is still to be embedded, then score everything.

    Writes config.json (all that determines the vectors and figures, and where the data was), vectors/NAME/*.npz,
    queries-NAME.npz and metrics.json to `task.out`, which is nobody else's meanwhile.

    Args:
        task: what is measured.
        kind: of run.
        images: what was chosen.
        told: what else determines the figures: JSON values.
        measure: see there.
        sum_up: the figures by the weights' names to metrics.json.
        track: shows progress.

    Returns:
        What is in metrics.json.

    Raises:
        ConfigError: the folder holds another task's run, or another process is at work in it.
        DataError: no query or no gallery image can be read.
        CheckpointError: bad weights. OutputError: the folder can't be written.
    """
    contenders = load_contenders(task.weights, task.device, task.size)
    config = {
        "run": kind,
        "fewshot_seg": __version__,
        "code_sha256": code_digest(),
        "libraries": libraries(),
        **task.choice.to_dict(),
        "images_sha256": images.digest,
        "queries": len(images.queries),
        "gallery": len(images.gallery),
        **told,
        **({} if task.size is None else {"size": task.size}),
        "weights": [dict(one.config) for one in contenders],
    }
    with held_folder(task.out, task.choice.root):
        claim_run(task.out, config, free=_FREE)
        metrics = sum_up({one.name: measure(_embed(task, one, images, track)) for one in contenders})
        write_json(task.out / METRICS, metrics)
    return metrics


def _embed(task: SearchTask[Any], one: Contender, images: RetrievalImages, track: Track) -> Embedded:
    kept = task.out / "vectors" / one.name
    found = embed_files(images.images.paths, one.embedder, kept, track, f"embedding, {one.name}", task.workers)
    there = images.without(set(found.unreadable)) if found.unreadable else images
    unreadable = {images.images.ids[place]: why for place, why in sorted(found.unreadable.items())}
    device = one.embedder.device if one.embedder.device.type == "cuda" else torch.device("cpu")  # MPS has no float64
    return Embedded(found.values, there, unreadable, device, scores_file(task.out, one.name))


@dataclass(frozen=True)
class Contender:
    """One of the weights that are compared.

    Attributes:
        name: for files and rows.
        embedder: what they are.
        config: all that determines its vectors, JSON values.
    """

    name: str
    embedder: Embedder
    config: Mapping[str, Any] = field(default_factory=dict)


def check_weights(weights: Sequence[str]) -> None:
    """Refuse weights that can't be compared. ConfigError: none, or one that is named twice."""
    if not weights or len(set(weights)) < len(weights):
        raise ConfigError(f"weights {', '.join(weights)}: name at least one, and each once")


def load_contenders(weights: Sequence[str], device: str, size: int | None = None) -> list[Contender]:
    """Each of the weights, as `load_embedder` takes them, on the device, at a size as `for_retrieval` takes it.

    Raises:
        CheckpointError: bad weights. ConfigError: no such device.
    """
    contenders = []
    for name, one in zip(_names(weights), weights, strict=True):
        embedder = for_retrieval(load_embedder(one, device=device), size)
        known = {**asdict(identity_of(embedder)), "source": one, "device": embedder.device.type}
        contenders.append(Contender(name, embedder, {"name": name, **known}))
    return contenders


def _names(weights: Sequence[str]) -> list[str]:
    """Short names that are fit for files, each once: a checkpoint's without its folder."""
    names: list[str] = []
    for one in weights:
        stem = Path(one).stem if one.endswith(".safetensors") else one
        plain = re.sub(r"[^\w.-]+", "-", stem).strip("-.") or "weights"
        number = 1
        while (name := plain if number == 1 else f"{plain}-{number}") in names:
            number += 1
        names.append(name)
    return names

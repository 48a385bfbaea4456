"""How a run of retrieval or of re-identification begins: task checked, folder claimed, images embedded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import torch
from torch import Tensor

from eval.measures.bootstrap import SAMPLES
from eval.retrieval.contenders import Contender, check_weights, load_contenders
from eval.retrieval.data import RetrievalImages
from eval.retrieval.vectors import embed_files
from eval.runs.folder import claim_run, held_folder
from eval.runs.provenance import code_digest, libraries
from fewshot_seg import __version__
from fewshot_seg.errors import ConfigError
from fewshot_seg.streams import Track

_FREE: Final = ("root",)  # where the data lies doesn't change a result


C = TypeVar("C")


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
    """

    vectors: Tensor
    images: RetrievalImages
    unreadable: dict[str, str]
    device: torch.device


def scores_file(out: Path, name: str) -> Path:
    """Where the scores of each query are kept, for the weights that are called `name`."""
    return out / f"queries-{name}.npz"


@contextmanager
def begun(
    task: SearchTask[Any], kind: str, choice: Mapping[str, Any], images: RetrievalImages, told: Mapping[str, Any]
) -> Iterator[list[Contender]]:
    """The run's folder is this run's, and nobody else's, for as long as the context lasts, which has the weights.

    config.json is written: everything that determines the vectors and the figures, and where the data was.

    Args:
        task: its folder is created if need be.
        kind: of run.
        choice: what was chosen of which data set, "root" among it: JSON values.
        images: what came of it.
        told: everything else that determines the figures: JSON values.

    Raises:
        ConfigError: the folder holds another task's run, or another process is at work in it.
        CheckpointError: bad weights. OutputError: the folder can't be written.
    """
    contenders = load_contenders(task.weights, task.device, task.size)
    config = {
        "run": kind,
        "fewshot_seg": __version__,
        "code_sha256": code_digest(),
        "libraries": libraries(),
        **choice,
        "images_sha256": images.digest,
        "queries": len(images.queries),
        "gallery": len(images.gallery),
        **told,
        **({} if task.size is None else {"size": task.size}),
        "weights": [dict(one.config) for one in contenders],
    }
    with held_folder(task.out):
        claim_run(task.out, config, free=_FREE)
        yield contenders


def embed(task: SearchTask[Any], one: Contender, images: RetrievalImages, track: Track) -> Embedded:
    """The images' vectors by one of the weights, which are kept in the run's folder: vectors/NAME/*.npz.

    Args:
        task: the run's.
        one: the weights.
        images: the run's.
        track: shows progress.

    Raises:
        DataError: no query or no gallery image can be read. OutputError: the folder can't be written.
    """
    kept = task.out / "vectors" / one.name
    found = embed_files(images.images.paths, one.embedder, kept, track, f"embedding, {one.name}", task.workers)
    there = images.without(set(found.unreadable)) if found.unreadable else images
    unreadable = {images.images.ids[place]: why for place, why in sorted(found.unreadable.items())}
    device = one.embedder.device if one.embedder.device.type == "cuda" else torch.device("cpu")  # MPS has no float64
    return Embedded(found.values, there, unreadable, device)

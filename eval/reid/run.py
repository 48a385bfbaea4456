"""A re-identification run: vectors of one or several weights on the same images, ranked in several ways, scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from eval.bootstrap import LEVEL, SAMPLES, number_groups
from eval.contenders import Contender, check_weights, load_contenders
from eval.predictions import Track, untracked
from eval.provenance import code_digest, libraries
from eval.reid.data import Choice, identities, open_images
from eval.retrieval.data import RetrievalImages
from eval.runs import claim_run
from eval.scoring import METRICS
from fewshot_seg import __version__
from fewshot_seg.errors import ConfigError
from fewshot_seg.export import atomic_file, make_folder, write_json
from fewshot_seg.locks import sole_user

if TYPE_CHECKING:
    from eval.reid.scoring import Protocol, Ranked, Way

__all__ = ["KIND", "ReidTask", "run_reid", "scores_file"]

KIND: Final = "reid"
_FREE: Final = ("root",)  # where the data lies doesn't change a result


@dataclass(frozen=True)
class ReidTask:
    """What is measured.

    Attributes:
        choice: which images ask and are asked for.
        out: the run's folder.
        ways: of ranking, at least one; the run's own figures are the first's.
        protocol: how lists are scored.
        weights: as `load_embedder` takes them, at least one, each once; the run's own figures are the first's.
        device: as `load_embedder` takes it.
        workers: as `eval.retrieval.vectors.embed_files` takes it.
        samples: resamples of the queries for intervals; 0 gives none.

    Raises:
        ConfigError: an impossible task.
    """

    choice: Choice
    out: Path
    ways: tuple[Way, ...]
    protocol: Protocol
    weights: tuple[str, ...] = ("default",)
    device: str = "auto"
    workers: int | None = None
    samples: int = field(default=SAMPLES)

    def __post_init__(self) -> None:
        check_weights(self.weights)
        if not self.ways:
            raise ConfigError("no way of ranking; give at least one")
        if self.samples < 0 or (self.workers is not None and self.workers < 1):
            raise ConfigError("bootstrap must be 0 or more, workers at least 1")


def scores_file(out: Path, name: str) -> Path:
    """Where the scores of each query are kept, for the weights that are called `name`."""
    return out / f"queries-{name}.npz"


def run_reid(task: ReidTask, track: Track = untracked) -> dict[str, Any]:
    """Embed what is still to be embedded, then rank and score everything.

    Writes config.json, vectors/NAME/*.npz, queries-NAME.npz and metrics.json to `task.out`.

    Returns:
        What is in metrics.json.

    Raises:
        ConfigError: `task.out` holds another task's run, or another process is at work in it.
        DataError: bad data. CheckpointError: bad weights. OutputError: the folder can't be written.
    """
    images = open_images(task.choice)
    contenders = load_contenders(task.weights, task.device)
    make_folder(task.out)
    with sole_user(task.out):
        claim_run(task.out, _config(task, images, contenders), free=_FREE)
        systems: list[dict[str, Any]] = []
        unreadable: dict[str, str] = {}
        for one in contenders:
            found, lost = _measure(task, one, images, track)
            systems += [{"weights": one.name, "way": name, **figures} for name, figures in found.items()]
            unreadable |= lost
        metrics = _metrics(task, images, systems, unreadable)
        write_json(task.out / METRICS, metrics)
    return metrics


def _config(task: ReidTask, images: RetrievalImages, contenders: Sequence[Contender]) -> dict[str, Any]:
    """Everything that determines the vectors and the figures, and where the data was."""
    choice = task.choice
    return {
        "run": KIND,
        "fewshot_seg": __version__,
        "code_sha256": code_digest(),
        "libraries": libraries(),
        "dataset": choice.dataset,
        "root": str(choice.root),
        **choice.options(),
        "query_camera": choice.query_camera,
        "gallery_camera": choice.gallery_camera,
        "allow_missing": choice.allow_missing,
        "images_sha256": images.digest,
        "queries": len(images.queries),
        "gallery": len(images.gallery),
        "cameras": images.images.cameras is not None,
        "protocol": asdict(task.protocol),
        "ways": [asdict(way) for way in task.ways],
        "weights": [dict(one.config) for one in contenders],
    }


def _measure(
    task: ReidTask, one: Contender, images: RetrievalImages, track: Track
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """The figures of one of the weights, way by way, and what can't be read; its queries' scores are written."""
    import torch

    from eval.reid.scoring import figures_of, score_way
    from eval.retrieval.vectors import embed_files

    kept = task.out / "vectors" / one.name
    vectors = embed_files(images.images.paths, one.embedder, kept, track, f"embedding, {one.name}", task.workers)
    there = images.without(set(vectors.unreadable)) if vectors.unreadable else images
    who = identities(there, task.choice.dataset)
    device = one.embedder.device if one.embedder.device.type == "cuda" else torch.device("cpu")  # MPS has no float64
    values = vectors.values.to(device)
    ranked = {way.name: score_way(way, values, there, who, task.protocol, track) for way in task.ways}
    _save(scores_file(task.out, one.name), there, ranked)
    people = number_groups(who[0].ids.tolist())
    figures = {name: figures_of(found.scores, people, task.samples) for name, found in ranked.items()}
    return figures, {images.images.ids[place]: why for place, why in sorted(vectors.unreadable.items())}


def _save(path: Path, images: RetrievalImages, ranked: Mapping[str, Ranked]) -> None:
    """Each query's scores in the first draw, and the heads of the lists, way by way, in their order."""
    arrays: dict[str, Any] = {"queries": images.queries.numpy(), "ways": np.array(list(ranked))}
    for number, found in enumerate(ranked.values()):
        scores = found.scores[0]
        near = np.where(found.rows.numpy() >= 0, images.gallery.numpy()[found.rows.numpy()], -1)
        arrays |= {f"neighbours{number}": near, f"values{number}": found.values.numpy()}
        arrays |= {f"{name}{number}": getattr(scores, name).numpy() for name in ("ap", "inp", "first", "right")}
    with atomic_file(path) as stream:
        np.savez_compressed(stream, **arrays)


def _metrics(
    task: ReidTask, images: RetrievalImages, systems: Sequence[Mapping[str, Any]], unreadable: Mapping[str, str]
) -> dict[str, Any]:
    from eval.reid.scoring import FIGURES

    return {
        **{name: systems[0][name] for name in FIGURES},
        "queries": len(images.queries),
        "answered": systems[0]["answered"],
        "gallery": len(images.gallery),
        "identities": len({images.images.labels[place] for place in images.queries.tolist()}),
        "unreadable": dict(unreadable),
        "bootstrap": {"samples": task.samples, "level": LEVEL, "over": "queries, an identity's together"},
        "systems": [dict(one) for one in systems],
    }

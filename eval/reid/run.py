"""A re-identification run: vectors of one or several weights on the same images, ranked in several ways, scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from eval.episodes.scoring import METRICS
from eval.measures.bootstrap import LEVEL, number_groups
from eval.reid.data import Choice, identities, open_images
from eval.retrieval.begin import SearchTask, begun, embed, scores_file
from eval.retrieval.contenders import Contender
from eval.retrieval.data import RetrievalImages
from fewshot_seg.datasets.names import camera_of_text
from fewshot_seg.errors import ConfigError
from fewshot_seg.imaging.export import atomic_file, write_json
from fewshot_seg.streams import Track, untracked

if TYPE_CHECKING:
    from eval.reid.scoring import Protocol, Ranked, Way

KIND: Final = "reid"


@dataclass(frozen=True, kw_only=True)
class ReidTask(SearchTask[Choice]):
    """What is measured.

    Attributes:
        ways: of ranking, at least one; the run's own figures are the first's.
        protocol: how lists are scored.

    Raises:
        ConfigError: an impossible task.
    """

    ways: tuple[Way, ...]
    protocol: Protocol

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.ways:
            raise ConfigError("no way of ranking; give at least one")


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
    with begun(task, KIND, _chosen(task.choice), images, _told(task, images)) as contenders:
        systems: list[dict[str, Any]] = []
        unreadable: dict[str, str] = {}
        for one in contenders:
            found, lost = _measure(task, one, images, track)
            systems += [{"weights": one.name, "way": name, **figures} for name, figures in found.items()]
            unreadable |= lost
        metrics = _metrics(task, images, systems, unreadable)
        write_json(task.out / METRICS, metrics)
    return metrics


def _chosen(choice: Choice) -> dict[str, Any]:
    """What was chosen, as a run's config has it."""
    cameras = {"query_camera": choice.query_camera, "gallery_camera": choice.gallery_camera}
    return {
        "dataset": choice.dataset,
        "root": str(choice.root),
        **choice.options(),
        **{name: None if camera is None else camera_of_text(camera) for name, camera in cameras.items()},
        "allow_missing": choice.allow_missing,
    }


def _told(task: ReidTask, images: RetrievalImages) -> dict[str, Any]:
    """How lists are made and scored, as a run's config has it."""
    return {
        "cameras": images.images.cameras is not None,
        "protocol": asdict(task.protocol),
        "ways": [asdict(way) for way in task.ways],
    }


def _measure(
    task: ReidTask, one: Contender, images: RetrievalImages, track: Track
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """The figures of one of the weights, way by way, and what can't be read; its queries' scores are written."""
    from eval.reid.scoring import figures_of, score_way

    found = embed(task, one, images, track)
    who = identities(found.images, task.choice.dataset)
    values = found.vectors.to(found.device)
    ranked = {way.name: score_way(way, values, found.images, who, task.protocol, track) for way in task.ways}
    _save(scores_file(task.out, one.name), found.images, ranked)
    people = number_groups(who[0].ids.tolist())
    figures = {name: figures_of(lists.scores, people, task.samples) for name, lists in ranked.items()}
    return figures, found.unreadable


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

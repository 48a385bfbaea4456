"""A re-identification run: vectors of one or several weights on the same images, ranked in several ways, scored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from eval.measures.bootstrap import LEVEL, number_groups
from eval.reid.data import Choice, identities, open_images
from eval.reid.scoring import FIGURES, Protocol, Ranked, Way, figures_of, score_way
from eval.retrieval.begin import Embedded, SearchTask, run_search, save_arrays
from eval.retrieval.data import RetrievalImages
from fewshot_seg.errors import ConfigError
from fewshot_seg.streams import Track, untracked

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
    """Measure it; see `run_search`. DataError: bad data. Others as `run_search`."""
    images = open_images(task.choice)

    def measure(found: Embedded) -> dict[str, Any]:
        who = identities(found.images, task.choice.dataset)
        values = found.vectors.to(found.device)
        ranked = {way.name: score_way(way, values, found.images, who, task.protocol, track) for way in task.ways}
        save_arrays(found.scores, _arrays(found.images, ranked))
        people = number_groups(who[0].ids.tolist())
        figures = {name: figures_of(lists.scores, people, task.samples) for name, lists in ranked.items()}
        return {"ways": figures, "unreadable": found.unreadable}

    def sum_up(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
        systems = [
            {"weights": weights, "way": way, **figures}
            for weights, one in found.items()
            for way, figures in one["ways"].items()
        ]
        return {
            **{name: systems[0][name] for name in FIGURES},
            "queries": len(images.queries),
            "answered": systems[0]["answered"],
            "gallery": len(images.gallery),
            "identities": images.classes_asked,
            "unreadable": {id_: why for one in found.values() for id_, why in one["unreadable"].items()},
            "bootstrap": {"samples": task.samples, "level": LEVEL, "over": "queries, an identity's together"},
            "systems": systems,
        }

    told = {
        "cameras": images.images.cameras is not None,
        "protocol": asdict(task.protocol),
        "ways": [asdict(way) for way in task.ways],
    }
    return run_search(task, KIND, images, told, measure, sum_up, track)


def _arrays(images: RetrievalImages, ranked: Mapping[str, Ranked]) -> dict[str, Any]:
    """Each query's scores in the first draw, and the heads of the lists, way by way, in their order."""
    arrays: dict[str, Any] = {"queries": images.queries.numpy(), "ways": np.array(list(ranked))}
    for number, found in enumerate(ranked.values()):
        scores = found.scores[0]
        near = np.where(found.rows.numpy() >= 0, images.gallery.numpy()[found.rows.numpy()], -1)
        arrays |= {f"neighbours{number}": near, f"values{number}": found.values.numpy()}
        arrays |= {f"{name}{number}": getattr(scores, name).numpy() for name in ("ap", "inp", "first", "right")}
    return arrays

"""A retrieval run: vectors of one or several weights on the same images, and their figures, in one folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from eval.measures.bootstrap import LEVEL
from eval.retrieval.begin import Embedded, SearchTask, run_search
from eval.retrieval.data import Choice, RetrievalImages, open_images
from eval.retrieval.scoring import QueryScores, figures_of, nmi_of, save_scores, score_queries
from fewshot_seg.errors import ConfigError
from fewshot_seg.streams import Track, untracked

KIND: Final = "retrieval"
_KS: Final = {"sop": (1, 10, 100, 1000), "inshop": (1, 10, 20, 30)}


@dataclass(frozen=True)
class RetrievalTask(SearchTask[Choice]):
    """What is measured.

    Attributes:
        ks: the K of R@K; () for the data set's usual ones (`default_ks`).
        nmi: cluster the vectors, too, which takes long for many classes.

    Raises:
        ConfigError: an impossible task.
    """

    ks: tuple[int, ...] = ()
    nmi: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if any(k < 1 for k in self.ks):
            raise ConfigError(f"K {', '.join(map(str, self.ks))}: must be at least 1")


def default_ks(dataset: str) -> tuple[int, ...]:
    """The K that figures on a data set are given for."""
    return _KS.get(dataset, (1, 2, 4, 8))


def run_retrieval(task: RetrievalTask, track: Track = untracked) -> dict[str, Any]:
    """Measure it; see `run_search`. DataError: bad data. Others as `run_search`."""
    images = open_images(task.choice)
    ks = tuple(sorted(set(task.ks))) or default_ks(task.choice.dataset)

    def measure(found: Embedded) -> dict[str, Any]:
        scores = score_queries(found.vectors, found.images, ks, found.device, track)
        save_scores(found.scores, scores)
        return {
            **figures_of(scores, ks, task.samples),
            "nmi": nmi_of(found.vectors, found.images, found.device, track) if task.nmi else None,
            "per_class": _per_class(scores, images),
            "unreadable": found.unreadable,
        }

    def sum_up(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
        first = next(iter(found))
        return {
            "method": first,
            **{name: found[first][name] for name in ("recall", "map_at_r", "r_precision", "nmi")},
            "queries": len(images.queries),
            "gallery": len(images.gallery),
            "classes": images.classes_asked,
            "left_out_by_id": bool((images.own >= 0).any()),
            "bootstrap": {"samples": task.samples, "level": LEVEL, "over": "queries"},
            "methods": found,
        }

    return run_search(task, KIND, images, {"ks": list(ks)}, measure, sum_up, track)


def _per_class(scores: QueryScores, images: RetrievalImages) -> dict[str, float]:
    """R@(the first K) of each class's queries, by its name."""
    hits: dict[str, list[bool]] = {}
    for place, hit in zip(scores.queries.tolist(), scores.recalls[:, 0].tolist(), strict=True):
        hits.setdefault(images.images.names[images.images.labels[place]], []).append(hit)
    return {name: sum(found) / len(found) for name, found in hits.items()}

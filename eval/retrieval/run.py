"""A retrieval run: vectors of one or several weights on the same images, and their figures, in one folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from eval.episodes.scoring import METRICS
from eval.measures.bootstrap import LEVEL
from eval.retrieval.begin import SearchTask, begun, embed, scores_file
from eval.retrieval.contenders import Contender
from eval.retrieval.data import Choice, RetrievalImages, open_images
from fewshot_seg.errors import ConfigError
from fewshot_seg.imaging.export import write_json
from fewshot_seg.streams import Track, untracked

if TYPE_CHECKING:
    from eval.retrieval.scoring import QueryScores

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
    """Embed what is still to be embedded, then score everything.

    Writes config.json, vectors/NAME/*.npz, queries-NAME.npz and metrics.json to `task.out`.

    Returns:
        What is in metrics.json.

    Raises:
        ConfigError: `task.out` holds another task's run, or another process is at work in it.
        DataError: bad data. CheckpointError: bad weights. OutputError: the folder can't be written.
    """
    images = open_images(task.choice)
    ks = tuple(sorted(set(task.ks))) or default_ks(task.choice.dataset)
    with begun(task, KIND, _chosen(task.choice), images, {"ks": list(ks)}) as contenders:
        found = {one.name: _measure(task, one, images, ks, track) for one in contenders}
        metrics = _metrics(task, images, found)
        write_json(task.out / METRICS, metrics)
    return metrics


def _chosen(choice: Choice) -> dict[str, Any]:
    """What was chosen, as a run's config has it."""
    return {
        "dataset": choice.dataset,
        "root": str(choice.root),
        "split": "test" if choice.split == "validation" else choice.split,
        "classes": choice.classes,
        "split_file": choice.split_file,
        "allow_missing": choice.allow_missing,
    }


def _measure(
    task: RetrievalTask, one: Contender, images: RetrievalImages, ks: Sequence[int], track: Track
) -> dict[str, Any]:
    """The figures of one of the weights; its queries' scores are written."""
    from eval.retrieval.scoring import figures_of, nmi_of, save_scores, score_queries

    found = embed(task, one, images, track)
    scores = score_queries(found.vectors, found.images, ks, found.device, track)
    save_scores(scores_file(task.out, one.name), scores)
    figures = figures_of(scores, ks, task.samples)
    figures["nmi"] = nmi_of(found.vectors, found.images, found.device, track) if task.nmi else None
    figures["per_class"] = _per_class(scores, images)
    figures["unreadable"] = found.unreadable
    return figures


def _per_class(scores: QueryScores, images: RetrievalImages) -> dict[str, float]:
    """R@(the first K) of each class's queries, by its name."""
    hits: dict[str, list[bool]] = {}
    for place, hit in zip(scores.queries.tolist(), scores.recalls[:, 0].tolist(), strict=True):
        hits.setdefault(images.images.names[images.images.labels[place]], []).append(hit)
    return {name: sum(found) / len(found) for name, found in hits.items()}


def _metrics(task: RetrievalTask, images: RetrievalImages, found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    first = next(iter(found))
    return {
        "method": first,
        **{name: found[first][name] for name in ("recall", "map_at_r", "r_precision", "nmi")},
        "queries": len(images.queries),
        "gallery": len(images.gallery),
        "classes": len({images.images.labels[place] for place in images.queries.tolist()}),
        "left_out_by_id": bool((images.own >= 0).any()),
        "bootstrap": {"samples": task.samples, "level": LEVEL, "over": "queries"},
        "methods": {name: dict(figures) for name, figures in found.items()},
    }

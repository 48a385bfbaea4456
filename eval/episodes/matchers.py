"""Which matcher a run uses: figures of a class are honest only where the matcher never saw that class's masks."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval.episodes.counts import file_digest
from fewshot_seg.datasets import Fold, SegmentationDataset

if TYPE_CHECKING:
    from fewshot_seg.network.embedding import Embedder

HELD_OUT = "held-out matcher"
KNOWN = "trained on these classes' masks"


@dataclass(frozen=True)
class UsedMatcher:
    """A run's matcher.

    Attributes:
        choice: as it was asked for.
        option: for `SegmenterOptions.matcher`.
        sha256: of its file; "" where no matcher is used.
        held_out: whether its training left out every class of the run. What its file doesn't say is not so.
    """

    choice: str
    option: str
    sha256: str = ""
    held_out: bool = False

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


def choose_matcher(
    choice: str, fold: Fold, dataset: SegmentationDataset, classes: Collection[str], embedder: Embedder
) -> UsedMatcher:
    """The matcher that a task asks for.

    Args:
        choice: "auto", "none", a packaged name or a file. With "auto", a fold of PASCAL-5i gets the packaged matcher
            that was trained without the fold's classes, if there is one for these weights; everything else gets the
            packaged default, if it is for these weights.
        fold: the task's.
        dataset: what is measured on.
        classes: names of the classes that episodes are of.
        embedder: the network.

    Raises:
        CheckpointError: no such matcher, or a damaged one.
    """
    from fewshot_seg.matching.files import AUTO, NONE, backbone_digest, packaged, read_matcher_header

    option = choice
    if choice == AUTO and embedder.classifier is not None:
        names = [f"fold{fold}"] if dataset.name == "pascal5i" and fold != "all" else []
        for name in (*names, "default"):
            path = packaged(name)
            if path is not None and read_matcher_header(path).backbone_sha256 == backbone_digest(embedder):
                option = name
                break
    if option in (AUTO, NONE):
        return UsedMatcher(choice, NONE)
    path = packaged(option) or Path(option)
    header = read_matcher_header(path)
    held = set(header.training.get("held_out", ()))
    return UsedMatcher(choice, option, file_digest(path), bool(classes) and held.issuperset(classes))


def matcher_words(config: Mapping[str, Any], method: str) -> str:
    """What a method's matcher knew of the run's classes, for tables: `HELD_OUT`, `KNOWN`, or "none".

    Args:
        config: a run's config.json.
        method: one of its methods.
    """
    options = (config.get("segmenter") or {}).get(method) or {}
    used = config.get("matcher") or {}
    if options.get("locate_by") not in ("auto", "matching") or not used.get("sha256"):
        return "none"
    return HELD_OUT if used["held_out"] else KNOWN

"""What the reports of retrieval and of re-identification runs have in common: their task, and what draws attention."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eval.report.neighbours import Explainer
from eval.report.steps import Network
from eval.retrieval.data import RetrievalImages
from fewshot_seg.errors import FewShotError, describe

__all__ = ["SearchReport", "explainer_of"]


@dataclass(frozen=True)
class SearchReport:
    """What to report on.

    Attributes:
        out: a finished run's folder.
        root: where its data is now; None means where it was.
        examples: queries drawn under each heading; 0 draws none.
        network: weights and device for the drawn queries' attention.
        command: (config, metrics, out) to the command that makes such a run, for the reader.
    """

    out: Path
    root: Path | None = None
    examples: int = 8
    network: Network = field(default_factory=Network)
    command: Callable[[Mapping[str, Any], Mapping[str, Any], Path], str] | None = None


def explainer_of(config: Mapping[str, Any], images: RetrievalImages, network: Network) -> tuple[Explainer | None, str]:
    """What draws attention with a run's first weights, or why nothing can.

    Args:
        config: the run's.
        images: the run's.
        network: see there.

    Returns:
        The explainer and "", or None and a line on the problem.
    """
    from fewshot_seg.network.embedding import load_embedder
    from fewshot_seg.retrieval.identity import identity_of

    made_with = config["weights"][0]
    weights = network.weights or str(made_with["source"])
    try:
        embedder = load_embedder(weights, device=network.device or str(made_with["device"]))
    except FewShotError as error:
        return None, str(error)
    if identity_of(embedder).weights != made_with["weights"]:
        return None, f"{describe(weights)}: holds other weights than the run's; give them by --weights"
    return Explainer(embedder, images), ""

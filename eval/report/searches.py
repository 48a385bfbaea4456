"""What the reports of retrieval and of re-identification runs have in common: what draws attention."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eval.report.neighbours import Explainer
from eval.report.task import Network
from eval.retrieval.data import RetrievalImages
from fewshot_seg.errors import FewShotError, describe

__all__ = ["explainer_of"]


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

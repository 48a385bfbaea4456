"""The settings of a run's losses: the metric loss, and similarity mining or the paper's Grad-CAM baseline."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from train_embed.config.section import Count, NotNegative, Positive, Section

LossName = Literal["contrastive", "triplet", "quadruplet", "multi-similarity", "proxy-anchor", "normalized-softmax"]
Selection = Literal["all", "hard", "semi-hard"]
TupleKind = Literal["pair", "triplet", "quadruplet"]

LOSS_DEFAULTS: dict[str, dict[str, Any]] = {
    "contrastive": {"selection": "all", "margin": 1.0},  # pooled ImageNet features of two birds are about 1 apart
    "triplet": {"selection": "semi-hard", "margin": 0.2},
    "quadruplet": {"selection": "semi-hard", "margin": 0.2, "margin2": 0.1},
    "multi-similarity": {"alpha": 2.0, "beta": 50.0, "base": 0.5},
    "proxy-anchor": {"margin": 0.1, "alpha": 32.0},
    "normalized-softmax": {"alpha": 16.0},
}
"""What a loss takes where the configuration says nothing."""
TUPLE_OF_LOSS: dict[str, TupleKind] = {"contrastive": "pair", "triplet": "triplet", "quadruplet": "quadruplet"}
"""The tuples that a loss is about; the other losses know no tuples."""


class LossConfig(Section):
    """L_ml, the metric loss. Null stands for the loss's own default (`LOSS_DEFAULTS`).

    Attributes:
        name: the loss.
        feature: what it compares: the "embedding", or what is "pooled" before the neck, not brought to unit norm
            (then the BN neck is the identity loss's alone; Luo et al., 2019).
        selection: which of the batch's tuples count, for the three losses of the paper.
        margin: of contrastive (distance that different classes keep), triplet, quadruplet and proxy-anchor.
        margin2: of quadruplet, between the two negatives.
        alpha, beta, base: of multi-similarity; alpha also the scale of proxy-anchor and normalized-softmax.
    """

    name: LossName = "triplet"
    feature: Literal["embedding", "pooled"] = "embedding"
    selection: Selection | None = None
    margin: NotNegative | None = None
    margin2: NotNegative | None = None
    alpha: Positive | None = None
    beta: Positive | None = None
    base: float | None = None

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        name = values.get("name", "triplet")
        own = LOSS_DEFAULTS.get(name, {}) if isinstance(name, str) else {}
        return values | {key: value for key, value in own.items() if values.get(key) is None}


class IdentityConfig(Section):
    """Classification of the training identities, beside L_ml: what re-identification adds.

    The classifiers and centres are training's alone: they live in the run's state, not in the embedder.

    Attributes:
        weight: of the cross-entropy; 0: there is none. A "pcb" head has a classifier for each part, and their losses
            are added.
        smoothing: label smoothing: so much of the truth is shared out over all identities alike.
        center: weight of the centre loss (Wen et al., 2016) on what the metric loss compares; 0: there is none.
        center_rate: how far a batch moves the centres towards its images.
    """

    weight: NotNegative = 0.0
    smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    center: NotNegative = 0.0
    center_rate: Annotated[float, Field(gt=0, le=1)] = 0.5


class MiningConfig(Section):
    """L_sm, similarity mining (equations 2 and 3), or what it is compared with, the Grad-CAM baseline.

    Attributes:
        enabled: whether there is any; the rest counts only then.
        kind: the tuples; null: those of the loss (contrastive: "pair").
        gamma: weight of L_sm (equation 3).
        alpha, beta: slope and threshold of the soft mask, ``sigmoid(alpha (M - beta))``, M in [0, 1].
        detach_weights: no gradient through w.
        detach_maps: no gradient through the maps at all.
        through_norm: whether the maps' gradient passes through the L2 norm.
        weighting: the weight vector, "paper" or "overlap".
        warmup_epochs: gamma grows linearly from 0 over so many.
        every: mining at every n-th step.
        baseline: "gradcam": instead of mining, the same/different classifier with Grad-CAM maps,
            ``L_ml + gamma1 L_bce + gamma2 L_bce-sm``; "none".
        gamma1, gamma2: its weights.
    """

    enabled: bool = False
    kind: TupleKind | None = None
    gamma: NotNegative = 0.2
    alpha: Positive = 10.0
    beta: Annotated[float, Field(ge=0, le=1)] = 0.5
    detach_weights: bool = True
    detach_maps: bool = False
    through_norm: bool = True
    weighting: Literal["paper", "overlap"] = "paper"
    warmup_epochs: NotNegative = 0.0
    every: Count = 1
    baseline: Literal["none", "gradcam"] = "none"
    gamma1: NotNegative = 0.2
    gamma2: NotNegative = 0.2

"""What a step makes smaller: ``L = L_ml + gamma L_sm`` (equation 3), or the Grad-CAM rival's sum.

The only place that knows how the losses, mining and the ranks come together.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from fewshot_seg.embedder import Embedder, Embedding
from train_embed.config import RunConfig
from train_embed.distributed import gather_with_gradient
from train_embed.gradcam import PairClassifier, gradcam_mining_loss, pair_bce_loss
from train_embed.losses import make_loss
from train_embed.mining import MiningOptions, mining_loss, mining_tuples
from train_embed.model import keep_statistics

__all__ = ["Losses", "Objective", "mining_options"]


class Losses(NamedTuple):
    """A batch's loss with its graph, and its parts without: "loss", "loss_ml", and "loss_sm" where there is mining."""

    total: Tensor
    parts: dict[str, Tensor]


def mining_options(config: RunConfig) -> MiningOptions:
    """How a run's tuples are explained and erased, in training, validation and on its sheets."""
    mining = config.mining
    return MiningOptions(
        kind=config.tuple_kind,
        alpha=mining.alpha,
        beta=mining.beta,
        detach_weights=mining.detach_weights,
        detach_maps=mining.detach_maps,
        through_norm=mining.through_norm,
        weighting=mining.weighting,
    )


class Objective(nn.Module):
    """The losses of a run and what they learn themselves (proxies, the rival's classifier).

    Args:
        config: of the run.
        classes: how many are trained on.
        dim: D, the length of the embeddings.

    Raises:
        ConfigError: a loss whose library isn't installed.
    """

    def __init__(self, config: RunConfig, classes: int, dim: int) -> None:
        super().__init__()
        self.config = config
        self.options = mining_options(config)
        self.metric = make_loss(config.loss, classes, dim)
        rival = config.mining.enabled and config.mining.rival == "gradcam"
        self.classifier = PairClassifier(dim) if rival else None

    def forward(self, embedder: Embedder, images: Tensor, labels: Tensor, count: int, progress: float) -> Losses:
        """The losses of a batch.

        Args:
            embedder: in the mode that it trains in.
            images: (B,3,H,W) on the embedder's device; under torchrun this rank's part of the batch.
            labels: (B,) int64.
            count: batches of the run before this one; it decides which tuples are mined, and whether.
            progress: epochs done, with fractions; for the warm-up of gamma.
        """
        emb = embedder(images)
        ml = self.metric(*gather_with_gradient(emb.vector, labels))
        parts = {"loss_ml": ml.detach()}
        mining = self.config.mining
        total = ml
        if mining.enabled:
            ramp = min(1.0, progress / mining.warmup_epochs) if mining.warmup_epochs else 1.0
            if self.classifier is not None:
                bce = pair_bce_loss(self.classifier, *gather_with_gradient(emb.vector, labels))
                total = total + mining.gamma1 * bce
                parts["loss_bce"] = bce.detach()
            gamma = ramp * (mining.gamma if self.classifier is None else mining.gamma2)
            if count % mining.every == 0 and gamma > 0:
                sm = self._mined(embedder, images, emb, labels, count)
                total = total + gamma * sm
                parts["loss_sm"] = sm.detach()
        return Losses(total, {"loss": total.detach(), **parts})

    def _mined(self, embedder: Embedder, images: Tensor, emb: Embedding, labels: Tensor, count: int) -> Tensor:
        """L_sm, or L_bce-sm, over the tuples of this rank's part of the batch."""
        tuples = mining_tuples(labels, self.options.kind, self.config.run.seed, count)
        with keep_statistics(embedder):
            if self.classifier is not None:
                return gradcam_mining_loss(embedder, self.classifier, images, emb, tuples, self.options)
            return mining_loss(embedder, images, emb, tuples, self.options)


def step_seed(seed: int, count: int, rank: int) -> int:
    """The seed of torch's own randomness (dropout, drop path) for one batch: a pure function, so nothing to save."""
    mixed = 0
    for number in (seed, count, rank):
        mixed = (mixed * 6364136223846793005 + number + 1442695040888963407) % 2**63
    return mixed

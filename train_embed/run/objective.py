"""What a step makes smaller: ``L = L_ml + gamma L_sm`` (equation 3), or the Grad-CAM baseline's sum, plus identities.

The only place that knows how the losses, mining and the ranks come together.
"""

from __future__ import annotations

from dataclasses import fields
from typing import NamedTuple

from torch import Tensor, nn

from fewshot_seg.network.embedder import Embedder, Embedding
from train_embed.config.run_config import RunConfig
from train_embed.losses.identity import CenterLoss, IdentityLoss, part_lengths, pooled_length, pooled_vector
from train_embed.losses.metric import make_loss
from train_embed.mining.gradcam import PairClassifier, gradcam_mining_loss, pair_bce_loss
from train_embed.mining.similarity import MiningOptions, mining_loss
from train_embed.mining.tuples import mining_tuples
from train_embed.run.distributed import gather_with_gradient
from train_embed.run.model import keep_statistics, project


class Losses(NamedTuple):
    """A batch's loss with its graph, and its parts without: "loss", "loss_ml", and others as there are, "loss_sm"."""

    total: Tensor
    parts: dict[str, Tensor]


def mining_options(config: RunConfig) -> MiningOptions:
    """How a run's tuples are explained and erased, in training, validation and on its sheets."""
    names = {field.name for field in fields(MiningOptions)}
    return MiningOptions(**{**config.mining.model_dump(include=names), "kind": config.tuple_kind})


class Objective(nn.Module):
    """The losses of a run and what they learn themselves (proxies, classifiers of identities, the baseline's).

    Raises:
        ConfigError: a loss whose library isn't installed, or a head that identities can't be learnt from.
    """

    def __init__(self, config: RunConfig, classes: int, embedder: Embedder) -> None:
        super().__init__()
        self.config = config
        self.options = mining_options(config)
        compared = embedder.dim if config.loss.feature == "embedding" else pooled_length(embedder.head)
        self.metric = make_loss(config.loss, classes, compared)
        baseline = config.mining.enabled and config.mining.baseline == "gradcam"
        self.classifier = PairClassifier(embedder.dim) if baseline else None
        own = config.identity
        self.identity = IdentityLoss(classes, part_lengths(embedder.head), own.smoothing) if own.weight else None
        self.center = CenterLoss(classes, compared, own.center_rate) if own.center else None

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
        total, parts = self._supervised(embedder, emb, labels)
        mining = self.config.mining
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

    def _supervised(self, embedder: Embedder, emb: Embedding, labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """L_ml, and with it the losses of identities and centres, over all ranks' batch; each part by itself, too."""
        f = emb.vector if self.config.loss.feature == "embedding" else pooled_vector(embedder.head, emb.feature_map)
        f, everyone = gather_with_gradient(f, labels)
        total = self.metric(f, everyone)
        parts = {"loss_ml": total.detach()}
        if self.identity is not None:
            with keep_statistics(embedder.head):  # the forward pass has counted this batch
                z = project(embedder, emb.feature_map)
            identity = self.identity(*gather_with_gradient(z, labels))
            total = total + self.config.identity.weight * identity
            parts["loss_id"] = identity.detach()
        if self.center is not None:
            center = self.center(f, everyone)
            total = total + self.config.identity.center * center
            parts["loss_center"] = center.detach()
        return total, parts

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

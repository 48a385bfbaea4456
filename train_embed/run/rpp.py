"""Refined part pooling in training, as a function of the epoch: stripes, then the induction, then everything.

"Beyond Part Models", section 4.3: the network is trained with stripes; the layer that says which part a position
belongs to then learns alone, everything else fixed, so that each part stays what its classifier knows; then all learn.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from fewshot_seg.network.embedder import Embedder
from fewshot_seg.network.pcb import PCBHead
from train_embed.config.schema import ModelConfig

__all__ = ["keep_induced", "refine_parts"]


def refine_parts(embedder: Embedder, config: ModelConfig, epoch: int) -> None:
    """Lets the head refine its parts from `rpp_epoch` on; in the induction batch norms keep their statistics."""
    if config.rpp_epoch is None:
        return
    assert isinstance(embedder.head, PCBHead)
    embedder.head.refined.fill_(epoch >= config.rpp_epoch)
    if _inducing(config, epoch):
        embedder.trunk.eval()
        embedder.head.eval()


def keep_induced(embedder: Embedder, trained: Sequence[nn.Parameter], config: ModelConfig, epoch: int) -> None:
    """In the induction, drops the gradients of all of `trained` but the layer that assigns positions to parts."""
    if not _inducing(config, epoch):
        return
    assert isinstance(embedder.head, PCBHead)
    assert embedder.head.assign is not None
    learning = {id(p) for p in embedder.head.assign.parameters()}
    for p in trained:
        if id(p) not in learning:
            p.grad = None


def _inducing(config: ModelConfig, epoch: int) -> bool:
    return config.rpp_epoch is not None and config.rpp_epoch <= epoch < config.rpp_epoch + config.rpp_induction

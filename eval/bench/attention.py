"""Similarity attention beside the bare forward pass, and beside Grad-CAM by pytorch-grad-cam on the same score."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from eval.bench.findings import FASTER, SLOWER, Finding, Target, find
from eval.bench.setting import Setting, on_device
from eval.bench.timing import side_by_side
from fewshot_seg.attention.maps import attention_maps
from fewshot_seg.attention.weighting import pair_weights
from fewshot_seg.errors import ConfigError
from fewshot_seg.imaging.images import Preprocessing, resize_map
from fewshot_seg.network.embedding import Embedder, EmbedderSpec, build_embedder, load_embedder

FORWARD, ATTENTION, GRAD_CAM = "the forward pass alone", "similarity attention", "Grad-CAM by pytorch-grad-cam"
OVER_FORWARD: Final = Target(SLOWER, 1.05)
OVER_GRAD_CAM: Final = Target(FASTER, 2.5)


@dataclass(frozen=True, eq=False)
class _Model:
    title: str
    embedder: Embedder
    size: int


def compare_attention(setting: Setting, folder: Path) -> list[Finding]:
    """The weights of the setting at their own size, and ResNet-50 with random weights at 224, on random images.

    Raises:
        ConfigError: pytorch-grad-cam isn't installed. CheckpointError: as `load_embedder`.
    """
    embedder = load_embedder(setting.weights, setting.device)
    size = embedder.preprocessing.size
    models = [_Model(f"{embedder.spec.backbone.partition('/')[2]} at {size}", embedder, size)]
    if setting.weights == "default":
        models.append(_Model("resnet50 at 224, random weights", _resnet(embedder.device), 224))
    return [finding for one in models for finding in _of_model(one, setting)]


@torch.inference_mode()
def pairs_attention(embedder: Embedder, batch: Tensor) -> Tensor:
    """Maps (B,h,w) of a batch (B,3,H,W) of B/2 pairs, the first half's images with the second half's (equation 1)."""
    emb = embedder(batch)
    return attention_maps(embedder, emb, _weights(emb.vector))


class Baseline:
    """The same maps by pytorch-grad-cam: forward, backward through the whole network, scaled, at the images' size.

    Its network is a copy whose weights take part in the gradient, as in its own examples.

    Raises:
        ConfigError: it isn't installed.
    """

    def __init__(self, embedder: Embedder) -> None:
        try:
            from pytorch_grad_cam import GradCAM
        except ImportError as error:
            raise ConfigError(f"pytorch-grad-cam is missing ({error}): pip install 'fewshot-seg[bench]'") from error
        scores = _PairScores(copy.deepcopy(embedder).requires_grad_(True))
        self._cam: Any = GradCAM(model=scores, target_layers=[scores.embedder.trunk])

    def __call__(self, batch: Tensor) -> NDArray[np.float32]:
        """(B,H,W) in [0, 1] of a batch (B,3,H,W) of pairs as `pairs_attention` takes it."""
        maps: NDArray[np.float32] = self._cam(input_tensor=batch, targets=[lambda output: output[0]] * len(batch))
        return maps

    def close(self) -> None:
        """Take its hooks off."""
        self._cam.activations_and_grads.release()


class _PairScores(nn.Module):
    """The score w.f of each image (B,1), w held constant; of a batch, for on one image alone hooks fire B times."""

    def __init__(self, embedder: Embedder) -> None:
        super().__init__()
        self.embedder = embedder

    def forward(self, batch: Tensor) -> Tensor:
        if batch.device.type == "cpu":
            batch = batch.contiguous(memory_format=torch.channels_last)  # as `Embedder` has it: faster
        f = self.embedder.head(self.embedder.trunk(batch))
        scores: Tensor = (_weights(f.detach()) * f).sum(1, keepdim=True)
        return scores


def _of_model(model: _Model, setting: Setting) -> list[Finding]:
    embedder = model.embedder
    batch = torch.randn(setting.batch, 3, model.size, model.size, generator=torch.Generator().manual_seed(0))
    batch = batch.to(embedder.device)
    baseline = Baseline(embedder)
    device = str(embedder.device)
    variants = {
        FORWARD: on_device(lambda: _forward(embedder, batch), device),
        ATTENTION: on_device(lambda: pairs_attention(embedder, batch), device),
        GRAD_CAM: on_device(lambda: baseline(batch), device),
    }
    differs = _difference(pairs_attention(embedder, batch), baseline(batch))
    timed = {one.variant: one for one in side_by_side(variants, setting.batch, setting.rounds, setting.track)}
    baseline.close()
    path, items = f"{ATTENTION}, {model.title}", f"{setting.batch} images"
    own = timed[ATTENTION]
    note = f"its map and Grad-CAM's, both in [0, 1], differ by at most {differs:.1g}"
    return [
        find(path, FORWARD, items, (timed[FORWARD], own), OVER_FORWARD),
        find(path, GRAD_CAM, items, (timed[GRAD_CAM], own), OVER_GRAD_CAM, map_difference=differs, note=note),
    ]


@torch.inference_mode()
def _forward(embedder: Embedder, batch: Tensor) -> None:
    embedder(batch)


def _weights(f: Tensor) -> Tensor:
    """(B,D): each pair's weight vector, for its first image and for its second."""
    first, second = f.chunk(2)
    return pair_weights(first, second, same=True).repeat(2, 1)


def _difference(maps: Tensor, scaled: NDArray[np.float32]) -> float:
    """The largest difference of maps (B,h,w), brought to [0, 1] and the images' size, from the baseline's (B,H,W)."""
    worst = 0.0
    for own, other in zip(maps.float().cpu().numpy(), scaled, strict=True):
        own = own - own.min()
        large = resize_map(own / (1e-7 + own.max()), other.shape)
        worst = max(worst, float(abs(large - other).max()))
    return worst


def _resnet(device: torch.device) -> Embedder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        spec = EmbedderSpec("torchvision/resnet50", preprocessing=Preprocessing(size=224))
        return build_embedder(spec, weights=False).requires_grad_(False).to(device)

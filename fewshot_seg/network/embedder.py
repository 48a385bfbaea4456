"""The embedder itself: images to a feature map and a unit-norm vector, and how one is built."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from fewshot_seg.errors import ConfigError, DataError, ShapeError
from fewshot_seg.imaging.images import ImageInput, Preprocessing, load_batch
from fewshot_seg.network.backbones import build_backbone
from fewshot_seg.network.devices import Precision, autocast, check_precision
from fewshot_seg.network.folding import FoldedCopy
from fewshot_seg.network.heads import PooledHead
from fewshot_seg.network.patches import check_size
from fewshot_seg.network.pcb import PCBHead
from fewshot_seg.network.spec import EmbedderSpec
from fewshot_seg.network.strides import keep_last_size


class Embedding(NamedTuple):
    """What an embedder says of B images."""

    feature_map: Tensor  # A (B,C,h,w), the last convolutional map
    vector: Tensor  # f (B,D), unit norm (zeros where the map pools to zeros)

    @classmethod
    def joined(cls, parts: Sequence[Embedding]) -> Embedding:
        """Several batches as one."""
        return cls(*(torch.cat(part) for part in zip(*parts, strict=True)))


class Embedder(nn.Module):
    """A trunk and a head, with the preprocessing that they were trained with.

    Args:
        trunk: (B,3,H,W) -> A (B,C,h,w).
        head: A (B,C,h,w) -> f (B,D), unit norm. A `PooledHead` has a closed-form attention; any module works.
        spec: how to build it again; `spec.preprocessing` says how images are prepared.
        classifier: the pretrained network's own last layer, for class evidence; frozen, no part of `forward`.
        precision: arithmetic of the trunk: "fp32" (the module's own), or autocast to "bf16" or "fp16".
            The head always runs in the module's own, and so do the outputs.

    Attributes:
        source: what `load_embedder` made it from, a name or a checkpoint's absolute path; None for others.
    """

    def __init__(
        self,
        trunk: nn.Module,
        head: nn.Module,
        spec: EmbedderSpec,
        classifier: nn.Linear | None = None,
        precision: Precision = "fp32",
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = head
        self.spec = spec
        self.classifier = classifier
        self.precision: Precision = precision
        self.source: str | None = None
        self._folded = FoldedCopy()

    if TYPE_CHECKING:

        def __call__(self, batch: Tensor) -> Embedding:
            """See `forward`."""

    @property
    def preprocessing(self) -> Preprocessing:
        """How images are brought to the network."""
        return self.spec.preprocessing

    @property
    def dim(self) -> int:
        """D, the length of the vector."""
        dim = self.spec.dim if self.spec.dim is not None else getattr(self.head, "dim", None)
        if not isinstance(dim, int):
            raise ConfigError("this embedder's head does not tell its dim: set EmbedderSpec.dim")
        return dim

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self._reference().device

    @property
    def dtype(self) -> torch.dtype:
        """The weights' type: float32, or float64 after `double()`."""
        return self._reference().dtype

    def _reference(self) -> Tensor:
        return next((p for p in self.parameters() if p.is_floating_point()), torch.empty(0))

    def forward(self, batch: Tensor) -> Embedding:
        """The feature map (B,C,h,w) and vector (B,D) of a batch (B,3,H,W) as `images.load_batch` makes it.

        The batch is brought to the weights' device and type; outputs have the weights' type at any precision.
        On the CPU in eval mode an image's result does not depend on the rest of its batch.

        Raises:
            ShapeError: not (B,3,H,W) with B >= 1.
        """
        return self.with_layers(batch, ())[0]

    def with_layers(self, batch: Tensor, names: Collection[str]) -> tuple[Embedding, dict[str, Tensor]]:
        """What `forward` gives, to the bit, and the maps (B,C_i,h_i,w_i) of earlier layers, in the weights' type.

        Those of the wanted names that the trunk has: none, or those of its `layers` (see `backbones.TimmTrunk`).
        """
        if batch.ndim != 4 or batch.shape[1] != 3 or batch.shape[0] == 0:
            raise ShapeError(f"expected images of shape (B, 3, H, W), B >= 1, got {tuple(batch.shape)}")
        reference = self._reference()
        batch = batch.to(reference.device, reference.dtype)
        if batch.device.type != "cpu" or self.training or len(batch) == 1:
            return self._encode(batch, names)
        # One image at a time halves a CPU's time for light networks: a larger batch's layers outgrow what the
        # allocator keeps, so the kernel maps and clears every one of them anew. It also makes an image's result
        # independent of its batch, to the last bit. Batch norms that train need the batch whole.
        parts = [self._encode(image, names) for image in torch.split(batch, 1)]
        return Embedding.joined([emb for emb, _ in parts]), {
            name: torch.cat([layers[name] for _, layers in parts]) for name in parts[0][1]
        }

    def _encode(self, batch: Tensor, names: Collection[str]) -> tuple[Embedding, dict[str, Tensor]]:
        device, dtype = batch.device, batch.dtype
        # Channels innermost take 10 to 25 % off a CPU's time, and are what a GPU's tensor cores want.
        if device.type == "cpu" or (device.type == "cuda" and self.precision != "fp32"):
            batch = batch.contiguous(memory_format=torch.channels_last)
        layers: dict[str, Tensor] = {}
        trunk = self._folded.of(self.trunk) if self._only_infers(batch) else self.trunk
        with autocast(self.precision, device):
            if names and hasattr(trunk, "layers"):
                feature_map, layers = trunk.layers(batch)  # type: ignore[operator]
            else:
                feature_map = trunk(batch)
        feature_map = feature_map.to(dtype)
        with autocast("fp32", device):
            emb = Embedding(feature_map, self.head(feature_map))
        return emb, {name: layers[name].to(dtype) for name in names if name in layers}

    def _only_infers(self, batch: Tensor) -> bool:
        """Whether the trunk's folded copy does the same: on a CPU, in eval mode, in float32, without a gradient."""
        usual = batch.device.type == "cpu" and batch.dtype == torch.float32 and self.precision == "fp32"
        if not usual or self.trunk.training or torch.compiler.is_compiling():
            return False
        trained = torch.is_grad_enabled() and (batch.requires_grad or any(p.requires_grad for p in self.parameters()))
        return not trained

    def at_size(self, size: int, width: int | None = None) -> Embedder:
        """The same network, whose weights both share, for images brought to another height and width (None: square).

        Raises:
            ConfigError: not 32 to 4096 pixels, or a size that the network doesn't take.
        """
        preprocessing = replace(self.preprocessing, size=size, width=width)
        if preprocessing == self.preprocessing:
            return self
        check_size(self.trunk, preprocessing.shape)
        other = copy(self)
        other.spec = replace(self.spec, preprocessing=preprocessing)
        return other

    @torch.inference_mode()
    def embed(self, images: Sequence[ImageInput], batch_size: int = 8) -> Embedding:
        """Reads and embeds images, `batch_size` at a time; the result stays on `device`, in order.

        Memory grows with the number of images (each keeps its feature map): stream long lists in parts.

        Raises:
            DataError: no images.
            ConfigError: `batch_size` below 1.
            ImageError: an image can't be read.
        """
        if not images:
            raise DataError("no images to embed")
        if batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, got {batch_size}")
        starts = range(0, len(images), batch_size)
        parts = [self(load_batch(images[start : start + batch_size], self)) for start in starts]
        return Embedding.joined(parts)


def build_embedder(spec: EmbedderSpec, weights: bool, precision: Precision = "fp32") -> Embedder:
    """An embedder as `spec` says, in eval mode on the CPU, its parameters trainable but the classifier's.

    Args:
        spec: the returned embedder's spec has the backbone's full name and `dim` and `classes` filled in.
        weights: load the backbone's ImageNet weights (see `backbones.build_backbone`: other backbones than
            "default" and "lite0" to "lite2" download them); the neck's start random either way. For random
            values that repeat, call torch.manual_seed first.
        precision: see `Embedder`.

    Raises:
        ConfigError: an unknown name in the spec, or a size that the network doesn't take.
        CheckpointError: the backbone's weights are missing or don't fit.
    """
    check_precision(precision, torch.device("cpu") if precision != "fp16" else torch.device("cuda"))
    backbone = build_backbone(spec.backbone, weights)
    check_size(backbone.trunk, spec.preprocessing.shape)
    if spec.last_stride == 1:
        keep_last_size(backbone.trunk, backbone.name)
    head: PooledHead | PCBHead
    if spec.stripes:
        part = None if spec.dim is None else spec.dim // spec.stripes
        head = PCBHead(backbone.channels, spec.stripes, spec.pooling, spec.neck, part, spec.refining)
    else:
        head = PooledHead(backbone.channels, spec.pooling, spec.neck, spec.dim)
    classifier = backbone.classifier
    if classifier is None and spec.classes and not weights:
        classifier = nn.Linear(backbone.channels, spec.classes).requires_grad_(False)
    classes = classifier.out_features if classifier is not None else 0
    spec = replace(spec, backbone=backbone.name, dim=head.dim, classes=classes)
    return Embedder(backbone.trunk, head, spec, classifier, precision).eval()

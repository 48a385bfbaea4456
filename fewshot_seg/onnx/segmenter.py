"""The segmenter as an ONNX model: the network and the matcher, from a query and prepared supports to a map.

One graph does both: what it says of an image alone, its `encoded_*` outputs, are what it takes of a support. What
stands round it does not go out (`OUTSIDE`).
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from fewshot_seg.errors import CheckpointError, ConfigError
from fewshot_seg.matching.locators.by_matching import MatchingLocator
from fewshot_seg.matching.matcher import Encoded
from fewshot_seg.matching.rounds import Prior, View, match, with_prior
from fewshot_seg.network.embedding import Embedder
from fewshot_seg.onnx.export import TOLERANCE, OnnxModel, check_packages, graph, largest_difference
from fewshot_seg.segmentation.choice import choose_locator
from fewshot_seg.segmentation.options import SegmenterOptions

OUTSIDE: Final = (
    "reading and resizing images; appearance (the same thing again, parts close by a mask); several classes at a time; "
    "what is known of the query; the presence threshold; trimap, GrabCut and the way to native size"
)
"""What the graph leaves out, as its metadata say."""

_PARTS: Final = ("feature_maps", "objects", "objectness", "vectors", "kinds")


class WithMatcher(nn.Module):
    """What the graph computes, for one query and K supports of one class.

    Inputs: `images` (1,3,H,W); of the supports `shot_feature_maps` (K,C,h0,w0), `shot_objects` (K,d,h,w),
    `shot_objectness` (K,h,w), `shot_vectors` (K,m,h,w), `shot_kinds` (K,L,h,w) where the matcher knows kinds, and what
    is known of them: `shot_foreground` and `shot_known` (K,h,w) in [0, 1], zeros where nothing is.
    Outputs: `maps` (1,h,w), the probability that a position shows the supports' object; `scores` (1,), that the query
    does; and of the query itself `encoded_feature_maps` and so on.
    """

    def __init__(self, embedder: Embedder, locator: MatchingLocator) -> None:
        super().__init__()
        self.trunk: nn.Module = embedder.trunk
        self.matcher = locator.matcher.eval()
        self.register_buffer("classifier", locator.classifier.detach())
        self.rounds = locator.rounds
        self.parts = _PARTS if self.matcher.spec.kinds else _PARTS[:-1]

    @property
    def inputs(self) -> tuple[str, ...]:
        """The inputs' names."""
        return ("images", *(f"shot_{part}" for part in self.parts), "shot_foreground", "shot_known")

    @property
    def outputs(self) -> tuple[str, ...]:
        """The outputs' names."""
        return ("maps", "scores", *(f"encoded_{part}" for part in self.parts))

    def encode(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B,3,H,W) -> what is known of each image alone, in the order of `parts`."""
        feature_map, layers = self.trunk.layers(images)  # type: ignore[operator]
        return (feature_map, *self.matcher.encode(self.matcher.stack(layers)))[: len(self.parts)]

    def forward(self, images: Tensor, *shots: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        own, prior = self.encode(images), Prior(*shots[-2:])
        query, given = self._view(own), self._view(shots[:-2])
        found = match(self.matcher, self.classifier, query, given, prior, rounds=self.rounds)[-1]  # type: ignore[arg-type]
        soft = with_prior(torch.sigmoid(found.shots[0]), prior)
        kinds = query.encoded.kinds, given.encoded.kinds[None]
        score = self.matcher.presence(query.feature_map, given.feature_map[None], soft[None], *kinds)
        return (torch.sigmoid(found.query), torch.sigmoid(score), *own)

    def _view(self, parts: tuple[Tensor, ...]) -> View:
        kinds = parts[4] if len(self.parts) == len(_PARTS) else parts[1][:, :0]
        return View(parts[0], Encoded(parts[1], parts[2], parts[3], kinds))

    def example(self, size: tuple[int, int], shots: int, seed: int) -> tuple[Tensor, ...]:
        """Inputs of noise: a query of a size (H,W), supports of noise too, half of each known."""
        generator = torch.Generator().manual_seed(seed)
        images = torch.randn(1 + shots, 3, *size, generator=generator)
        with torch.no_grad():
            encoded = [self.encode(one[None]) for one in images[1:]]
        parts = [torch.cat(part) for part in zip(*encoded, strict=True)]
        foreground, known = torch.rand(2, *parts[2].shape, generator=generator)
        return (images[:1], *parts, foreground, (known > 0.5).float())


def export_segmenter(
    embedder: Embedder, *, shots: int = 1, matcher: str = "auto", options: SegmenterOptions | None = None
) -> OnnxModel:
    """The network and its matcher as ONNX, compared with torch by onnxruntime on two examples.

    Args:
        embedder: on the CPU, in float32.
        shots: K, fixed in the graph, at least 1.
        matcher: as `SegmenterOptions.matcher`.
        options: `rounds` counts; None means the defaults.

    Raises:
        ConfigError: packages are missing, no shots, or no matcher was trained for this network's weights.
        CheckpointError: it can't be exported, or onnxruntime's results differ by more than `TOLERANCE`.
    """
    check_packages()
    if shots < 1:
        raise ConfigError(f"shots {shots}: must be at least 1")
    rounds = (options or SegmenterOptions()).rounds
    chosen = SegmenterOptions(locate_by="matching", matcher=matcher, rounds=rounds)
    locator = getattr(choose_locator(embedder.eval(), chosen).locator, "locator", None)
    assert isinstance(locator, MatchingLocator)
    model = WithMatcher(embedder, locator).eval().requires_grad_(False)
    size = embedder.preprocessing.shape
    example = model.example(size, shots, 0)
    with torch.no_grad():
        out = model(*example)
        made = OnnxModel(graph(model, example, model.inputs, model.outputs), {})
    facts = {
        "what": "segmenter",
        "embedder": embedder.spec.to_dict(),
        "matcher": locator.matcher.spec.to_dict(),
        "rounds": rounds,
        "inputs": {name: [*one.shape] for name, one in zip(model.inputs, example, strict=True)},
        "outputs": {name: [*one.shape] for name, one in zip(model.outputs, out, strict=True)},
        "outside": OUTSIDE,
        "precision": "fp32",
    }
    content = made.to_bytes()
    difference = max(largest_difference(content, model, model.example(size, shots, seed)) for seed in (1, 2))
    if difference > TOLERANCE:
        raise CheckpointError(f"onnxruntime's results differ from torch's by {difference:.1g}, more than {TOLERANCE:g}")
    return OnnxModel(made.proto, {**facts, "largest_difference": difference})

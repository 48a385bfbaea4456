"""The matcher: a small network that decides from similarities which positions are the object of the supports.

It reads several layers of a frozen backbone and is trained by `train-embed matcher` on episodes whose classes it
is then not tested on. Two parts: `encode` says of one image alone where *some* object is (objectness) and gives each
position a vector to be matched; `decide` turns similarities to supports, together with the first, into logits.
It never sees a class's name, and a support's mask only where there is one. `matching` runs the two on episodes.

Shapes: B images, h x w positions of the grid (stride 16).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewshot_seg.errors import CheckpointError, ShapeError
from fewshot_seg.matching.correspondence import SIMILARITIES, Keys, resized, similarities, unit
from fewshot_seg.matching.presence import Presence

EVIDENCE = 4
"""Maps of similarity attention and class evidence that `decide` takes, see `rounds.common`."""

KINDS_EVIDENCE = 3
"""Further ones where the matcher knows kinds."""

_DROPOUT = 0.5  # on classes that were held out 0.3 was 3 points of mean IoU behind (docs/training.md)
_SHARPNESS = 2.5  # the logarithm of the soft maximum's, before training


@dataclass(frozen=True)
class MatcherSpec:
    """All that is needed to build a matcher, apart from its weights.

    Attributes:
        backbone: the full name of the one whose layers it reads.
        layers: the layers' names, with their channels.
        grid: the layer whose size (h,w) the others are brought to.
        channels: C of the last map, which evidence and presence read.
        objects: channels of the object features.
        vectors: m, dimensions of the vectors to be matched.
        hidden: channels of the decision.
        kinds: L, the kinds of things that it was taught to tell apart, beside what none of them is; 0: none.
    """

    backbone: str
    layers: Mapping[str, int]
    grid: str
    channels: int
    objects: int = 64
    vectors: int = 64
    hidden: int = 32
    kinds: int = 0

    def to_dict(self) -> dict[str, Any]:
        """A dict of JSON values; `from_dict` reads it."""
        return asdict(self) | {"layers": dict(self.layers)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> MatcherSpec:
        """The spec that `to_dict` wrote. CheckpointError: another form."""
        try:
            numbers = {name: int(values[name]) for name in ("channels", "objects", "vectors", "hidden")}
            layers = {str(name): int(count) for name, count in values["layers"].items()}
            kinds = int(values.get("kinds", 0))  # older files know none
            return cls(str(values["backbone"]), layers, str(values["grid"]), **numbers, kinds=kinds)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(f"no matcher's description ({error}); export the matcher again") from error


class Encoded(NamedTuple):
    """What the matcher says of each of B images alone."""

    objects: Tensor  # (B,d,h,w) features, >= 0
    objectness: Tensor  # (B,h,w) logits: an object, of whatever class
    vectors: Tensor  # (B,m,h,w) unit norm, to be matched
    kinds: Tensor  # (B,L,h,w) probabilities of each kind it was taught; what is missing to 1 is none of them


class Matcher(nn.Module):
    """See the module. In training mode whole channels of its input are dropped at random."""

    mean: Tensor
    std: Tensor

    def __init__(self, spec: MatcherSpec) -> None:
        super().__init__()
        self.spec = spec
        channels, d, k = sum(spec.layers.values()), spec.objects, spec.hidden
        self.register_buffer("mean", torch.zeros(1, channels, 1, 1))
        self.register_buffer("std", torch.ones(1, channels, 1, 1))
        self.dropout = nn.Dropout2d(_DROPOUT)
        self.reduce = nn.Conv2d(channels, d, 1)
        self.context = nn.Linear(d, d)
        self.gather = nn.Conv2d(d + 2, d, 3, padding=1)
        self.objectness = nn.Conv2d(d, 1, 3, padding=1)
        self.match = nn.Conv2d(channels, spec.vectors, 1)
        self.log_sharpness = nn.Parameter(torch.tensor(_SHARPNESS))
        self.kinds = nn.Conv2d(channels + d, spec.kinds + 1, 1) if spec.kinds else None
        evidence = EVIDENCE + (KINDS_EVIDENCE if spec.kinds else 0)
        self.first = nn.Conv2d(d + 1 + evidence + len(SIMILARITIES), k, 3, padding=1)
        self.second = nn.Conv2d(k, k, 3, padding=1)
        self.last = nn.Conv2d(k, 1, 1)
        # Last: what stands before it begins with the same values without it.
        self.presence = Presence(spec.channels, spec.kinds)

    def stack(self, layers: Mapping[str, Tensor]) -> Tensor:
        """The layers (B,C_i,h_i,w_i) on one grid: (B,C,h,w). Finer ones are averaged, coarser ones interpolated.

        Raises:
            ShapeError: a layer is missing or has other channels.
        """
        for name, count in self.spec.layers.items():
            if name not in layers or layers[name].shape[1] != count:
                raise ShapeError(f"the matcher reads {count} channels of {name!r}; the network does not give them")
        size = layers[self.spec.grid].shape[2:]
        return torch.cat([resized(layers[name], size) for name in self.spec.layers], 1)

    def encode(self, stacked: Tensor) -> Encoded:
        """What is to be known of B images alone, stacked (B,C,h,w) by `stack`."""
        x = self.dropout((stacked - self.mean) / self.std)  # (B,C,h,w)
        reduced = F.relu(self.reduce(x))  # (B,d,h,w)
        reduced = reduced + self.context(reduced.mean((2, 3)))[:, :, None, None]
        objects = F.relu(self.gather(torch.cat([reduced, _from_centre(x)], 1)))
        kinds = objects[:, :0]
        if self.kinds is not None:
            kinds = torch.softmax(self.kinds(torch.cat([x, objects], 1)), 1)[:, 1:]
        return Encoded(objects, self.objectness(objects)[:, 0], unit(self.match(x)), kinds)

    def decide(self, encoded: Encoded, evidence: Tensor, keys: Keys) -> Tensor:
        """Logits (B,h,w) of being what the supports' keys show, by evidence (B,4,h,w), with kinds (B,7,h,w).

        For the evidence see `rounds.common`.
        """
        alike = similarities(encoded.vectors, keys, self.log_sharpness.exp())
        x = torch.cat([encoded.objects, encoded.objectness[:, None], evidence, alike], 1)
        logits: Tensor = self.last(F.relu(self.second(F.relu(self.first(x)))))
        return logits[:, 0]


def _from_centre(x: Tensor) -> Tensor:
    """(B,2,h,w): the squares of a position's distances from the middle, 1 at the border."""
    b, _, h, w = x.shape
    down = torch.linspace(-1, 1, h, device=x.device, dtype=x.dtype).square()[None, None, :, None]
    across = torch.linspace(-1, 1, w, device=x.device, dtype=x.dtype).square()[None, None, None, :]
    return torch.cat([down.expand(b, 1, h, w), across.expand(b, 1, h, w)], 1)

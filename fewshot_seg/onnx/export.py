"""An embedder as an ONNX model: vectors, feature maps and similarity attention, for a runtime without torch.

The closed form of equation 1 needs no backward pass, so that attention is part of the graph: an image's map shows
what makes it similar to a partner, of which the vector is all that must be known.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from fewshot_seg.attention.maps import attention_maps
from fewshot_seg.attention.weighting import pair_weights
from fewshot_seg.errors import CheckpointError, ConfigError
from fewshot_seg.network.embedding import Embedder, Embedding
from fewshot_seg.network.weights import first_line

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto

INPUTS: Final = ("images", "partners")
OUTPUTS: Final = ("vectors", "feature_maps", "attention")
TOLERANCE: Final = 1e-4
"""How far onnxruntime's outputs may be from torch's, by each output's largest value where that is above 1."""

METADATA_KEY: Final = "fewshot_seg"


@dataclass(frozen=True, eq=False)
class OnnxModel:
    """An exported embedder.

    Attributes:
        proto: the model. Inputs: `images` (B,3,H,W) float32, preprocessed as the metadata say, and `partners` (B,D),
            the unit vectors of what each image is compared with (zeros where only vectors are wanted). Outputs:
            `vectors` (B,D) of unit norm, `feature_maps` (B,C,h,w), and `attention` (B,h,w), >= 0, not scaled.
        facts: what its metadata say, JSON values, under the key "fewshot_seg".
    """

    proto: ModelProto
    facts: Mapping[str, Any]

    def to_bytes(self) -> bytes:
        """The file's content, with the metadata in it."""
        from onnx.helper import set_model_props

        set_model_props(self.proto, {METADATA_KEY: json.dumps(self.facts, allow_nan=False)})
        content: bytes = self.proto.SerializeToString()
        return content


class WithAttention(nn.Module):
    """What the graph computes, see `OnnxModel`. The trunk itself runs: the exporter folds by itself."""

    def __init__(self, embedder: Embedder, through_norm: bool) -> None:
        super().__init__()
        self.embedder = embedder
        self.through_norm = through_norm

    def forward(self, images: Tensor, partners: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B,3,H,W) and (B,D) -> (B,D), (B,C,h,w) and (B,h,w)."""
        feature_map = self.embedder.trunk(images)
        emb = Embedding(feature_map, self.embedder.head(feature_map))
        w = pair_weights(emb.vector, partners, same=True)
        return emb.vector, feature_map, attention_maps(self.embedder, emb, w, "closed_form", self.through_norm)


def export_onnx(embedder: Embedder, *, through_norm: bool = False) -> OnnxModel:
    """The embedder as ONNX, with any batch size, compared with torch by onnxruntime on batches of 1 and 3.

    Args:
        embedder: on the CPU, in float32; its head must have a closed form of attention.
        through_norm: of attention, as in `attention.attention_maps`.

    Raises:
        ConfigError: packages are missing, or the head has no closed form.
        CheckpointError: the network can't be exported, or onnxruntime's results differ by more than `TOLERANCE`.
    """
    check_packages()
    model = WithAttention(embedder.eval(), through_norm)
    images, partners = _example(embedder, 2)
    with torch.no_grad():
        _, feature_map, _ = model(images, partners)  # ConfigError where there is no closed form
        batch = torch.export.Dim("batch", min=1)
        proto = graph(model, (images, partners), INPUTS, OUTPUTS, ({0: batch}, {0: batch}))
    facts = {
        "embedder": embedder.spec.to_dict(),
        "inputs": {"images": ["batch", *images.shape[1:]], "partners": ["batch", embedder.dim]},
        "outputs": {
            "vectors": ["batch", embedder.dim],
            "feature_maps": ["batch", *feature_map.shape[1:]],
            "attention": ["batch", *feature_map.shape[2:]],
        },
        "through_norm": through_norm,
        "precision": "fp32",
    }
    made = OnnxModel(proto, facts)
    difference = max(largest_difference(made.to_bytes(), model, _example(embedder, count)) for count in (1, 3))
    if difference > TOLERANCE:
        raise CheckpointError(
            f"onnxruntime's results differ from torch's by {difference:.1g}, more than {TOLERANCE:g}: "
            f"{embedder.spec.backbone} cannot be exported faithfully by these versions"
        )
    return OnnxModel(proto, {**facts, "largest_difference": difference})


def largest_difference(content: bytes, model: nn.Module, inputs: Sequence[Tensor]) -> float:
    """How far the outputs of an ONNX file's content are from the same model's in torch, as `TOLERANCE` counts."""
    with torch.inference_mode():
        expected = [one.numpy() for one in model(*inputs)]
    found = run_onnx(content, *(one.numpy() for one in inputs))
    pairs = zip(found, expected, strict=True)
    return max(float(np.abs(own - other).max()) / max(1.0, float(np.abs(other).max())) for own, other in pairs)


def run_onnx(content: bytes, *inputs: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """A model's outputs by onnxruntime, on the CPU; inputs and outputs stand in the graph's order."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]
    found: list[NDArray[np.float32]] = session.run(None, dict(zip(names, inputs, strict=True)))
    return found


def graph(
    model: nn.Module,
    example: tuple[Tensor, ...],
    inputs: Sequence[str],
    outputs: Sequence[str],
    dynamic_shapes: Any = None,
) -> ModelProto:
    """A module's graph for inputs like an example's; CheckpointError where torch can't export it."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)  # without its remarks on packages that aren't needed here
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                model,
                example,
                input_names=inputs,
                output_names=outputs,
                dynamic_shapes=dynamic_shapes,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    except Exception as error:  # torch's exporter wraps whatever it meets in several classes
        reason = first_line(error)
        raise CheckpointError(f"torch cannot export this network to ONNX ({reason}): try another version") from error
    finally:
        logger.setLevel(level)
    assert program is not None
    return program.model_proto


def _example(embedder: Embedder, count: int) -> tuple[Tensor, Tensor]:
    """`count` images of noise, as the network takes them, and as many unit vectors."""
    generator = torch.Generator().manual_seed(count)
    images = torch.randn(count, 3, *embedder.preprocessing.shape, generator=generator)
    partners = torch.randn(count, embedder.dim, generator=generator)
    return images, torch.nn.functional.normalize(partners, dim=1)


def check_packages() -> None:
    """ConfigError: the extra `onnx` is not installed."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401 - torch's exporter is written in it
    except ImportError as error:
        raise ConfigError(f"the ONNX packages are missing ({error}): pip install 'fewshot-seg[onnx]'") from error

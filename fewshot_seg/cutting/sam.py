"""A Segment Anything Model as refiner: prompted by the map, of its answers the one that agrees best with the map.

SAM (Kirillov et al., ICCV 2023) and SAM 2 (Ravi et al., 2024), by the transformers library, from a folder on disk.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any, Final, NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from fewshot_seg.cutting.refine import expected_iou, shrunk_mask
from fewshot_seg.cutting.refiners import RefinerSetting, Scene
from fewshot_seg.cutting.seeds import BACKGROUND, foreground_of
from fewshot_seg.errors import CheckpointError, ConfigError

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of both models
_INSIDE, _OUTSIDE = 3, 2  # points at most
_APART = 0.25  # of the box's diagonal: points are at least so far from each other
_KINDS: Final = {"sam": "SamModel", "sam2": "Sam2Model", "sam2_video": "Sam2Model"}  # of config.json -> class


class Prompt(NamedTuple):
    """What SAM is told, in native pixels, x before y."""

    box: NDArray[np.float32]  # (4,): left, top, right, bottom
    points: NDArray[np.float32]  # (N,2)
    labels: NDArray[np.int64]  # (N,): 1 on the object, 0 beside it


class SamRefiner:
    """A refiner (`refiners.Refiner`) by SAM. An image is encoded once for all of its classes.

    Args:
        setting: `weights` is a folder with config.json and model.safetensors, as the hub has facebook/sam-vit-base or
            facebook/sam2.1-hiera-tiny, or the file in it.

    Raises:
        ConfigError: transformers is missing, or no weights are named. CheckpointError: they are bad.
    """

    def __init__(self, setting: RefinerSetting) -> None:
        self.model = _load(setting.weights).to(setting.device)
        self.side = int(self.model.config.prompt_encoder_config.image_size)
        self.stretches = type(self.model).__name__ == "Sam2Model"  # SAM pads to a square, SAM 2 stretches
        self._kept = threading.local()  # each thread's last image, and its encoding

    def __call__(self, scene: Scene) -> NDArray[np.bool_]:
        """The mask (H,W); the trimap's own foreground (h,w) where that is empty, or where SAM finds nothing."""
        prompt = prompt_of(scene)
        start = foreground_of(scene.trimap)
        if prompt is None:
            return start
        found = best_candidate(self.candidates(scene.image, prompt), scene.map)
        return start if found is None else found

    @torch.inference_mode()
    def candidates(self, image: NDArray[np.uint8], prompt: Prompt) -> NDArray[np.bool_]:
        """SAM's masks (M,H,W) of an image (H,W,3) for a prompt."""
        height, width = self._inner(image.shape[:2])
        scale = np.array([width / image.shape[1], height / image.shape[0]], np.float32)
        box, points, labels = (torch.from_numpy(one).to(self.model.device) for one in prompt)
        scaled = torch.from_numpy(scale).to(self.model.device)
        out = self.model(
            image_embeddings=self._encoded(image),
            input_boxes=(box * scaled.repeat(2))[None, None],
            input_points=(points * scaled)[None, None] if len(points) else None,
            input_labels=labels[None, None] if len(points) else None,
            multimask_output=True,
        )
        logits: Tensor = F.interpolate(out.pred_masks[0].float(), (self.side, self.side), mode="bilinear")
        native = F.interpolate(logits[..., :height, :width], image.shape[:2], mode="bilinear")
        return np.asarray((native[0] > 0).cpu().numpy())

    def _encoded(self, image: NDArray[np.uint8]) -> Any:
        if getattr(self._kept, "image", None) is not image:
            batch = self.preprocessed(image).to(self.model.device)
            self._kept.encoded, self._kept.image = self.model.get_image_embeddings(batch), image
        return self._kept.encoded

    def preprocessed(self, image: NDArray[np.uint8]) -> Tensor:
        """An image (H,W,3) as SAM takes it, (1,3,side,side): normalised, and padded with zeros or stretched."""
        height, width = self._inner(image.shape[:2])
        pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float() / 255
        small = F.interpolate(pixels, (height, width), mode="bilinear", antialias=True)
        normal = (small - torch.tensor(_MEAN).view(3, 1, 1)) / torch.tensor(_STD).view(3, 1, 1)
        return F.pad(normal, (0, self.side - width, 0, self.side - height))

    def _inner(self, size: tuple[int, ...]) -> tuple[int, int]:
        """(height, width) that an image of a size (H,W) has in SAM's square."""
        if self.stretches:
            return self.side, self.side
        scale = self.side / max(size)
        return max(1, int(size[0] * scale + 0.5)), max(1, int(size[1] * scale + 0.5))


def prompt_of(scene: Scene) -> Prompt | None:
    """The box of the trimap's foreground, the map's highest points in it, and its lowest on sure background in the box.

    None where there is no foreground.
    """
    inside = foreground_of(scene.trimap)
    if not inside.any():
        return None
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    apart = _APART * float(np.hypot(bottom - top, right - left))
    beside = np.zeros_like(inside)
    beside[top:bottom, left:right] = scene.trimap[top:bottom, left:right] == BACKGROUND
    on, off = _points(scene.map, inside, _INSIDE, apart), _points(-scene.map, beside, _OUTSIDE, apart)
    (height, width), native = inside.shape, scene.image.shape[:2]
    scale = np.array([native[1] / width, native[0] / height], np.float32)
    points = (np.array([*on, *off], np.float32).reshape(-1, 2) + 0.5) * scale
    box = np.array([left, top, right, bottom], np.float32) * np.tile(scale, 2)
    return Prompt(box, points, np.array([1] * len(on) + [0] * len(off), np.int64))


def best_candidate(candidates: NDArray[np.bool_], map_: NDArray[np.float32]) -> NDArray[np.bool_] | None:
    """Of masks (M,H,W) the one that should share most with the truth, by a map (h,w) in [0, 1]; None: all are empty."""
    likeness = [expected_iou(shrunk_mask(one, map_.shape), map_) for one in candidates]
    best = int(np.argmax(likeness))
    return candidates[best] if likeness[best] > 0 else None


def _points(values: NDArray[np.float32], where: NDArray[np.bool_], count: int, apart: float) -> list[tuple[int, int]]:
    """At most `count` pixels (x, y) of highest value, each at least `apart` from the others; the deepest of equals."""
    depth = cv2.distanceTransform(where.astype(np.uint8), cv2.DIST_L2, 3)
    left, ys, xs = where.copy(), *np.indices(where.shape)
    found: list[tuple[int, int]] = []
    while len(found) < count and left.any():
        highest = left & (values >= values[left].max())
        y, x = np.unravel_index(np.argmax(np.where(highest, depth, -1)), where.shape)
        found.append((int(x), int(y)))
        left &= np.hypot(ys - y, xs - x) >= max(apart, 1.0)
    return found


def _load(weights: str | None) -> Any:
    """The model in a folder, in eval mode, from its config.json and safetensors alone."""
    try:
        import transformers
    except ImportError as error:
        raise ConfigError(f"refining by SAM needs transformers ({error}): pip install 'fewshot-seg[sam]'") from error
    if weights is None:
        raise ConfigError(
            "refining by SAM needs its weights: --sam-weights FOLDER, such as a copy of facebook/sam-vit-base"
        )
    path = Path(weights)
    folder = path if path.is_dir() else path.parent
    try:
        kind = _KINDS[json.loads((folder / "config.json").read_text("utf-8"))["model_type"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        what = "holds no config.json of a SAM or SAM 2 of the transformers library"
        raise CheckpointError(f"{folder} {what}; copy facebook/sam-vit-base or its like") from error
    level = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        model, told = getattr(transformers, kind).from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )
    except Exception as error:  # the library has no one class for all
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{folder}: the weights cannot be loaded ({line})") from error
    finally:
        transformers.logging.set_verbosity(level)
    if missing := sorted(told["missing_keys"]):
        raise CheckpointError(f"{folder}: the weights lack {missing[0]}, one of {len(missing)}; copy the folder again")
    return model.eval().requires_grad_(False)

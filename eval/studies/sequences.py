"""Sequences in DAVIS's layout: the first frame as the support, the others as queries, alone or in their order.

Figures are DAVIS's region similarity J (Perazzi et al., CVPR 2016): the IoU of a frame, averaged over a sequence's
frames, then over sequences. The first frame, which is given, does not count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fewshot_seg.errors import DataError, ShapeError, describe
from fewshot_seg.imaging.find import find_images
from fewshot_seg.imaging.masks import read_mask
from fewshot_seg.prompts.supports import Support
from fewshot_seg.segmentation.segmenter import Segmenter
from fewshot_seg.streams import Track

SETTINGS: Final[Mapping[str, tuple[bool, bool]]] = {
    "mask, frame by frame": (True, False),
    "mask, in order": (True, True),
    "no mask, frame by frame": (False, False),
    "no mask, in order": (False, True),
}
"""What is measured: whether the first frame's mask is given, and whether frames are followed in their order."""

_TREES: Final = (("JPEGImages/480p", "Annotations/480p"), ("JPEGImages", "Annotations"))


@dataclass(frozen=True)
class FrameSequence:
    """One sequence.

    Attributes:
        name: its folder's.
        frames: images, in order.
        masks: of each frame; what is not 0 is the object.
    """

    name: str
    frames: tuple[Path, ...]
    masks: tuple[Path, ...]


def find_sequences(root: Path, every: int = 1) -> list[FrameSequence]:
    """All sequences under JPEGImages/480p or JPEGImages, with every n-th of their frames.

    Raises:
        DataError: no sequence, a frame without a mask, or a sequence of one frame.
    """
    for images, masks in _TREES:
        folders = sorted(path for path in (root / images).glob("*") if path.is_dir() and path.name != "480p")
        if folders:
            return [_sequence(folder, root / masks / folder.name, every) for folder in folders]
    raise DataError(f"{describe(root)}: no sequence; it must hold JPEGImages/NAME/*.jpg and Annotations/NAME/*.png")


def measure_sequences(
    segmenter: Segmenter, sequences: Sequence[FrameSequence], settings: Sequence[str], track: Track
) -> dict[str, dict[str, float]]:
    """Mean J of every sequence in [0, 1]: setting -> sequence -> figure.

    Raises:
        ImageError, ShapeError, DataError: a frame or a mask can't be read.
    """
    jobs = [(setting, one) for setting in settings for one in sequences]
    found: dict[str, dict[str, float]] = {setting: {} for setting in settings}
    for setting, one in track(jobs, len(jobs), "measuring"):
        with_mask, in_order = SETTINGS[setting]
        found[setting][one.name] = float(np.mean(list(_similarities(segmenter, one, with_mask, in_order))))
    return found


def to_json(found: Mapping[str, Mapping[str, float]], task: Mapping[str, Any]) -> dict[str, Any]:
    """What `fewshot-eval sequences` writes: the task, each sequence's J, and the mean over sequences."""
    means = {setting: float(np.mean(list(each.values()))) for setting, each in found.items()}
    return {"task": dict(task), "mean": means, "sequences": {setting: dict(each) for setting, each in found.items()}}


def _similarities(segmenter: Segmenter, one: FrameSequence, with_mask: bool, in_order: bool) -> Iterator[float]:
    prepared = segmenter.prepare(Support(one.frames[0], mask=one.masks[0] if with_mask else None))
    segment = segmenter.segment_sequence if in_order else segmenter.segment_many
    for result, path in zip(segment(one.frames[1:], prepared), one.masks[1:], strict=True):
        yield region_similarity(result.mask, _truth(path, result.size))  # type: ignore[union-attr]


def region_similarity(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """J of two masks (H,W): intersection over union in [0, 1]; 1 where both are empty.

    Raises:
        ShapeError: masks of two sizes.
    """
    if found.shape != truth.shape:
        raise ShapeError(f"masks of shapes {found.shape} and {truth.shape} don't belong together")
    union = int((found | truth).sum())
    return 1.0 if union == 0 else int((found & truth).sum()) / union


def _truth(path: Path, size: tuple[int, int]) -> NDArray[np.bool_]:
    """A frame's mask; unlike a support's it may be empty."""
    try:
        return read_mask(path, size)
    except DataError:
        return np.zeros(size, bool)


def _sequence(folder: Path, masks: Path, every: int) -> FrameSequence:
    frames = find_images([str(folder)])[::every]
    own = [masks / f"{frame.stem}.png" for frame in frames]
    if missing := [path for path in own if not path.is_file()]:
        raise DataError(f"{describe(missing[0])}: there is no such mask ({len(missing)} of {len(own)} are missing)")
    if len(frames) < 2:
        raise DataError(f"{describe(folder)}: {len(frames)} frames; a sequence has two or more (see --every)")
    return FrameSequence(folder.name, tuple(frames), tuple(own))

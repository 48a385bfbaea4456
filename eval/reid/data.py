"""What is asked and what is searched in re-identification: queries and gallery, their identities and cameras."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from eval.retrieval.data import RetrievalImages, paired
from fewshot_seg.datasets.labelled import LabelledImages, TrainClasses
from fewshot_seg.datasets.names import Camera, camera_numbers, camera_of_text, list_cameras
from fewshot_seg.datasets.registry import load_dataset
from fewshot_seg.errors import ConfigError, DataError, describe
from fewshot_seg.reid.ranking import Identities

KINDS: Final = ("market", "duke", "cuhk03", "msmt17", "veri", "vehicleid", "csv", "named")
DISTRACTORS: Final = "0000"
"""The identity that Market-1501 gives to what is not one of its people: wrong for everybody."""


@dataclass(frozen=True)
class Choice:
    """Which images of which data set.

    Attributes:
        dataset: one of `KINDS`.
        root: its folder; for "csv" also the table itself.
        boxes, vehicles, pattern, split_file, train_classes: as `load_dataset` takes them; None where not given.
        query_camera, gallery_camera: only images of this camera ask, or are asked for.
        allow_missing: take a published set that is not complete, or another one in its layout.

    Raises:
        ConfigError: an impossible choice.
    """

    dataset: str
    root: Path
    boxes: str | None = None
    vehicles: int | None = None
    pattern: str | None = None
    split_file: str | None = None
    train_classes: TrainClasses | None = None
    query_camera: Camera | None = None
    gallery_camera: Camera | None = None
    allow_missing: bool = False

    def __post_init__(self) -> None:
        if self.dataset not in KINDS:
            raise ConfigError(f"unknown data set {self.dataset!r}: choose {', '.join(KINDS)}")

    def options(self) -> dict[str, Any]:
        """What was chosen beside data set and root: JSON values, also for a run's config."""
        names = ("boxes", "vehicles", "pattern", "split_file", "train_classes")
        return {name: getattr(self, name) for name in names}


def open_images(choice: Choice) -> RetrievalImages:
    """The queries and the gallery that a choice names, without reading any image.

    Raises:
        ConfigError, DataError: as `load_dataset`. DataError: a camera that no image has, or no cameras at all.
    """
    query, gallery = (
        load_dataset(choice.dataset, choice.root, part, check_counts=not choice.allow_missing, **choice.options())
        for part in ("query", "gallery")
    )
    if query.cameras is None or gallery.cameras is None:
        query, gallery = (LabelledImages(one.paths, one.labels, one.names, None, one.ids) for one in (query, gallery))
    return paired(
        _of_camera(query, choice.query_camera, "query-camera"),
        _of_camera(gallery, choice.gallery_camera, "gallery-camera"),
    )


def identities(images: RetrievalImages, dataset: str) -> tuple[Identities, Identities]:
    """Who is in the queries and in the gallery, in their orders, on the CPU."""
    names, cameras = images.images.names, images.images.cameras
    distractor = names.index(DISTRACTORS) if dataset == "market" and DISTRACTORS in names else None
    numbers = None if cameras is None else torch.tensor(camera_numbers(cameras))
    everyone = Identities(images.labels, numbers, torch.arange(len(images.images)), distractor)
    return everyone.take(images.queries), everyone.take(images.gallery)


def _of_camera(images: LabelledImages, camera: Camera | None, option: str) -> LabelledImages:
    if camera is None:
        return images
    camera = camera_of_text(camera)
    if images.cameras is None:
        raise DataError(f"--{option} {camera}: the data set doesn't tell cameras; leave the option out")
    kept = [place for place, other in enumerate(images.cameras) if other == camera]
    if not kept:
        known = list_cameras(images.cameras)
        raise DataError(f"--{option} {describe(str(camera))}: no image is of this camera; there are {known}")
    return images.take(kept)

"""What is asked and what is searched in re-identification: queries and gallery, their identities and cameras."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import torch

from eval.retrieval.data import DataChoice, RetrievalImages, paired
from fewshot_seg.datasets.labelled import LabelledImages, TrainClasses
from fewshot_seg.datasets.names import Camera, camera_numbers, camera_of_text, list_cameras
from fewshot_seg.datasets.registry import load_dataset
from fewshot_seg.errors import DataError, describe
from fewshot_seg.reid.ranking import Identities

DISTRACTORS: Final = "0000"
"""The identity that Market-1501 gives to what is not one of its people: wrong for everybody."""

_OPTIONS: Final = ("boxes", "vehicles", "pattern", "split_file", "train_classes")  # of `load_dataset`


@dataclass(frozen=True)
class Choice(DataChoice):
    """What re-identification is measured on.

    Attributes:
        boxes, vehicles, pattern, split_file, train_classes: as `load_dataset` takes them; None where not given.
        query_camera, gallery_camera: only images of this camera ask, or are asked for.
        allow_missing: take a published set that is not complete, or another one in its layout.
    """

    KINDS = ("market", "duke", "cuhk03", "msmt17", "veri", "vehicleid", "csv", "named")

    boxes: str | None = None
    vehicles: int | None = None
    pattern: str | None = None
    split_file: str | None = None
    train_classes: TrainClasses | None = None
    query_camera: Camera | None = None
    gallery_camera: Camera | None = None
    allow_missing: bool = False

    def to_dict(self) -> dict[str, Any]:
        """See `DataChoice.to_dict`."""
        cameras = {"query_camera": self.query_camera, "gallery_camera": self.gallery_camera}
        return super().to_dict() | {name: None if one is None else camera_of_text(one) for name, one in cameras.items()}


def open_images(choice: Choice) -> RetrievalImages:
    """The queries and the gallery that a choice names, without reading any image.

    Raises:
        ConfigError, DataError: as `load_dataset`. DataError: a camera that no image has, or no cameras at all.
    """
    options = {name: getattr(choice, name) for name in _OPTIONS}
    query, gallery = (
        load_dataset(choice.dataset, choice.root, part, check_counts=not choice.allow_missing, **options)
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

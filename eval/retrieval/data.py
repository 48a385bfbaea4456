"""What is asked and what is searched: queries and a gallery of one labelled data set, each image once."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Final, Self

import torch
from torch import Tensor

from fewshot_seg.datasets.class_folder import choose_classes
from fewshot_seg.datasets.labelled import LabelledImages
from fewshot_seg.datasets.registry import load_dataset
from fewshot_seg.errors import ConfigError, DataError

SPLITS: Final = ("train", "validation", "test")

_POSITIONS: Final = re.compile(r"(\d+)-(\d+)")


@dataclass(frozen=True)
class DataChoice:
    """Which images of which data set; what else can be chosen says a subclass.

    Attributes:
        dataset: one of `KINDS`.
        root: its folder; for "csv" also the table itself.

    Raises:
        ConfigError: an impossible choice.
    """

    KINDS: ClassVar[tuple[str, ...]]

    dataset: str
    root: Path

    def __post_init__(self) -> None:
        if self.dataset not in self.KINDS:
            raise ConfigError(f"unknown data set {self.dataset!r}: choose {', '.join(self.KINDS)}")

    @classmethod
    def of(cls, config: Mapping[str, Any], root: Path) -> Self:
        """What a run chose, by its config; the data now lies in `root`."""
        return cls(**{field.name: config[field.name] for field in fields(cls)} | {"root": root})

    def to_dict(self) -> dict[str, Any]:
        """JSON values, as a run's config has them."""
        return asdict(self) | {"root": str(self.root)}


@dataclass(frozen=True)
class Choice(DataChoice):
    """What retrieval is measured on.

    Attributes:
        split: "test"; "validation" is another word for it; "train" asks within the training classes.
        classes: of "folder" only: positions in the folders' natural order, "101-150" from 1 on, or names, patterns
            and ranges of names as `class_folder.choose_classes` takes them. None is the split's.
        split_file: of "folder" and "csv": a table in `root`, see `labelled_csv`.
        allow_missing: take a published set that is not complete.
    """

    KINDS = ("cub", "cars", "sop", "inshop", "folder", "csv")

    split: str = "test"
    classes: str | None = None
    split_file: str | None = None
    allow_missing: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.split not in SPLITS:
            raise ConfigError(f"unknown split {self.split!r}: choose {', '.join(SPLITS)}")
        if self.classes is not None and (self.dataset != "folder" or self.split_file is not None):
            raise ConfigError(
                "classes are chosen of class folders (folder, no table); other sets have their own splits"
            )

    def to_dict(self) -> dict[str, Any]:
        """See `DataChoice.to_dict`."""
        return super().to_dict() | {"split": "test" if self.split == "validation" else self.split}


@dataclass(frozen=True)
class RetrievalImages:
    """Queries and gallery among images of which each is there once.

    Attributes:
        images: all of them: the gallery, then the queries that are not in it.
        queries: (Q,) int64 places of the queries among the images.
        gallery: (N,) int64 places of the gallery's.
    """

    images: LabelledImages
    queries: Tensor
    gallery: Tensor

    @cached_property
    def labels(self) -> Tensor:
        """(I,) int64 class of every image, a place in `images.names`."""
        return torch.tensor(self.images.labels)

    @cached_property
    def own(self) -> Tensor:
        """(Q,) int64: each query's place within the gallery, -1 where it isn't in it. Known by the image's id."""
        place = torch.full((len(self.images),), -1)
        place[self.gallery] = torch.arange(len(self.gallery))
        return place[self.queries]

    @property
    def digest(self) -> str:
        """SHA-256 of which images ask and are asked for, and of their classes."""
        digest = hashlib.sha256()
        for part in (self.queries.tolist(), self.gallery.tolist()):
            for place in part:
                digest.update(f"{self.images.ids[place]}\0{self.images.names[self.images.labels[place]]}\n".encode())
            digest.update(b"\0")
        return digest.hexdigest()

    @property
    def classes_asked(self) -> int:
        """How many classes the queries are of."""
        return len(set(self.labels[self.queries].tolist()))

    def without(self, lost: set[int]) -> RetrievalImages:
        """The same without some images, by their places, which stay what they are.

        Raises:
            DataError: no query or no gallery image is left.
        """
        kept = RetrievalImages(self.images, _without(self.queries, lost), _without(self.gallery, lost))
        if not len(kept.queries) or not len(kept.gallery):
            raise DataError("no query or no image to be found can be read; check the data set's files")
        return kept


def open_images(choice: Choice) -> RetrievalImages:
    """The images that a choice names, without reading any.

    Raises:
        ConfigError, DataError: as `load_dataset`; DataError: fewer than two images.
    """
    return paired(*_pair(choice))


def paired(query: LabelledImages, gallery: LabelledImages) -> RetrievalImages:
    """Queries and gallery that share their class names, each image once. DataError: fewer than two images."""
    known = {id_: place for place, id_ in enumerate(gallery.ids)}
    extra = [place for place, id_ in enumerate(query.ids) if id_ not in known]
    known |= {query.ids[place]: len(gallery) + number for number, place in enumerate(extra)}
    images = _joined(gallery, query.take(extra)) if extra else gallery
    if len(images) < 2:
        raise DataError("retrieval needs at least two images; check the data set and its split")
    queries = torch.tensor([known[id_] for id_ in query.ids])
    return RetrievalImages(images, queries, torch.arange(len(gallery)))


def _pair(choice: Choice) -> tuple[LabelledImages, LabelledImages]:
    """Queries and gallery, which share their class names."""
    if choice.classes is not None:
        chosen = _of_classes(choice.root, choice.classes)
        return chosen, chosen
    options: dict[str, object] = {} if choice.split_file is None else {"split_file": choice.split_file}

    def part(split: str) -> LabelledImages:
        check = not choice.allow_missing
        return load_dataset(choice.dataset, choice.root, split, check_counts=check, **options)  # type: ignore[arg-type]

    if choice.split == "train":
        train = part("train")
        return train, train
    return part("query"), part("gallery")


def _of_classes(root: Path, text: str) -> LabelledImages:
    """The images of some of the class folders in `root`."""
    whole = load_dataset("folder", root, "test", train_classes=0)
    positions = _POSITIONS.fullmatch(text.strip())
    if positions is None:
        chosen = set(choose_classes(whole.names, text.split(",")))
        return whole.take_classes([label for label, name in enumerate(whole.names) if name in chosen])
    first, last = map(int, positions.groups())
    if not 1 <= first <= last <= len(whole.names):
        raise ConfigError(f"classes {text}: there are class folders 1 to {len(whole.names)}")
    return whole.take_classes(range(first - 1, last))


def _joined(one: LabelledImages, other: LabelledImages) -> LabelledImages:
    known = one.cameras is not None and other.cameras is not None
    cameras = (one.cameras or ()) + (other.cameras or ()) if known else None
    return LabelledImages(one.paths + other.paths, one.labels + other.labels, one.names, cameras, one.ids + other.ids)


def _without(places: Tensor, lost: set[int]) -> Tensor:
    return torch.tensor([place for place in places.tolist() if place not in lost], dtype=torch.int64)

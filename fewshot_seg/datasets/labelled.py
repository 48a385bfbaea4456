"""Images with class labels, to train an embedding on and to measure retrieval and re-identification with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final

from fewshot_seg.datasets.names import Camera
from fewshot_seg.errors import ConfigError, DataError, describe

TrainClasses = float | int | Sequence[str]
"""Which classes are trained on; see `class_folder.choose_classes`."""

_EXAMPLES: Final = 3


@dataclass(frozen=True)
class LabelledImages:
    """Image files and the class of each.

    Attributes:
        paths: the files, each once.
        labels: for each image its class, an index into `names`.
        names: the classes' names, each once. Query and gallery of one data set share their names, so that
            their labels can be compared; in such a pair a class may be without images.
        cameras: for each image the camera that took it (`names.camera_of_text`), or None where that is not known.
        ids: for each image a short text that is its own and the same on every machine: its path from the
            data set's folder, with "/".

    Raises:
        DataError: no images, a file or id that comes up twice, a label without a name, lengths that differ.
    """

    paths: tuple[Path, ...]
    labels: tuple[int, ...]
    names: tuple[str, ...]
    cameras: tuple[Camera, ...] | None
    ids: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.paths:
            raise DataError("no images: this part of the data set is empty; check its folder and its split")
        lengths = {len(self.paths), len(self.labels), len(self.ids)}
        if len(lengths | ({len(self.cameras)} if self.cameras is not None else set())) > 1:
            raise DataError("as many labels, ids and cameras as images are needed")
        if min(self.labels) < 0 or max(self.labels) >= len(self.names):
            raise DataError(f"labels must be 0 to {len(self.names) - 1}, one for each class name")
        for what, values in (("images", list(map(str, self.paths))), ("ids", self.ids)):
            if twice := _repeated(values):
                raise DataError(f"{len(twice)} {what} are listed more than once: {examples(twice)}; list each once")
        if twice := _repeated(self.names):
            raise DataError(f"class names must differ: {examples(twice)} is there twice")

    def __len__(self) -> int:
        """The number of images."""
        return len(self.paths)

    @cached_property
    def members(self) -> tuple[tuple[int, ...], ...]:
        """For each class the indices of its images, ascending; empty for a class without any."""
        found: list[list[int]] = [[] for _ in self.names]
        for index, label in enumerate(self.labels):
            found[label].append(index)
        return tuple(map(tuple, found))

    @property
    def present(self) -> tuple[int, ...]:
        """The labels of the classes that have images, ascending."""
        return tuple(label for label, members in enumerate(self.members) if members)

    def take(self, indices: Sequence[int]) -> LabelledImages:
        """Some of the images, in this order; the names stay, and so do the labels."""
        return replace(
            self,
            paths=tuple(self.paths[i] for i in indices),
            labels=tuple(self.labels[i] for i in indices),
            cameras=None if self.cameras is None else tuple(self.cameras[i] for i in indices),
            ids=tuple(self.ids[i] for i in indices),
        )

    def take_classes(self, labels: Sequence[int]) -> LabelledImages:
        """The images of some classes, in order of the images, with names and labels of these classes only.

        Label k of the result is class `labels[k]`.
        """
        place = {label: k for k, label in enumerate(labels)}
        kept = self.take([i for i, label in enumerate(self.labels) if label in place])
        return replace(kept, labels=tuple(place[n] for n in kept.labels), names=tuple(self.names[n] for n in labels))


def hold_out_classes(images: LabelledImages, share: float) -> tuple[LabelledImages, LabelledImages]:
    """Training and validation images with disjoint classes: the validation classes lie evenly among all.

    Args:
        images: what there is.
        share: of the classes, above 0 and below 1; at least one class goes to each side.

    Raises:
        ConfigError: another share. DataError: fewer than two classes.
    """
    if not 0 < share < 1:
        raise ConfigError(f"share of classes to hold out {share!r}: must be above 0 and below 1")
    classes = images.present
    if len(classes) < 2:
        raise DataError("one class cannot be shared out between training and validation; give two or more")
    number = min(max(round(share * len(classes)), 1), len(classes) - 1)
    held_out = {classes[(2 * i + 1) * len(classes) // (2 * number)] for i in range(number)}
    kept = [label for label in classes if label not in held_out]
    return images.take_classes(kept), images.take_classes(sorted(held_out))


def examples(names: Sequence[object]) -> str:
    """The first three of a list, for a message, on one line."""
    shown = ", ".join(describe(str(name)) for name in names[:_EXAMPLES])
    return shown + (", ..." if len(names) > _EXAMPLES else "")


def _repeated(names: Sequence[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]

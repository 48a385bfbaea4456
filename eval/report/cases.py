"""An episode as a row of pictures: supports, query, attention, trimap, prediction and truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from eval.episodes.scoring import EpisodeScore
from eval.measures.metrics import episode_truth
from eval.report.page import Frame, Picture, picture
from fewshot_seg.datasets import SegmentationDataset
from fewshot_seg.episodes.episode import Episode
from fewshot_seg.imaging.decode import read_image
from fewshot_seg.imaging.render import class_colour, heat_map, overlay, seed_map
from fewshot_seg.segmentation.results import Segmentation

Image8 = NDArray[np.uint8]

MOST_SUPPORTS = 6  # of a class, in a report
BUDGET = 9_000_000  # characters of all pictures together
VOID_COLOUR, VOID_OPACITY = (120, 128, 140), 0.85


@dataclass(frozen=True, eq=False)
class Drawn:
    """What is known of an episode: its own figures, its prediction (H, W), and the steps if there are any."""

    episode: Episode
    score: EpisodeScore
    prediction: NDArray[Any]
    steps: Segmentation | None


@dataclass(frozen=True, eq=False)
class Case:
    """An episode as templates take it.

    Attributes:
        anchor: the id of its article, or None.
        episode, score: the episode's.
        names, colours: of each class.
        supports: of each class the first few, ids and pictures.
        query: alone.
        prediction, truth: the query with the classes laid over it, and the share of the image that each has.
        steps: for each class attention and trimap; [] where there are none.
    """

    anchor: str | None
    episode: Episode
    score: EpisodeScore
    names: list[str]
    colours: list[tuple[int, int, int]]
    supports: list[list[tuple[str, Picture]]]
    query: Picture
    prediction: tuple[Picture, list[float]]
    truth: tuple[Picture, list[float]]
    steps: list[tuple[Picture, Picture]]


def frame_for(episodes: Sequence[Episode], *, steps: bool) -> Frame:
    """Pictures of a size that lets all of these episodes' pictures together stay within `BUDGET`."""
    pictures = 0.0
    for one in episodes:
        supports = sum(min(len(images), MOST_SUPPORTS) for images in one.supports.values())
        small = supports > len(one.classes)
        pictures += 3 + supports * (0.25 if small else 1) + 2 * len(one.classes) * steps
    return Frame(limit=int(BUDGET / max(pictures, 1)))


def draw_case(drawn: Drawn, dataset: SegmentationDataset, frame: Frame, *, masks: bool, anchor: str | None) -> Case:
    """The episode's pictures.

    `masks` says whether the supports' masks were given, and are drawn; `anchor` is of its article.

    Raises:
        ImageError, DataError: an image or mask can't be read.
    """
    episode, found = drawn.episode, [] if drawn.steps is None else drawn.steps.objects
    numbers = range(1, len(episode.classes) + 1)
    whole = episode_truth(dataset.mask(episode.query), episode.classes)
    image = read_image(dataset.image(episode.query))
    photo, (truth, prediction) = shrunk(image, 2 * frame.side, whole, drawn.prediction)

    def outcome(view: Image8, labels: NDArray[Any]) -> tuple[Picture, list[float]]:
        return picture(view, frame), [float((labels == number).mean()) for number in numbers]

    return Case(
        anchor=anchor,
        episode=episode,
        score=drawn.score,
        names=[dataset.class_names[label - 1] for label in episode.classes],
        colours=[class_colour(number) for number in numbers],
        supports=[_supports(episode, dataset, number, frame, masks) for number in numbers],
        query=picture(photo, frame),
        prediction=outcome(overlay(photo, prediction), prediction),
        truth=outcome(_truth(photo, truth), truth),
        steps=[
            (picture(heat_map(photo, one.attention_map), frame), picture(seed_map(photo, one.trimap), frame))
            for one in found
        ],
    )


def _supports(
    episode: Episode, dataset: SegmentationDataset, number: int, frame: Frame, masks: bool
) -> list[tuple[str, Picture]]:
    label = episode.classes[number - 1]
    images = episode.supports[label]
    inner = frame.half if len(images) > 1 else frame
    shown = []
    for image_id in images[:MOST_SUPPORTS]:
        labels = [dataset.mask(image_id) == label] if masks else []
        photo, small = shrunk(read_image(dataset.image(image_id)), 2 * inner.side, *labels)
        shown.append((image_id, picture(overlay(photo, small[0] * number) if masks else photo, inner)))
    return shown


def _truth(photo: Image8, truth: NDArray[Any]) -> Image8:
    drawn = overlay(photo, np.maximum(truth, 0))
    void = truth < 0
    drawn[void] = (drawn[void] * (1 - VOID_OPACITY) + np.array(VOID_COLOUR) * VOID_OPACITY).astype(np.uint8)
    return drawn


def shrunk(image: Image8, side: int, *labels: NDArray[Any]) -> tuple[Image8, list[NDArray[np.int32]]]:
    """An image and label maps of its size, at most `side` pixels long; labels keep their values."""
    height, width = image.shape[:2]
    scale = min(1.0, side / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = [
        np.asarray(cv2.resize(one.astype(np.int32), size, interpolation=cv2.INTER_NEAREST), np.int32) for one in labels
    ]
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8), small

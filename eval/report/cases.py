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
from eval.report.html import Html, element
from eval.report.parts import Frame, case, key_to_colours, picture
from eval.tables.table import percent
from fewshot_seg.datasets import SegmentationDataset
from fewshot_seg.episodes.episode import Episode
from fewshot_seg.imaging.decode import read_image
from fewshot_seg.imaging.render import class_colour, heat_map, overlay, seed_map
from fewshot_seg.segmentation.results import Segmentation

__all__ = ["MOST_SUPPORTS", "VOID_COLOUR", "Drawn", "draw_case", "frame_for", "shrunk"]

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


def frame_for(episodes: Sequence[Episode], *, steps: bool) -> Frame:
    """Pictures of a size that lets all of these episodes' pictures together stay within `BUDGET`."""
    pictures = 0.0
    for one in episodes:
        supports = sum(min(len(images), MOST_SUPPORTS) for images in one.supports.values())
        small = supports > len(one.classes)
        pictures += 3 + supports * (0.25 if small else 1) + 2 * len(one.classes) * steps
    return Frame(limit=int(BUDGET / max(pictures, 1)))


def draw_case(drawn: Drawn, dataset: SegmentationDataset, frame: Frame, *, masks: bool, anchor: str | None) -> Html:
    """The episode's article.

    Args:
        drawn: the episode.
        dataset: where it is from.
        frame: of a picture.
        masks: the supports' masks were given, and are drawn.
        anchor: its id.

    Raises:
        ImageError, DataError: an image or mask can't be read.
    """
    episode, score = drawn.episode, drawn.score
    names = [dataset.class_names[label - 1] for label in episode.classes]
    facts: list[object] = [_class_facts(names, score), f"episode {episode.index}", f"query {episode.query}"]
    heading = f"IoU {percent(None if np.isnan(score.miou) else score.miou)} %"
    return case(anchor, heading, facts, _cells(drawn, dataset, names, frame, masks))


def _class_facts(names: Sequence[str], score: EpisodeScore) -> Html:
    if len(names) == 1:
        return element("bdi", names[0])
    colours = {f"{name} {percent(score.class_ious.get(name))}": class_colour(n) for n, name in enumerate(names, 1)}
    return key_to_colours(colours)


def _cells(drawn: Drawn, dataset: SegmentationDataset, names: Sequence[str], frame: Frame, masks: bool) -> list[Html]:
    episode = drawn.episode
    whole = episode_truth(dataset.mask(episode.query), episode.classes)
    image = read_image(dataset.image(episode.query))
    photo, (truth, prediction) = shrunk(image, 2 * frame.side, whole, drawn.prediction)
    columns = iter(("k3", "k4") if drawn.steps is None else ("k5", "k6"))
    last = [
        picture(
            overlay(photo, prediction), _outcome("prediction", prediction, names), frame, "prediction", next(columns)
        ),
        picture(_truth(photo, truth), _outcome("truth", truth, names), frame, "truth", next(columns)),
    ]
    query = picture(photo, f"query {episode.query}", frame, "query", "k2")
    cells: list[Html] = []
    for number, name in enumerate(names):
        cells.append(_supports(drawn, dataset, number, frame, masks))
        cells += [query] if number == 0 else []
        cells += _steps(drawn.steps, number, name, photo, frame)
        cells += last if number == 0 else []
    return cells


def _supports(drawn: Drawn, dataset: SegmentationDataset, number: int, frame: Frame, masks: bool) -> Html:
    label = drawn.episode.classes[number]
    images, name = drawn.episode.supports[label], dataset.class_names[label - 1]
    several = len(images) > 1
    inner = frame.half if several else frame
    shown = []
    for image_id in images[:MOST_SUPPORTS]:
        photo, _ = shrunk(read_image(dataset.image(image_id)), 2 * inner.side)
        if masks:
            photo, (mask,) = shrunk(
                read_image(dataset.image(image_id)), 2 * inner.side, dataset.mask(image_id) == label
            )
            photo = overlay(photo, mask * (number + 1))
        caption = "" if several else element("span", element("b", element("bdi", name)), f" support {image_id}")
        shown.append(picture(photo, f"support for {name}: {image_id}", inner, caption, "" if several else "k1"))
    if not several:
        return shown[0]
    rest = f", {MOST_SUPPORTS} of them" if len(images) > MOST_SUPPORTS else ""
    told = element("p", element("b", element("bdi", name)), f" {len(images)} supports{rest}")
    return element("div", *shown, told, class_="several k1")


def _steps(steps: Segmentation | None, number: int, name: str, photo: Image8, frame: Frame) -> list[Html]:
    if steps is None:
        return []
    found = steps.objects[number]
    heat, seeds = heat_map(photo, found.attention_map), seed_map(photo, found.trimap)
    return [
        picture(heat, f"attention to {name}", frame, element("span", "attention to ", element("bdi", name)), "k3"),
        picture(seeds, f"trimap of {name}", frame, "trimap", "k4"),
    ]


def _truth(photo: Image8, truth: NDArray[Any]) -> Image8:
    drawn = overlay(photo, np.maximum(truth, 0))
    void = truth < 0
    drawn[void] = (drawn[void] * (1 - VOID_OPACITY) + np.array(VOID_COLOUR) * VOID_OPACITY).astype(np.uint8)
    return drawn


def _outcome(what: str, labels: NDArray[Any], names: Sequence[str]) -> str:
    shares = [
        f"{name} {100 * float((labels == number).mean()):.0f} % of the image" for number, name in enumerate(names, 1)
    ]
    return f"{what}: {', '.join(shares)}"


def shrunk(image: Image8, side: int, *labels: NDArray[Any]) -> tuple[Image8, list[NDArray[np.int32]]]:
    """An image and label maps of its size, at most `side` pixels long; labels keep their values."""
    height, width = image.shape[:2]
    scale = min(1.0, side / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = [
        np.asarray(cv2.resize(one.astype(np.int32), size, interpolation=cv2.INTER_NEAREST), np.int32) for one in labels
    ]
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8), small

"""The work that grows, by the curve's name: see `growth`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import cv2
import numpy as np
import torch

from eval.bench.setting import Setting, image_files
from fewshot_seg.imaging.export import write_image
from fewshot_seg.imaging.images import read_image
from fewshot_seg.network.embedding import load_embedder
from fewshot_seg.retrieval.exact import top_k
from fewshot_seg.segmentation.segmenter import Segmenter

_DISTINCT: Final = 200  # queries; they come again in turn
_QUERIES, _DIM, _K = 100, 128, 10  # of a search
_FILLED_AT_ONCE: Final = 100_000


def _nothing(amount: int) -> None:
    """Needs no preparation."""


class Work(NamedTuple):
    """What is timed.

    Attributes:
        run: does so much of it.
        ready: what has to be there before, not timed; with rising amounts.
    """

    run: Callable[[int], None]
    ready: Callable[[int], None] = _nothing


def _queries(setting: Setting, folder: Path, most: int) -> Work:
    support, *queries = image_files(setting, min(most, _DISTINCT) + 1, folder)
    segmenter = Segmenter(load_embedder(setting.weights, setting.device))
    prepared = segmenter.prepare(support)

    def run(amount: int) -> None:
        stream = itertools.islice(itertools.cycle(queries), amount)
        for _ in segmenter.segment_many(stream, prepared):
            pass

    return Work(run)


def _classes(setting: Setting, folder: Path, most: int) -> Work:
    query, *supports = image_files(setting, most + 1, folder)
    segmenter = Segmenter(load_embedder(setting.weights, setting.device))
    named = {f"class {place}": support for place, support in enumerate(supports)}
    return Work(lambda amount: _done(segmenter.segment(query, dict(itertools.islice(named.items(), amount)))))


def _shots(setting: Setting, folder: Path, most: int) -> Work:
    query, *supports = image_files(setting, most + 1, folder)
    segmenter = Segmenter(load_embedder(setting.weights, setting.device))
    return Work(lambda amount: _done(segmenter.segment(query, supports[:amount])))


def _side(setting: Setting, folder: Path, most: int) -> Work:
    query, support = image_files(setting, 2, folder)
    segmenter = Segmenter(load_embedder(setting.weights, setting.device))
    prepared = segmenter.prepare(support)
    image = read_image(query)

    def path_of(amount: int) -> Path:
        return folder / f"side-{amount}.jpg"

    def ready(amount: int) -> None:
        write_image(path_of(amount), np.asarray(cv2.resize(image, (amount, amount), interpolation=cv2.INTER_CUBIC)))

    return Work(lambda amount: _done(segmenter.segment(path_of(amount), prepared)), ready)


def _gallery(setting: Setting, folder: Path, most: int) -> Work:
    generator = torch.Generator().manual_seed(0)
    queries = torch.nn.functional.normalize(torch.randn(_QUERIES, _DIM, generator=generator), dim=1)
    gallery = torch.empty(most, _DIM)  # takes memory as it is filled
    filled = 0

    def ready(amount: int) -> None:
        nonlocal filled
        for start in range(filled, amount, _FILLED_AT_ONCE):
            part = gallery[start : min(start + _FILLED_AT_ONCE, amount)]
            part.normal_(generator=generator)
            part /= part.norm(dim=1, keepdim=True)
        filled = max(filled, amount)

    return Work(lambda amount: _done(top_k(queries, gallery[:amount], _K)), ready)


def _done(result: object) -> None:
    """A result that nobody needs."""


WORKS: Final[Mapping[str, Callable[[Setting, Path, int], Work]]] = {
    "queries": _queries,
    "classes": _classes,
    "shots": _shots,
    "side": _side,
    "gallery": _gallery,
}
"""Curve's name -> its work, for a setting, a folder for files, and the largest amount."""

"""Region search: where the object of an example is, in the scenes of an index.

First the vectors of whole images are compared with the vector of the example's *object*, which gives candidates. Then
each candidate is read and located as the segmenter does it, and ranked by how alike its region and the example's are.
Images that are no candidates are never read.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from fewshot_seg.errors import ConfigError, DataError, FewShotError
from fewshot_seg.imaging.images import read_image, resize_map
from fewshot_seg.matching.features import LAST, FeatureCache, FeatureExtractor, Loaded
from fewshot_seg.matching.locators import EncodedQuery, Example, Located
from fewshot_seg.network.embedding import Embedder
from fewshot_seg.prompts.constraints import apply_to_map
from fewshot_seg.prompts.supports import ClassSupports, as_shots, support_constraints
from fewshot_seg.retrieval.contents import Contents
from fewshot_seg.retrieval.exact import TopK
from fewshot_seg.retrieval.hits import Hits
from fewshot_seg.retrieval.likeness import pooled_region, region_likeness, region_vectors, shared_evidence
from fewshot_seg.retrieval.sources import Failure
from fewshot_seg.segmentation.choice import choose_locator
from fewshot_seg.segmentation.cutter import Cutter, Target
from fewshot_seg.segmentation.options import SegmenterOptions
from fewshot_seg.streams import Track, in_batches, ordered_map, worker_pool

CANDIDATES = 50

_FINER = 8  # cells of a map's grid are divided by this a side before its box is read off
_INSIDE = 0.5  # of a map's largest value
_WORKERS = 2  # threads that read: images in memory beside the batch

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class RegionHit:
    """A region that was found.

    Attributes:
        path: its image's, as it was given when it was indexed.
        score: likeness to the example's object, in [0, 1]; for ranking, no probability.
        box: (x, y, w, h) in pixels of the image as a viewer shows it: where the map is at least half its largest value.
        row: the image's number in the index as it was then.
        columns: what else is known of it.
        location: where its file is now.
        map: (h, w) float32 in [0, 1]: where the object is, on a small grid.
        size: (H, W) of the image.
    """

    path: str
    score: float
    box: tuple[int, int, int, int]
    row: int
    columns: Mapping[str, str]
    location: str
    map: NDArray[np.float32] = field(repr=False)
    size: tuple[int, int]
    _cut: Callable[[RegionHit], NDArray[np.bool_]] = field(repr=False)

    def mask(self) -> NDArray[np.bool_]:
        """(H, W) bool: the region cut out at the image's native size, computed now, as the segmenter does it.

        Raises:
            ImageError: the image's file can't be read any more.
        """
        return self._cut(self)


class Wanted(NamedTuple):
    """Examples, encoded.

    Attributes:
        state: the locator's.
        vector: (D,) of unit norm, of their object.
        region: (1,C), the last map averaged over their object.
    """

    state: object
    vector: Tensor
    region: Tensor


class Scored(NamedTuple):
    """An image that was looked at: its row in the index, and as in `RegionHit`."""

    row: int
    score: float
    located: Located
    size: tuple[int, int]


class RegionSearcher:
    """Finds the object of examples in the images of an index. Results don't depend on the batch size or the threads.

    Args:
        contents: the index's.
        embedder: its own; it is put in eval mode.
        search_vectors: (Q,D) vectors and k -> the best rows; exact, or a backend's.
        options: of the segmenter; None means the defaults. Every region is cut, however unsure (`always`).
        cache: keeps what the network says of images, for searches that meet the same ones.

    Raises:
        ConfigError, CheckpointError: as `Segmenter`.
    """

    def __init__(
        self,
        contents: Contents,
        embedder: Embedder,
        search_vectors: Callable[[Tensor, int], TopK],
        options: SegmenterOptions | None = None,
        cache: FeatureCache | None = None,
    ) -> None:
        self._contents = contents
        self._search_vectors = search_vectors
        self._embedder = embedder.eval()
        self._options = replace(options or SegmenterOptions(), always=True)
        choice = choose_locator(embedder, self._options)
        self._locator = choice.locator
        self._extractor = FeatureExtractor(embedder, cache, choice.matcher, choice.layers)
        self._cutter = Cutter(self._options, str(embedder.device))

    @torch.inference_mode()
    def prepare(self, supports: ClassSupports) -> Wanted:
        """Encode the examples of an object; what is known of one (see `Support`) is used.

        Raises:
            DataError: no example, or a bad mask. ImageError, ShapeError: one can't be read.
        """
        shots = as_shots(supports)
        if not shots:
            raise DataError("no example was given; give at least one image")
        loaded = [self._extractor.load(shot.image, pixels=False) for shot in shots]
        constraints = [support_constraints(shot, one.size) for shot, one in zip(shots, loaded, strict=True)]
        features = [one for batch in in_batches(loaded, 8) for one in self._extractor.features(batch)]
        examples = [Example(one, known) for one, known in zip(features, constraints, strict=True)]
        state = self._locator.prepare([examples])
        # Located in itself, an example shows what of it is meant, told or not.
        soft = torch.stack([self._soft(self._find(one, state)) for one in examples])
        maps = torch.stack([one.maps[LAST] for one in features])
        vectors = region_vectors(self._embedder, maps, soft)
        vector = F.normalize(vectors.float().mean(0), dim=0)
        return Wanted(state, vector, pooled_region(maps, soft).mean(0, keepdim=True))

    def candidates(self, wanted: Wanted, count: int) -> list[int]:
        """Rows of the `count` images whose vectors are most like the object's, best first."""
        found: list[int] = self._search_vectors(wanted.vector[None], count).rows[0].tolist()
        return found

    def search(
        self,
        supports: ClassSupports | Wanted,
        k: int = 10,
        *,
        candidates: int = CANDIDATES,
        batch_size: int = 8,
        workers: int = _WORKERS,
        progress: Track | None = None,
        on_failure: Callable[[Failure], None] | None = None,
    ) -> Hits[RegionHit]:
        """The k regions most like the examples' object, best first; of equal ones, the image that comes first.

        Args:
            supports: an image or several of the same object, or `Support`s, of which something is known; or what
                `prepare` gave.
            k: how many hits at most, >= 1.
            candidates: how many images are looked at; at least k are.
            batch_size: candidates in the network at a time.
            workers: threads that read.
            progress: shows it: (items, total, what) -> the items.
            on_failure: called for each candidate whose file can't be read any more; it is left out. None logs it.

        Raises:
            ConfigError: a number below 1. DataError, ImageError, ShapeError: as `prepare`.
        """
        if not all(type(one) is int and one >= 1 for one in (k, candidates, batch_size, workers)):
            raise ConfigError(f"k {k}, candidates {candidates}, batch size and workers must be whole numbers from 1 up")
        wanted = supports if isinstance(supports, Wanted) else self.prepare(supports)
        rows = self.candidates(wanted, max(k, candidates))
        found = self.look_at(rows, wanted, batch_size, workers, on_failure)
        shown = found if progress is None else progress(found, len(rows), "looking for the object")
        best = sorted((one for one in shown if one is not None), key=lambda one: (-one.score, one.row))[:k]
        return Hits(self._hit(one) for one in best)

    def look_at(
        self,
        rows: Iterable[int],
        wanted: Wanted,
        batch_size: int = 8,
        workers: int = _WORKERS,
        on_failure: Callable[[Failure], None] | None = None,
    ) -> Iterator[Scored | None]:
        """Each image's region and how alike it is, in order; None in place of one that can't be read."""
        tell = on_failure or (lambda failure: _log.warning("%s", failure.error))
        with worker_pool(workers, self._options.threads) as pool:
            read = ordered_map(pool, self._read, rows, ahead=batch_size + workers)
            for batch in in_batches(read, batch_size):
                yield from self._look(batch, wanted, tell)

    def _read(self, row: int) -> tuple[int, Loaded | Failure]:
        location = self._contents.locate(self._contents.row(row))
        try:
            return row, self._extractor.load(location, pixels=False)
        except FewShotError as error:
            return row, Failure(location, str(error))

    @torch.inference_mode()
    def _look(
        self, batch: Sequence[tuple[int, Loaded | Failure]], wanted: Wanted, tell: Callable[[Failure], None]
    ) -> list[Scored | None]:
        loaded = [one for _, one in batch if isinstance(one, Loaded)]
        features = iter(self._extractor.features(loaded) if loaded else [])
        results: list[Scored | None] = []
        for row, one in batch:
            if isinstance(one, Failure):
                tell(one)
                results.append(None)
                continue
            example = Example(next(features))
            located = self._find(example, wanted.state)
            results.append(Scored(row, self._score(example, located, wanted), located, one.size))
        return results

    def _score(self, example: Example, located: Located, wanted: Wanted) -> float:
        """How alike an image's region and the wanted one are; each image alone, so that no batch changes a bit."""
        feature_map, soft = example.features.maps[LAST][None], self._soft(located)[None]
        vector = region_vectors(self._embedder, feature_map, soft).float()
        evidence = None
        if (classifier := self._embedder.classifier) is not None:
            evidence = shared_evidence(classifier.weight, pooled_region(feature_map, soft), wanted.region)
        return float(region_likeness(vector, wanted.vector, evidence)[0])

    def _find(self, example: Example, state: object) -> Located:
        """Where an image shows the object, what is known of it told."""
        found = self._locator.locate(EncodedQuery(example.features, (example.constraints,)), state)
        if example.constraints is None:
            return found
        return found._replace(maps=apply_to_map(found.maps[0], example.constraints)[None])

    def _soft(self, located: Located) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(located.maps[0])).to(self._embedder.device)

    def _hit(self, one: Scored) -> RegionHit:
        row, map_ = self._contents.row(one.row), one.located.maps[0]
        box, cut = region_box(map_, one.size), partial(self._cut, one.located)
        location = self._contents.locate(row)
        return RegionHit(row.path, one.score, box, one.row, row.columns, location, map_, one.size, cut)

    def _cut(self, located: Located, hit: RegionHit) -> NDArray[np.bool_]:
        target = Target(hit.location, read_image(hit.location), located, (None,))
        return self._cutter.cut(target, ("object",)).mask


def region_box(map_: NDArray[np.float32], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The box (x, y, w, h) of where a map is at least half its largest value, in whole pixels of an image.

    Args:
        map_: (h, w) in [0, 1]; one of zeros means the whole image.
        size: (H, W) of the image.
    """
    height, width = size
    fine = resize_map(map_, (map_.shape[0] * _FINER, map_.shape[1] * _FINER))
    inside = fine >= _INSIDE * fine.max()
    down, across = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    top, bottom = int(down[0] * height / fine.shape[0]), -int(-(down[-1] + 1) * height // fine.shape[0])
    left, right = int(across[0] * width / fine.shape[1]), -int(-(across[-1] + 1) * width // fine.shape[1])
    return left, top, right - left, bottom - top

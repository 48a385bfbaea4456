"""`Index`: a collection of images by their embeddings, that can be searched."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, cast

import numpy as np
from torch import Tensor

from fewshot_seg.errors import FewShotError
from fewshot_seg.features import FeatureCache
from fewshot_seg.images import ImageInput
from fewshot_seg.options import SegmenterOptions
from fewshot_seg.retrieval.collection import Collection
from fewshot_seg.retrieval.duplicates import Group, blocks, group_rows
from fewshot_seg.retrieval.exact import TopK, top_k
from fewshot_seg.retrieval.ingest import Options, Track
from fewshot_seg.retrieval.regions import CANDIDATES, RegionHit, RegionSearcher
from fewshot_seg.retrieval.search import Combine, Hit, Searcher
from fewshot_seg.retrieval.sources import Failure
from fewshot_seg.retrieval.summary import summary
from fewshot_seg.supports import ClassSupports

__all__ = ["Index"]


class Index(Collection):
    """Images by their embeddings: `build` or `load` one, `search` it, change it; see `Collection`.

    index = fs.Index.build("photos/", out="photos.index")
    for hit in fs.Index.load("photos.index").search("query.jpg", k=5):
        print(hit.path, hit.score)
    """

    def search(
        self,
        query: ImageInput | Sequence[ImageInput],
        k: int = 10,
        *,
        threshold: float | None = None,
        box: Sequence[float] | None = None,
        unlike: Sequence[ImageInput] = (),
        combine: Combine = "average",
    ) -> list[Hit]:
        """The images most like the query, best first; the query itself is one if it is in the index.

        Args:
            query: an image, or several of the same thing.
            k: how many hits at most, >= 1.
            threshold: cosine below which an image is no hit.
            box: (x, y, w, h) in pixels: what of the (one) query is meant.
            unlike: images of what is not meant.
            combine: of several images, search with the "average", or for whatever is like "any" of them.

        Raises:
            ImageError: the query can't be read. ConfigError: impossible options.
            CheckpointError: the index's embedder can't be loaded.
        """
        return Searcher(self._contents, self.embedder, self.search_vectors).search(
            query, k, threshold, box, unlike, combine
        )

    def search_each(
        self,
        queries: Iterable[ImageInput],
        k: int = 10,
        *,
        threshold: float | None = None,
        unlike: Sequence[ImageInput] = (),
        workers: int | None = None,
        batch_size: int = 16,
    ) -> Iterator[list[Hit] | FewShotError]:
        """The hits of each of any number of queries, in order, as `search` gives them; read ahead, in flat memory.

        Yields:
            A query's hits; for one that can't be read, its error in their place.

        Raises:
            ConfigError, CheckpointError, ImageError: as `search`, the last for an image of `unlike`.
        """
        options = Options(workers, batch_size)
        searcher = Searcher(self._contents, self.embedder, self.search_vectors)
        return searcher.search_each(queries, k, threshold, unlike, options.batch_size, options.threads)

    def search_regions(
        self,
        supports: ClassSupports,
        k: int = 10,
        *,
        candidates: int = CANDIDATES,
        progress: Track | None = None,
        on_failure: Callable[[Failure], None] | None = None,
    ) -> list[RegionHit]:
        """The regions of the index's images that are most like the object of an example, best first.

        Args and Raises: as `regions.RegionSearcher.search`, which `region_searcher` gives for many searches.
        """
        searcher = self.region_searcher()
        return searcher.search(supports, k, candidates=candidates, progress=progress, on_failure=on_failure)

    def region_searcher(
        self, options: SegmenterOptions | None = None, cache: FeatureCache | None = None
    ) -> RegionSearcher:
        """What `search_regions` searches with, for any number of searches.

        Args:
            options: how objects are located and cut; None means the defaults.
            cache: keeps what the network says of images, for searches that meet the same ones.
        """
        return RegionSearcher(self._contents, self.embedder, self.search_vectors, options, cache)

    def search_vectors(self, vectors: Tensor, k: int) -> TopK:
        """The k rows of the index with the largest inner products with each of Q vectors (Q,D).

        Returns:
            Scores (Q, min(k, N)) float32 and rows (Q, min(k, N)) int64, best first, the lower row first among equals.
        """
        return top_k(vectors, cast(np.ndarray, self.vectors), k)  # has all of an array that is needed

    def info(self) -> dict[str, Any]:
        """The index in numbers and names; see `summary`."""
        return summary(self._contents)

    def duplicates(self, threshold: float = 0.98, *, progress: Track | None = None) -> list[Group]:
        """Groups of images with cosines of at least `threshold`, chained; see `group_rows`.

        Raises:
            ConfigError: an impossible threshold.
        """
        places = blocks(len(self))
        track = Options(progress=progress).track(places, len(places), "comparing")
        return group_rows(self.vectors, threshold, places=track)

"""`Index`: a collection of images by their embeddings, that can be searched."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, cast

import numpy as np
from torch import Tensor

from fewshot_seg.errors import FewShotError
from fewshot_seg.imaging.images import ImageInput
from fewshot_seg.matching.features import FeatureCache
from fewshot_seg.prompts.supports import ClassSupports
from fewshot_seg.retrieval.accelerators import Accelerator, accelerate, check_kind, fingerprint, open_backend, proposals
from fewshot_seg.retrieval.backends import EXACT, Backend, Kind, rescored
from fewshot_seg.retrieval.collection import Collection
from fewshot_seg.retrieval.contents import Contents, summary
from fewshot_seg.retrieval.duplicates import Group, blocks, group_rows
from fewshot_seg.retrieval.exact import TopK, top_k
from fewshot_seg.retrieval.hits import Hits
from fewshot_seg.retrieval.ingest import Options
from fewshot_seg.retrieval.regions import CANDIDATES, RegionHit, RegionSearcher
from fewshot_seg.retrieval.search import Combine, Hit, Searcher
from fewshot_seg.retrieval.sources import Failure
from fewshot_seg.segmentation.options import SegmenterOptions
from fewshot_seg.streams import Track


class Index(Collection):
    """Images by their embeddings: `build` or `load` one, `search` it, change it; see `Collection`.

    index = fs.Index.build("photos/", out="photos.index")
    for hit in fs.Index.load("photos.index").search("query.jpg", k=5):
        print(hit.path, hit.score)
    """

    _backend: tuple[Kind, Contents, Backend] | None = None  # with the state that it is of

    def search(
        self,
        query: ImageInput | Sequence[ImageInput],
        k: int = 10,
        *,
        threshold: float | None = None,
        box: Sequence[float] | None = None,
        unlike: Sequence[ImageInput] = (),
        combine: Combine = "average",
    ) -> Hits[Hit]:
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
    ) -> Iterator[Hits[Hit] | FewShotError]:
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
    ) -> Hits[RegionHit]:
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
        return RegionSearcher(self._contents, self.whole_embedder, self.search_vectors, options, cache)

    def search_vectors(self, vectors: Tensor, k: int) -> TopK:
        """The k rows of the index with the largest inner products with each of Q vectors (Q,D).

        Returns:
            Scores (Q, min(k, N)) float32 and rows (Q, min(k, N)) int64, best first, the lower row first among equals.
        """
        backend = self._current_backend()
        if backend is None or k >= len(self):
            return top_k(vectors, cast(np.ndarray, self.vectors), k)  # has all of an array that is needed
        rows = proposals(backend, vectors.detach().float().cpu().numpy(), k, len(self))
        found = rescored(vectors, self.vectors, rows, min(k, rows.shape[1]))
        if found.rows.shape[1] < k or bool((found.rows < 0).any()):  # it gave too few
            return top_k(vectors, cast(np.ndarray, self.vectors), k)
        return found

    def accelerate(
        self, kind: str, *, uri: str | None = None, threads: int | None = None, progress: Track | None = None
    ) -> Accelerator:
        """Make an approximate backend for this index, in its folder, and search with it from here on.

        The exact vectors stay the truth: scores are always theirs. After a change to the index the backend is refused
        until it is made again.

        Args:
            kind: "faiss-flat", "faiss-ivfpq", "faiss-hnsw" (extra `faiss`) or "milvus" (extra `milvus`).
            uri: of a Milvus server or cluster; None is a file in the index's folder.
            threads: of FAISS; by one thread an HNSW graph is always the same.
            progress: shows it.

        Returns:
            What was made, with its recall against exact search.

        Raises:
            ConfigError: an index in memory, an unknown kind, a library that isn't installed, Milvus out of reach.
            OutputError: it can't be written.
        """
        known = check_kind(kind)
        made = accelerate(self._contents, known, Options(progress=progress).track, uri, threads)
        self.use_backend(known)
        return made

    def use_backend(self, kind: str) -> None:
        """Search by "exact" search, or by one of the kinds that `accelerate` has made.

        Raises:
            ConfigError: it was not made, or the index has changed since. DataError: its file is damaged.
        """
        known = None if kind == EXACT else check_kind(kind)
        self._backend = None if known is None else (known, self._contents, open_backend(self._contents, known))

    def _current_backend(self) -> Backend | None:
        if self._backend is None:
            return None
        kind, contents, backend = self._backend
        if contents is not self._contents and fingerprint(contents) != fingerprint(self._contents):
            self.use_backend(kind)  # refuses it, unless another process has made it again
            return self._current_backend()
        return backend

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

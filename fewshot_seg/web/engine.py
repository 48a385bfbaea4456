"""What the interface does with the engine: segmentation, registered supports, search and explanation. No HTTP here."""

from __future__ import annotations

from base64 import b64encode
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from queue import Empty, SimpleQueue
from secrets import token_hex
from threading import Lock, Thread
from time import monotonic
from typing import Any, Final

from fewshot_seg.commands.explain import attention_of
from fewshot_seg.commands.results import objects_of
from fewshot_seg.errors import DataError, FewShotError
from fewshot_seg.imaging.images import load_batch, read_image
from fewshot_seg.matching.files import AUTO, NONE, packaged_names
from fewshot_seg.network.embedding import Embedder
from fewshot_seg.prompts.supports import Support
from fewshot_seg.retrieval.index import Index
from fewshot_seg.segmentation.options import SegmenterOptions
from fewshot_seg.segmentation.prepared import Prepared
from fewshot_seg.segmentation.segmenter import Segmenter
from fewshot_seg.web.jobs import progress
from fewshot_seg.web.pictures import grey_png
from fewshot_seg.web.refusals import BAD, BAD_OPTIONS, MISSING, RefusalError

_REGISTERED: Final = 64  # sets of supports that are kept; the one that was used longest ago goes first
_SEGMENTERS: Final = 8
_MOST_HITS: Final = 1000
_PNG: Final = "data:image/png;base64,"


class Engine:
    """One embedder for all clients.

    Args:
        embedder: of every segmentation.
        options: of the segmenter, where a request says nothing else.
        indexes: name -> folder.

    Raises:
        FewShotError: an index can't be opened.
    """

    def __init__(self, embedder: Embedder, options: SegmenterOptions, indexes: dict[str, Path]) -> None:
        self.embedder = embedder
        self.options = options
        self._indexes = {name: Index.load(folder) for name, folder in indexes.items()}
        self._supports: OrderedDict[str, tuple[Segmenter, Prepared]] = OrderedDict()
        self._lock = Lock()
        self.segmenter = lru_cache(_SEGMENTERS)(lambda options: Segmenter(embedder, options))

    def register(self, supports: dict[str, list[Support]], options: SegmenterOptions) -> str:
        """Prepare supports once; the id by which they are known from now on."""
        segmenter = self.segmenter(options)
        ready = segmenter.prepare(supports)
        name = token_hex(8)
        with self._lock:
            self._supports[name] = segmenter, ready
            while len(self._supports) > _REGISTERED:
                self._supports.popitem(last=False)
        return name

    def registered(self, name: str) -> tuple[Segmenter, Prepared]:
        """Supports by their id. RefusalError with 404: there are none."""
        with self._lock:
            if name not in self._supports:
                raise RefusalError(MISSING, f"there are no supports {name!r}: register them again")
            self._supports.move_to_end(name)
            return self._supports[name]

    def forget(self, name: str) -> None:
        """Forget registered supports. RefusalError with 404: there are none."""
        self.registered(name)
        with self._lock:
            self._supports.pop(name, None)

    def segment(
        self, queries: Sequence[tuple[str, Path]], ready: Callable[[], tuple[Segmenter, Prepared]]
    ) -> Iterator[dict[str, Any]]:
        """First {"classes": [...]}, then an entry for each query (name, file), in order, as results.json has them."""
        segmenter, prepared = ready()
        yield {"classes": list(prepared.classes)}
        outcomes = segmenter.segment_many((path for _, path in queries), prepared, on_error="yield")
        for (name, path), outcome in zip(queries, outcomes, strict=True):
            if isinstance(outcome, FewShotError):
                yield {"name": name, "size": None, "error": str(outcome).replace(str(path), name), "objects": []}
            else:
                size = [int(side) for side in outcome.size]
                yield {"name": name, "size": size, "error": None, "objects": objects_of(outcome)}

    # Search

    def indexes(self) -> list[dict[str, Any]]:
        """Name and number of images of each."""
        return [{"name": name, "images": len(index)} for name, index in self._indexes.items()]

    def index(self, name: str) -> Index:
        """An index by its name. RefusalError with 404: there is none."""
        if name not in self._indexes:
            known = ", ".join(self._indexes) or "none"
            raise RefusalError(MISSING, f"there is no index {name!r}; known: {known}")
        return self._indexes[name]

    def build(self, name: str, source: Path, out: Path) -> Iterator[dict[str, Any]]:
        """Build an index of a folder; {"done", "total", "seconds_left"} on the way, and last {"finished": True, ...}.

        Closing the iterator ends the work; what is finished is kept, and the same call goes on from there.
        """
        told: SimpleQueue[dict[str, Any] | FewShotError | None] = SimpleQueue()
        thread = Thread(target=self._build, args=(name, source, out, told, (stop := [False])), daemon=True)
        thread.start()
        try:
            while (one := _next(told, thread)) is not None:
                if isinstance(one, FewShotError):
                    raise one
                yield one
        finally:
            stop[0] = True
        yield {"finished": True, "name": name, "images": len(self.index(name))}

    def _build(self, name: str, source: Path, out: Path, told: SimpleQueue[Any], stop: list[bool]) -> None:
        def track(items: Any, total: int, what: str) -> Iterator[Any]:
            start = monotonic()
            for done, item in enumerate(items, start=1):
                if stop[0]:
                    raise DataError("the build was cancelled")
                yield item
                told.put(progress(done, total, start))

        try:
            self._indexes[name] = Index.build([str(source)], self.embedder, out, progress=track)
            told.put(None)
        except FewShotError as error:
            told.put(error)

    def search(self, name: str, query: Path, k: int, box: Sequence[float] | None) -> list[dict[str, Any]]:
        """The hits, best first. RefusalError: k is out of its range."""
        index = self.index(name)
        if not 1 <= k <= _MOST_HITS:
            raise RefusalError(BAD, f"k {k}: must be 1 to {_MOST_HITS}")
        hits = index.search(query, k, box=box)
        return [
            {
                "name": Path(hit.path).name,
                "score": round(hit.score, 6),
                "image": f"/api/indexes/{name}/images/{hit.row}",
            }
            for hit in hits
        ]

    def image_of(self, name: str, row: int) -> str:
        """The file of an index's image. RefusalError with 404: there is none."""
        index = self.index(name)
        if not 0 <= row < len(index):
            raise RefusalError(MISSING, f"index {name!r} has no image {row}")
        return index.location(row)

    def explain(self, images: Sequence[tuple[str, str | Path]], index: str | None) -> dict[str, Any]:
        """Why 2 to 4 images (name, file) are alike: cosines, and where they come from.

        Args:
            images: a pair; or an anchor, its positive, and one or two negatives.
            index: whose embedder explains, where images are hits of an index.
        """
        if not 2 <= len(images) <= 4:
            raise RefusalError(BAD, f"2 to 4 images can be explained together, not {len(images)}")
        embedder = self.embedder if index is None else self.index(index).embedder
        pixels = [read_image(path) for _, path in images]
        maps, cosines = attention_of(embedder, load_batch(pixels, embedder))
        shown = [
            {"name": name, "size": list(image.shape[:2]), "heat": _PNG + b64encode(grey_png(map_)).decode()}
            for (name, _), image, map_ in zip(images, pixels, maps, strict=True)
        ]
        return {"similarity": [[round(value, 6) for value in row] for row in cosines], "images": shown}


def parsed_options(values: object, base: SegmenterOptions) -> SegmenterOptions:
    """Options of a request, over the server's own. RefusalError with 422."""
    try:
        if not isinstance(values, dict):
            raise DataError(f"options are a JSON object, not {type(values).__name__}")
        changed = SegmenterOptions.from_dict(asdict(base) | values)
        known = (base.matcher, AUTO, NONE, *packaged_names())  # no file that a client names is read
        if changed.matcher not in known:
            raise DataError(f"matcher {changed.matcher!r}: choose {', '.join(known)}")
        if changed.refine_weights not in (None, base.refine_weights):
            raise DataError("refine_weights: is the server's own; it is named when the server is started")
        return replace(changed, threads=base.threads)
    except FewShotError as error:
        raise RefusalError(BAD_OPTIONS, str(error)) from error


def _next(told: SimpleQueue[Any], thread: Thread) -> Any:
    while True:
        try:
            return told.get(timeout=1)
        except Empty:
            if not thread.is_alive():
                raise DataError(
                    "the build ended by an error of the program; its cause is on the server's terminal"
                ) from None

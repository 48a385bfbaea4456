"""`fewshot-seg search --regions`: the object of each query inside the images of an index, as boxes, masks, overlays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fewshot_seg.commands.console import complain, tracked
from fewshot_seg.commands.hints import Box, parse_box
from fewshot_seg.commands.outputs import output_stems
from fewshot_seg.commands.result_files import mask_name, overlay_name
from fewshot_seg.commands.searching import Answer, Query, SearchRequest
from fewshot_seg.errors import ConfigError, DataError, FewShotError
from fewshot_seg.imaging.decode import read_image
from fewshot_seg.imaging.export import make_folder, write_image, write_json, write_label_png
from fewshot_seg.imaging.geometry import encode_rle
from fewshot_seg.imaging.render import overlay
from fewshot_seg.prompts.supports import Support
from fewshot_seg.retrieval.index import Index
from fewshot_seg.retrieval.regions import CANDIDATES, RegionHit, RegionSearcher


def check_regions(
    regions: bool, candidates: int | None, out: Path | None, explain: Path | None, request: SearchRequest
) -> None:
    """Check that options go together. ConfigError: what is for regions without --regions, or with it what is not."""
    if not regions and (candidates is not None or out is not None):
        raise ConfigError("--candidates and --out are for --regions; give it, too")
    if regions and (request.unlike or request.combine == "any" or explain is not None):
        raise ConfigError("--regions goes with none of --not, --combine any and --explain; leave them out")


def run_region_search(
    index: Index, queries: Sequence[Query], request: SearchRequest, candidates: int | None
) -> Iterator[Answer]:
    """Each query's answer, in order; one that can't be read has its error in it.

    Raises:
        ConfigError: options that don't go together. ImageError, DataError: one of several queries that are examples of
        the same object can't be read.
    """
    box = None if request.box is None else parse_box("--box", request.box, request.box)
    if box is not None and len(queries) > 1:
        raise ConfigError(f"--box is a part of one QUERY, and there are {len(queries)}; search for them one by one")
    search = partial(_answer, index.region_searcher(), request, candidates or CANDIDATES, box)
    if request.combine is not None:
        for query in queries:
            if query.error is not None:
                raise DataError(query.error)
        paths = tuple(query.path for query in queries)
        yield search(paths, [Support(path, box=box) for path in paths])
        return
    for query in queries:
        try:
            if query.error is not None:
                raise DataError(query.error)
            yield search((query.path,), [Support(query.path, box=box)])
        except FewShotError as error:
            yield Answer((query.path,), error=str(error))


def _answer(
    searcher: RegionSearcher,
    request: SearchRequest,
    candidates: int,
    box: Box | None,
    paths: tuple[str, ...],
    examples: list[Support],
) -> Answer:
    lost: list[str] = []
    hits = searcher.search(
        examples,
        request.k,
        candidates=candidates,
        progress=tracked,
        on_failure=lambda failure: lost.append(failure.error),
    )
    for error in lost:
        complain(error)
    least = -1.0 if request.threshold is None else request.threshold
    return Answer(paths, [hit for hit in hits if hit.score >= least], box=box, lost=len(lost))


@dataclass
class RegionSheets:
    """Writes the regions of each query: DIR/QUERY-RANK-STEM_mask.png and _overlay.jpg, and at the end regions.json.

    Attributes:
        folder: created if need be; None writes nothing.
        lost: candidates so far that could not be read.
    """

    folder: Path | None
    lost: int = 0
    _content: list[dict[str, Any]] = field(default_factory=list)
    _stem: Callable[[str], str] = field(default=lambda path: path)

    def start(self, queries: Sequence[Query]) -> None:
        """Before the first search: give each query a name of its own, and make the folder.

        Raises:
            OutputError: it can't be written.
        """
        if self.folder is not None:
            make_folder(self.folder)
            paths = [query.path for query in queries]
            self._stem = dict(zip(paths, output_stems([Path(path) for path in paths]), strict=True)).__getitem__

    def draw(self, answer: Answer) -> None:
        """Write the masks and overlays of one query's hits. OutputError: one can't be written."""
        self.lost += answer.lost
        if self.folder is None:
            return
        found = []
        total = len(answer.hits)
        for rank, hit in enumerate(tracked(answer.hits, total, "cutting"), start=1):
            stem = f"{self._stem(answer.queries[0])}-{rank:0{len(str(total))}d}-{Path(hit.path).stem}"
            try:
                found.append(_save(self.folder, output_stems([Path(stem + ".x")])[0], hit))
            except FewShotError as error:
                complain(str(error))
        self._content.append({"queries": list(answer.queries), "error": answer.error, "hits": found})

    def finish(self) -> None:
        """Write regions.json. OutputError: it can't be written."""
        if self.folder is not None:
            write_json(self.folder / "regions.json", {"searches": self._content})


def _save(folder: Path, stem: str, hit: RegionHit) -> dict[str, Any]:
    mask = hit.mask()
    labels = mask.astype(np.int32)
    write_label_png(folder / mask_name(stem), labels)
    write_image(folder / overlay_name(stem), overlay(read_image(hit.location), labels))
    return {
        **hit.columns,
        "path": hit.path,
        "score": round(hit.score, 6),
        "bbox": list(hit.box),
        "size": list(hit.size),
        "segmentation": encode_rle(mask),
        "mask": mask_name(stem),
        "overlay": overlay_name(stem),
    }

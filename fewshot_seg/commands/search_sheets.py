"""What a search finds in pictures: queries and hits on a sheet, and why they are alike."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from fewshot_seg.commands.console import complain
from fewshot_seg.commands.hints import Box
from fewshot_seg.commands.outputs import output_stems, refuse_overwriting
from fewshot_seg.commands.searching import Answer, Entry, EntryHit
from fewshot_seg.errors import ConfigError, FewShotError, describe
from fewshot_seg.imaging.decode import read_image
from fewshot_seg.imaging.export import FORMATS, make_folder, write_image
from fewshot_seg.imaging.render import Tile, heat_map, sheet
from fewshot_seg.retrieval.index import Index
from fewshot_seg.retrieval.search import cut_out

SHEET_QUERIES = 40  # more make a picture that no viewer shows
HITS_A_ROW = 5
TILE, WHY_TILE = 200, 260
FRAME, GONE = (30, 100, 220), 225  # round the query; an image that can't be read any more


def write_sheet(path: Path, entries: Sequence[Entry]) -> None:
    """A contact sheet: each query at the left, its hits beside it with rank and score.

    Raises:
        OutputError: it can't be written.
    """
    shown = [entry for entry in entries if entry.error is None][:SHEET_QUERIES]
    if len(shown) < len(entries):
        complain(f"{path}: shows {len(shown)} of {len(entries)} queries", kind="note")
    if not shown:
        return
    rows = [row for entry in shown for row in _rows(entry)]
    write_image(path, sheet(rows, tile=TILE))


class Explainer:
    """Draws for each query why its hits were found: DIR/STEM_explain.jpg; nothing without a folder.

    The folder is created if need be. All queries are told at first, so that each gets a name of its own.

    Raises:
        OutputError: the folder can't be written. ConfigError: a picture would overwrite a query.
    """

    def __init__(self, folder: Path | None, queries: Sequence[str]) -> None:
        self._files: dict[str, Path] = {}
        if folder is not None:
            paths = [Path(query) for query in queries]
            files = [folder / f"{stem}_explain.jpg" for stem in output_stems(paths)]
            refuse_overwriting(files, paths)
            make_folder(folder)
            self._files = dict(zip(queries, files, strict=True))

    @property
    def files(self) -> list[Path]:
        """What will be written, where there are hits."""
        return list(self._files.values())

    def draw(self, answer: Answer) -> None:
        """Write the sheet of one query, if there is a folder and a hit. OutputError: it can't be written."""
        if not self._files or not answer.hits:
            return
        rows = [_why(answer, number) for number in range(len(answer.hits))]
        title = "What makes them alike: similarity attention of query and hit"
        write_image(self._files[answer.queries[0]], sheet(rows, title, tile=WHY_TILE))


def refuse_targets(queries: Sequence[str], index: Path, sheet: Path | None, *others: Path | None) -> None:
    """Check that nothing to be written is a query or lies in the index, and that the sheet's ending is a picture's.

    Args:
        queries: image files.
        index: the index's folder, or one of images that are indexed in memory.
        sheet: a picture.
        others: files and folders that are written, too.

    Raises:
        ConfigError: one is, or isn't.
    """
    if sheet is not None and sheet.suffix.lower() not in FORMATS:
        raise ConfigError(f"--sheet {sheet}: a sheet's name ends in {', '.join(FORMATS)}; choose one of these")
    outputs = [path for path in (sheet, *others) if path is not None]
    refuse_overwriting(outputs, [*(Path(query) for query in queries), index])


def refuse_gallery(index: Index, outputs: Sequence[Path | None]) -> None:
    """Check that no file to be written is an image of the index. ConfigError: one is."""
    there = [path for path in outputs if path is not None and path.exists()]
    if there:
        refuse_overwriting(there, (Path(index.location(row)) for row in range(len(index))))


def _rows(entry: Entry) -> list[list[Tile | None]]:
    """The query and its first hits, then the others with the query's place left free."""
    tiles = [_hit_tile(rank, hit) for rank, hit in enumerate(entry.hits, start=1)]
    parts = [tiles[start : start + HITS_A_ROW] for start in range(0, len(tiles), HITS_A_ROW)] or [[]]
    return [[_query_tile(entry) if number == 0 else None, *part] for number, part in enumerate(parts)]


def _query_tile(entry: Entry) -> Tile:
    picture = _framed(_picture(entry.queries[0], entry.box, TILE))
    more = f"\nand {len(entry.queries) - 1} more" if len(entry.queries) > 1 else ""
    return Tile(picture, f"query\n{_short(entry.queries[0])}{more}")


def _hit_tile(rank: int, hit: EntryHit) -> Tile:
    columns = "".join(f"\n{name}: {value}" for name, value in hit.columns.items() if value)
    return Tile(_boxed(hit), f"{rank}.  {hit.score:.3f}\n{_short(hit.path)}{columns}")


def _why(answer: Answer, number: int) -> list[Tile | None]:
    """The query, where it is like the hit, where the hit is like it, and the hit."""
    hit = answer.hits[number]
    name = answer.queries[hit.query]
    query, found = _picture(name, answer.box, WHY_TILE), _picture(hit.location, None, WHY_TILE)
    caption = f"{number + 1}.  {hit.score:.3f}\n{_short(hit.path)}"
    try:
        maps = hit.maps()
    except FewShotError as error:  # its file is gone: the others can be shown
        complain(str(error))
        return [Tile(_framed(query), "query"), None, None, Tile(found, caption)]
    return [
        Tile(_framed(query), f"query\n{_short(name)}"),
        Tile(heat_map(query, maps.query), "attention of the query"),
        Tile(heat_map(found, maps.hit), "attention of the hit"),
        Tile(found, caption),
    ]


def _picture(path: str, box: Box | None, side: int) -> npt.NDArray[np.uint8]:
    """An image, or the part of it in a box, no larger than a tile needs; grey where it can't be read any more."""
    from PIL import Image

    try:
        pixels = read_image(path, min_side=2 * side) if box is None else cut_out(path, box)
    except FewShotError:
        return np.full((side, side, 3), GONE, np.uint8)
    image = Image.fromarray(pixels)
    image.thumbnail((2 * side, 2 * side))
    return np.asarray(image)


def _boxed(hit: EntryHit) -> npt.NDArray[np.uint8]:
    """The hit's image, its region's box drawn."""
    picture = _picture(hit.location, None, TILE)
    if hit.region is None:
        return picture
    try:
        height, width = read_image(hit.location).shape[:2]
    except FewShotError:  # gone: a grey tile has no region
        return picture
    drawn = picture.copy()
    x, y, w, h = hit.region
    across, down = drawn.shape[1] / width, drawn.shape[0] / height
    first, last = (round(x * across), round(y * down)), (round((x + w) * across) - 1, round((y + h) * down) - 1)
    cv2.rectangle(drawn, first, last, FRAME, max(2, round(max(drawn.shape[:2]) / 80)))
    return drawn


def _framed(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    framed = image.copy()
    width = max(1, round(max(image.shape[:2]) / 50))
    for edge in (framed[:width], framed[-width:], framed[:, :width], framed[:, -width:]):
        edge[...] = FRAME
    return framed


def _short(path: str) -> str:
    return describe(Path(*Path(path).parts[-2:]))

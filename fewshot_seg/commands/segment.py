"""`fewshot-seg segment`: queries stream through; each result is on disk before the next one is computed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from fewshot_seg.commands.candidates import as_supports, parse_mean
from fewshot_seg.commands.console import complain, tracked
from fewshot_seg.commands.engine import Engine
from fewshot_seg.commands.hint_options import QueryHints
from fewshot_seg.commands.hints import Given, parse_query_hints
from fewshot_seg.commands.outputs import is_our_mask, output_stems, refuse_foreign, refuse_overwriting
from fewshot_seg.commands.result_files import (
    cutout_name,
    known_stems,
    mask_name,
    overlay_name,
    read_results,
    without_results,
)
from fewshot_seg.commands.result_log import ResultsLog, Shard, held
from fewshot_seg.commands.results import failed_entry, save_result
from fewshot_seg.commands.supports import Shot
from fewshot_seg.commands.way import Way
from fewshot_seg.errors import ConfigError, DataError, FewShotError, OutputError
from fewshot_seg.imaging.export import is_our_cutout, make_folder
from fewshot_seg.imaging.images import find_images, read_image
from fewshot_seg.imaging.video import FRAMES_PER_SECOND, frames_per_second, is_video, write_frames, write_video
from fewshot_seg.locks import sole_user
from fewshot_seg.prompts.hints import Hint
from fewshot_seg.prompts.hints import Query as QueryWithHints
from fewshot_seg.segmentation.segmenter import Prepared, Segmentation, Segmenter

MOST_CLASSES = 255  # an 8-bit label map
OVERLAY_VIDEO = "overlay.mp4"
_NOTED_FRAMES = 200
_SHOWN = 50  # images in the table


@dataclass(frozen=True)
class SegmentRequest:
    """What `fewshot-seg segment` was asked to do."""

    queries: Sequence[str]
    supports: dict[str, tuple[Shot, ...]]
    out: Path
    engine: Engine = field(default_factory=Engine)
    way: Way = field(default_factory=Way)
    recursive: bool = False
    batch_size: int = 4
    query_hints: QueryHints = field(default_factory=QueryHints)
    negatives: Sequence[Path] = ()
    resume: bool = False
    shard: Shard | None = None

    @property
    def made_by(self) -> dict[str, Any]:
        """What decides the masks."""
        way = {name: value for name, value in asdict(self.way).items() if name != "candidates"}
        network = {name: getattr(self.engine, name) for name in ("weights", "precision", "seed")}
        shots = {name: [asdict(shot) for shot in group] for name, group in self.supports.items()}
        hints = asdict(self.query_hints)
        return {"supports": shots, "not": list(self.negatives), "way": way, "network": network, "hints": hints}


@dataclass
class Report:
    """What came out. Kept in memory are counts, and the first entries for the table.

    Attributes:
        total: images that were to be done.
        done: images that were, this time or before (`resumed`), `failed` ones included.
        shown: the entries of the first; `rows_left`: rows of the table that the others would have.
        summary: whether results.json holds all; else the lines of results.jsonl do.
    """

    total: int
    done: int = 0
    failed: int = 0
    resumed: int = 0
    shown: list[dict[str, Any]] = field(default_factory=list)
    rows_left: int = 0
    interrupted: bool = False
    summary: bool = True

    def add(self, entry: dict[str, Any]) -> None:
        """Count an image."""
        self.done += 1
        self.failed += entry["error"] is not None
        if len(self.shown) < _SHOWN:
            self.shown.append(entry)
        else:
            self.rows_left += max(1, len(entry["objects"]) + len(entry["absent"]))


@dataclass(frozen=True)
class _Query:
    path: Path
    error: str | None = None  # why it is known beforehand that it cannot be read
    known: Mapping[str, Given] = field(default_factory=dict)  # of its classes


def run_segment(request: SegmentRequest) -> Report:
    """Segment every query; write STEM_mask.png, STEM_overlay.jpg, a line of results.jsonl, and last results.json.

    A query that cannot be read is named on stderr, gets an entry with its error, and the others are done.
    Results of other images that the folder holds stay, and so do their entries. After Ctrl-C the report says so; after
    that, a crash or a kill what was finished stands in results.jsonl, and `resume` goes on from there.

    Raises:
        ConfigError, DataError, ImageError, CheckpointError: the options, the supports or the weights are at fault,
        another process is at work in the folder, or it holds a file of others where one goes, before anything
        is touched. OutputError: the folder cannot be written; finished files stay.
    """
    if len(request.supports) > MOST_CLASSES:
        raise ConfigError(f"{len(request.supports)} classes: an 8-bit label map holds at most {MOST_CLASSES}")
    _check_sequence(request)
    parse_mean(request.way.mean or (), request.supports)  # before the folder is touched
    request = replace(request, queries=[name for query in request.queries for name in _frames(query, request.out)])
    queries = _with_hints(_find_queries(request.queries, request.recursive), request)
    _named(request, queries)  # before the folder is touched
    out = make_folder(request.out)
    with held(out, request.shard):
        return _run_in(out, request, queries)


def _run_in(out: Path, request: SegmentRequest, queries: list[_Query]) -> Report:
    stems = _named(request, queries)
    segmenter = request.engine.segmenter(request.way)
    prepared = segmenter.prepare(
        as_supports(segmenter, request.supports, request.way.mean or ()), list(request.negatives)
    )
    for note in prepared.notes:
        complain(note, kind="note")

    log = ResultsLog(out, request.shard, prepared.classes, request.made_by, request.resume)
    named = list(zip(queries, stems, strict=True))
    named = named if request.shard is None else list(request.shard.of(named))
    left = [one for one in named if os.path.realpath(one[0].path) not in log.done]
    resumed = len(named) - len(left)
    report = Report(len(named), done=resumed, resumed=resumed)
    try:
        outcomes = _segment(segmenter, prepared, [query for query, _ in left], request)
        jobs = zip(left, outcomes, strict=True)
        for (query, stem), outcome in tracked(jobs, len(left), "segmenting"):
            entry = _finish(out, query, stem, outcome, request.way)
            log.add(entry)
            report.add(entry)
    except KeyboardInterrupt:
        report.interrupted = True
    except BaseException:
        with suppress(OutputError):  # the first error is the one to tell
            log.close()
        raise
    report.summary = log.close()
    if request.way.sequence and not report.interrupted:
        _write_overlay_video(out, stems)
    return report


def _check_sequence(request: SegmentRequest) -> None:
    videos = [query for query in request.queries if is_video(query)]
    if videos and not request.way.sequence:
        raise ConfigError(f"{videos[0]}: is a video; add --sequence")
    if request.way.sequence and request.way.joint:
        raise ConfigError("--sequence and --joint: choose one; in a sequence the frames help each other in their order")
    if len(videos) > 1:
        raise ConfigError(f"{videos[1]}: one video is one sequence; give each an --out of its own")
    if request.resume and (request.way.sequence or request.way.joint):
        raise ConfigError("--resume: queries of --sequence and --joint hang on each other; run them again as a whole")
    if request.shard is not None and (request.way.sequence or request.way.joint):
        raise ConfigError("--shard: queries of --sequence and --joint hang on each other; leave it out")
    if request.way.sequence:
        ours = bool(read_results(request.out).images)
        refuse_foreign([request.out / OVERLAY_VIDEO], lambda _: ours)


def _frames(query: str, out: Path) -> list[str]:
    """A video's frames, written beside the results; any other query is as it is."""
    if not is_video(query):
        return [query]
    folder = make_folder(out) / "frames"
    with sole_user(out):
        count = 0
        for count, _ in enumerate(write_frames(query, folder), start=1):
            if count % _NOTED_FRAMES == 0:
                complain(f"{query}: {count} frames read", kind="note")
    return [str(folder / f"{Path(query).stem}_{number:06d}.jpg") for number in range(count)]


def _write_overlay_video(out: Path, stems: list[str]) -> None:
    """All overlays as one film, in the frames' order."""
    shown = [path for path in (out / overlay_name(stem) for stem in stems) if path.is_file()]
    manifest = out / "frames" / "video.json"
    fps = frames_per_second(json.loads(manifest.read_text("utf-8"))["video"]) if manifest.is_file() else None
    if shown:
        write_video(shown, out / OVERLAY_VIDEO, fps or FRAMES_PER_SECOND)


def _find_queries(patterns: Sequence[str], recursive: bool) -> list[_Query]:
    """The images that the patterns name, in order, each once; a pattern that finds none is an error."""
    found: dict[str, _Query] = {}
    for pattern in patterns:
        try:
            for path in _images_of(pattern, recursive):
                found.setdefault(os.path.realpath(path), _Query(path))
        except DataError as error:
            found.setdefault(os.path.realpath(pattern), _Query(Path(pattern), str(error)))
    return list(found.values())


def _with_hints(queries: list[_Query], request: SegmentRequest) -> list[_Query]:
    found = [query.path for query in queries if query.error is None]
    known = parse_query_hints(request.query_hints, found, list(request.supports)) if found else {}
    return [replace(query, known=known.get(os.path.realpath(query.path), {})) for query in queries]


def _images_of(pattern: str, recursive: bool) -> list[Path]:
    """What one pattern names; results of an earlier run are taken only where they are named one by one."""
    found = find_images([pattern], recursive=recursive)
    if found == [Path(pattern)]:
        return found
    queries = without_results(found)
    if len(queries) < len(found):
        complain(f"{pattern}: {len(found) - len(queries)} results of an earlier run are left out", kind="note")
    if not queries:
        raise DataError(f"{pattern}: holds only results of an earlier run; name the images")
    return queries


def _named(request: SegmentRequest, queries: list[_Query]) -> list[str]:
    """The queries' stems; nothing that isn't an earlier run's is in their way."""
    earlier = known_stems(request.out)
    stems = output_stems([query.path for query in queries], earlier)
    _protect_inputs(request, queries, stems)
    listed = {name(stem) for stem in earlier.values() for name in (mask_name, overlay_name)}
    if request.way.alpha:
        refuse_foreign([request.out / cutout_name(stem) for stem in stems], is_our_cutout)
    for stem in stems:
        _refuse_foreign_pair(request.out / mask_name(stem), request.out / overlay_name(stem), listed)
    return stems


def _refuse_foreign_pair(mask: Path, shown: Path, listed: set[str]) -> None:
    refuse_foreign([mask, shown], lambda file: file.name in listed or is_our_mask(mask))


def _protect_inputs(request: SegmentRequest, queries: list[_Query], stems: list[str]) -> None:
    names = (mask_name, overlay_name, cutout_name) if request.way.alpha else (mask_name, overlay_name)
    outputs = [request.out / name(stem) for stem in stems for name in names]
    meant = {os.path.realpath(shot.path) for group in request.supports.values() for shot in group}
    for path in request.negatives:
        if os.path.realpath(path) in meant:
            raise ConfigError(f"{path}: given as an example and by --not; choose another image")
    shots = [shot for shots in request.supports.values() for shot in shots]
    inputs = [query.path for query in queries] + [shot.path for shot in shots] + list(request.negatives)
    known = [given for query in queries for given in query.known.values()] + [shot.known for shot in shots]
    refuse_overwriting(outputs, inputs + [path for given in known for path in given.files])


def _as_query(query: _Query) -> Path | QueryWithHints:
    if not query.known:
        return query.path
    return QueryWithHints(query.path, hints={name: Hint(**asdict(given)) for name, given in query.known.items()})


def _segment(
    segmenter: Segmenter, prepared: Prepared, queries: list[_Query], request: SegmentRequest
) -> Iterator[Segmentation | FewShotError]:
    asked: Iterator[Any] = (_as_query(query) for query in queries if query.error is None)
    if request.way.sequence:
        outcomes = segmenter.segment_sequence(asked, prepared, on_error="yield")
    else:
        segment = segmenter.segment_jointly if request.way.joint else segmenter.segment_many
        outcomes = segment(asked, prepared, batch_size=request.batch_size, on_error="yield")
    for query in queries:
        yield DataError(query.error) if query.error is not None else next(outcomes)


def _finish(out: Path, query: _Query, stem: str, outcome: Segmentation | FewShotError, way: Way) -> dict[str, Any]:
    try:
        if isinstance(outcome, FewShotError):
            raise outcome
        # Read once more: a batch of results then never holds its images in memory.
        return save_result(out, stem, str(query.path), read_image(query.path), outcome, way.instances, way.alpha)
    except OutputError:
        raise
    except FewShotError as error:
        complain(str(error))
        return failed_entry(str(query.path), str(error))

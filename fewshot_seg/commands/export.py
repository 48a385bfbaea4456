"""`fewshot-seg export`: results.json as files that other tools read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from fewshot_seg.commands.console import complain, tracked
from fewshot_seg.commands.engine import Out
from fewshot_seg.commands.entry import examples
from fewshot_seg.commands.outputs import output_stems
from fewshot_seg.commands.result_files import read_results
from fewshot_seg.errors import ConfigError, DataError, FewShotError, describe

if TYPE_CHECKING:
    from fewshot_seg.formats import AnnotatedImage


Target = Literal["coco", "labelme", "cvat", "yolo", "voc", "labelstudio", "cutout"]
"""The names of `fewshot_seg.formats.FORMATS`, for `--help`, which imports none of it."""

HELP = (
    "Write what segment found for other tools: COCO, LabelMe, CVAT, YOLO, PASCAL VOC, Label Studio; or cut out.\n\n"
    "One annotation for each thing, where segment told things apart. Coordinates and sizes are of the upright image, "
    "after EXIF orientation. yolo, voc and cutout write pixels, too. Files of an earlier export are replaced if nobody "
    "has changed them; nothing else is.\n\n"
    "An image that can't be found is reported, the others are done, and the exit status is 1."
)
EPILOG = examples(
    "fewshot-seg export results/ --to coco --out coco",
    "fewshot-seg export results/ --to yolo --tolerance 2 --out data-set",
    "fewshot-seg export results/ --to labelme --images /mnt/photos --out labelme",
)


@dataclass(frozen=True)
class ExportRequest:
    """What `fewshot-seg export` was asked to do; `whole`: a mask for each class, not for each thing."""

    results: Path
    to: str
    out: Path
    tolerance: float = 1.0
    images: Path | None = None
    whole: bool = False


@dataclass
class ExportReport:
    """How many images there were, and how many were written; the files."""

    total: int
    done: int = 0
    files: list[Path] = field(default_factory=list)


def export(
    results: Annotated[Path, typer.Argument(metavar="RESULTS", help="segment's folder, or its results.json.")],
    to: Annotated[Target, typer.Option(help="The format.")],
    out: Out,
    tolerance: Annotated[
        float, typer.Option(metavar="PX", min=0, help="Pixels by which polygons may leave the masks' edges, at most.")
    ] = 1.0,
    images: Annotated[Path | None, typer.Option(metavar="DIR", help="Where the images are now, if moved.")] = None,
    whole: Annotated[bool, typer.Option("--whole", help="A mask for each class, not for each thing.")] = False,
) -> None:
    """Write results for other tools."""
    report = run_export(ExportRequest(results, to, out, tolerance, images, whole))
    typer.echo(f"{report.done} of {report.total} images are in {out}: {len(report.files)} files")
    if report.done < report.total:
        raise typer.Exit(1)


def run_export(request: ExportRequest) -> ExportReport:
    """Write the results; an image that can't be found or read is named on stderr, and the others are done.

    Raises:
        ConfigError, DataError: no results, an option out of range, or a file of others in the way. OutputError: a file
        can't be written; finished ones stay.
    """
    from fewshot_seg.formats import write_annotations

    folder = request.results if request.results.name != "results.json" else request.results.parent
    found = read_results(folder)
    entries = [entry for entry in found.images if entry["error"] is None]
    if not entries:
        raise DataError(f"{describe(request.results)}: holds no results of 'fewshot-seg segment'; check the path")
    if request.images is not None and not request.images.is_dir():
        raise ConfigError(f"--images {describe(request.images)}: is no folder; check the path")
    if (lost := len(found.images) - len(entries)) > 0:
        complain(f"{lost} images could not be read by segment, and are left out", kind="note")
    report = ExportReport(len(entries))

    def failed(_: AnnotatedImage, error: FewShotError) -> None:
        complain(str(error))
        report.done -= 1

    images = _images(request, entries, report)
    options: dict[str, Any] = {"tolerance": request.tolerance, "on_error": failed}
    report.files = write_annotations(request.to, images, found.classes, request.out, **options)
    return report


def _images(request: ExportRequest, entries: list[dict[str, Any]], report: ExportReport) -> Iterator[AnnotatedImage]:
    paths = [Path(entry["path"]) for entry in entries]
    jobs = zip(entries, _names(paths), output_stems(paths), strict=True)
    for entry, name, stem in tracked(jobs, len(entries), "exporting"):
        try:
            image = _annotated(entry, name, stem, request)
        except FewShotError as error:
            complain(str(error))
            continue
        report.done += 1
        yield image


def _annotated(entry: dict[str, Any], name: str, stem: str, request: ExportRequest) -> AnnotatedImage:
    from fewshot_seg.formats import AnnotatedImage, Annotation
    from fewshot_seg.formats.pictures import other_size
    from fewshot_seg.imaging.decode import MAX_PIXELS, opened
    from fewshot_seg.imaging.geometry import check_size, decode_rle

    path = _place(entry["path"], request.images)
    try:
        size = check_size(*entry["size"])
        things = [
            (str(found["class"]), one)
            for found in entry["objects"]
            for one in (None if request.whole else found.get("instances")) or [found]
        ]
        annotations = tuple(
            Annotation(label, decode_rle(one["segmentation"], size), float(one["score"])) for label, one in things
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, DataError) as error:
        reason = str(error) if isinstance(error, DataError) else repr(error)
        raise DataError(f"{describe(entry['path'])}: its entry in results.json is damaged: {reason}") from error
    with opened(path, MAX_PIXELS) as image:  # from its header, in which it may lie on its side
        if sorted(image.size) != sorted(size):
            raise DataError(other_size(describe(path), image.size[::-1], size))
    return AnnotatedImage(name, size, annotations, path, stem)


def _place(path: str, images: Path | None) -> Path:
    """Where an image is: in the folder of images, or where it was."""
    from fewshot_seg.formats.reading import below, is_file

    place = (below(images, path) if images is not None else None) or Path(path)
    if not is_file(place):
        hint = "name the folder that has it now: --images DIR" if images is None else f"nor is it in {describe(images)}"
        raise DataError(f"{describe(path)}: no such file; {hint}")
    return place


def _names(paths: list[Path]) -> list[str]:
    """The paths below the deepest folder that holds all."""
    full = [os.path.realpath(path.parent) for path in paths]
    try:
        common = os.path.commonpath(full)
    except ValueError:  # on several drives
        return [path.name for path in paths]
    return [Path(folder, path.name).relative_to(common).as_posix() for folder, path in zip(full, paths, strict=True)]

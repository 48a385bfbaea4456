"""`fewshot-eval split-list`: which classes of which images count, from the masks themselves."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Literal

import typer

from eval.commands.common import track
from eval.commands.options import Dataset, Fold, Strict, fold_of
from fewshot_seg.commands.console import print_table
from fewshot_seg.commands.entry import examples

EPILOG = examples(
    "fewshot-eval split-list --root VOC2012 --images VOC2012/ImageSets/Segmentation/val.txt --fold 0 --out fold0.txt",
    "fewshot-eval split-list --dataset coco20i --root COCO/annotations/instances_val2014.json --fold 2 --out fold2.txt",
)


def split_list(
    root: Annotated[Path, typer.Option(metavar="DIR", help="The data's folder, as 'fewshot-eval segment' takes it.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The list: lines ID__CC.")],
    dataset: Annotated[Dataset, typer.Option(help="The kind of data set.")] = "pascal5i",
    fold: Annotated[Fold, typer.Option(help="The classes to list.")] = "all",
    images: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Only these images: ids, one a line; default: all.")
    ] = None,
    rule: Annotated[
        Literal["oslsm", "pfenet", "any"],
        typer.Option(
            help="oslsm: as PASCAL-5i's lists were made, more than two points of a grid of 32 pixels; pfenet: 2048 "
            "pixels; any: one."
        ),
    ] = "oslsm",
    order: Annotated[
        Literal["image", "class"], typer.Option(help="image: as the lists for testing; class: as those for training.")
    ] = "image",
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Leave out images or masks that aren't there.")
    ] = False,
    strict: Strict = False,
) -> None:
    """List the classes of each image that are large enough to be segmented, as PASCAL-5i's lists do."""
    from fewshot_seg.commands.outputs import refuse_foreign, refuse_overwriting
    from fewshot_seg.datasets import fold_classes, open_dataset
    from fewshot_seg.datasets.segmentation import read_ids
    from fewshot_seg.datasets.splits import make_split_list, split_list_text, write_split_list
    from fewshot_seg.imaging.export import make_folder

    refuse_overwriting([out], [root] if images is None else [root, images])
    data = open_dataset(dataset, root, allow_missing=allow_missing, strict=strict)
    classes = fold_classes(data, fold_of(fold))
    only = None if images is None else read_ids(images)
    entries = make_split_list(data, classes, rule, only=only, by_class=order == "class", track=track)
    refuse_foreign([out], lambda there: there.read_bytes() == split_list_text(entries))
    make_folder(out.parent)
    write_split_list(out, entries)
    counts = Counter(entry.label for entry in entries)
    rows = [(data.class_names[label - 1], str(counts[label])) for label in classes if counts[label]]
    print_table(("class", "images"), rows, names=1, limit=100)
    if data.missing:
        typer.echo(f"Without {len(data.missing)} images that have no file or no mask.")
    typer.echo(f"{len(entries)} entries of {len({entry.image for entry in entries})} images: {out}")

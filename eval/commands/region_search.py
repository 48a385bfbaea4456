"""`fewshot-eval region-search`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eval.commands.common import track
from eval.commands.compare import print_tables
from eval.commands.options import CacheMemory, Data, Device, Weights
from eval.commands.table_files import refuse_file, write_tables
from fewshot_seg.commands.entry import examples
from fewshot_seg.commands.grouped import grouped

EPILOG = examples(
    "fewshot-eval region-search --root voc --split-list voc/dev.txt --out regions.md",
    "fewshot-eval region-search --root coco --dataset masks --candidates 25 --candidates 100",
)


@grouped
def region_search(
    data: Data,
    candidates: Annotated[
        list[int] | None, typer.Option(min=1, help="Images that are looked at. May be repeated.", show_default="50")
    ] = None,
    support_masks: Annotated[bool, typer.Option("--support-masks", help="The example's mask is given.")] = False,
    weights: Weights = "default",
    device: Device = "auto",
    cache_memory: CacheMemory = 1024,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="The table as Markdown.")] = None,
) -> None:
    """Whether the object of an example is found in scenes: mean average precision, precision at 10, and boxes.

    Every image that holds one class alone is an example in its turn, all the others are the gallery.
    """
    from eval.studies.region_search import RegionTask, run_region_search
    from fewshot_seg.datasets import open_dataset
    from fewshot_seg.matching.features import FeatureCache
    from fewshot_seg.network.embedding import load_embedder
    from fewshot_seg.retrieval.regions import CANDIDATES

    refuse_file(out, data.inputs())
    task = RegionTask(
        open_dataset(data.dataset, data.root, data.split_list, strict=data.strict),
        load_embedder(weights, device=device),
        sorted(set(candidates or [CANDIDATES])),
        support_masks,
        FeatureCache(cache_memory * 2**20),
    )
    table = run_region_search(task, track).table(task.samples)
    print_tables([table])
    if out is not None:
        write_tables(out, "Objects in scenes", "fewshot-eval region-search", [table])

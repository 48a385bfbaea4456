"""In-Shop Clothes Retrieval (Liu et al., CVPR 2016, of DeepFashion): 7,982 garments, queries and gallery apart."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fewshot_seg.datasets.labelled import LabelledImages
from fewshot_seg.datasets.published import Row, data_folder, labelled, read_fields
from fewshot_seg.errors import DataError, describe

__all__ = ["load"]

IMAGES: Final = {"train": 25882, "query": 14218, "gallery": 12612}
_LIST: Final = "list_eval_partition.txt"
_INNER: Final = ("Eval", "In-shop Clothes Retrieval Benchmark", "In-shop Clothes Retrieval Benchmark/Eval")
_LAYOUT: Final = (
    "In-shop Clothes Retrieval Benchmark/{Eval/list_eval_partition.txt, Img/img/WOMEN/KIND/id_NUMBER/NAME.jpg}"
)


def load(root: Path, split: str, *, check_counts: bool = True) -> LabelledImages:
    """One part of the list: "train", "query", "gallery", or "test": query and gallery together.

    A class is an item. Queries and gallery share their class names, so that labels can be compared; no image is in
    both.

    Args:
        root: the benchmark's folder, or the one that holds it; the list may lie in Eval or beside it, the images in
            Img or beside it, as its archives unpack to.
        split: which part.
        check_counts: refuse a set that is not complete.

    Raises:
        DataError: another layout, a line of another form, or images missing.
    """
    listed = data_folder(root, _LIST, _INNER, _LAYOUT) / _LIST
    folder = listed.parent.parent if listed.parent.name == "Eval" else listed.parent
    prefix = "Img/" if (folder / "Img" / "img").is_dir() else ""
    rows: dict[str, list[Row]] = {part: [] for part in IMAGES}
    for path, item, part in read_fields(listed, 3, header=2):  # the number of lines, the columns' names
        if part not in rows:
            raise DataError(f"{describe(listed)}: {path} is in part {part!r}, not in train, query or gallery")
        rows[part].append(Row(f"{prefix}{path}", item))
    parts = ("query", "gallery") if split == "test" else (split,)
    shown = ("train",) if split == "train" else ("query", "gallery")
    names = list(dict.fromkeys(row.name for part in shown for row in rows[part]))
    return labelled(
        folder,
        [row for part in parts for row in rows[part]],
        names,
        what=f"In-Shop {split}",
        published=sum(IMAGES[part] for part in parts),
        check_counts=check_counts,
    )

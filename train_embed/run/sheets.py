"""Sheets of attention maps on fixed validation tuples, so that a person sees mining at work.

One row a tuple; for each of its images the picture, its attention, and what is left of it when that is erased.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from fewshot_seg.attention.maps import scale_maps
from fewshot_seg.imaging.export import write_image
from fewshot_seg.imaging.images import Preprocessing
from fewshot_seg.imaging.render import Tile, heat_map, sheet
from fewshot_seg.network.embedder import Embedder, Embedding
from train_embed.mining.erasing import soft_mask
from train_embed.mining.similarity import tuple_attention
from train_embed.run.validation import Validator

ROLES = {2: ("anchor", "positive"), 3: ("anchor", "positive", "negative"), 4: ("anchor", "positive", "n1", "n2")}
TILE = 150


def write_sheet(path: Path, embedder: Embedder, validator: Validator, count: int, title: str) -> None:
    """Writes the sheet (.jpg or .png) of the first `count` of the validator's tuples; nothing where there are none.

    The embedder is in eval mode; OutputError where the file can't be written.
    """
    rows: list[list[Tile | None]] = []
    for one in validator.probes(count):
        images = validator.load(one[None], embedder)
        if images is not None:
            rows.append(_row(embedder, images, one, validator))
    if rows:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(path, sheet(rows, title, tile=TILE))


@torch.inference_mode()
def _row(embedder: Embedder, images: Tensor, one: Tensor, validator: Validator) -> list[Tile | None]:
    """The tiles of a tuple: images (size,3,H,W), `one` (size,) indices into the validator's images."""
    options, names = validator.options, validator.images
    emb: Embedding = embedder(images)
    maps = tuple_attention(embedder, emb, torch.arange(len(one))[None], options)  # (size,h,w)
    erased = soft_mask(images, maps, options.alpha, options.beta)
    after = embedder(erased).vector
    attention = functional.interpolate(scale_maps(maps)[:, None], images.shape[2:], mode="bilinear")[:, 0]  # (size,H,W)
    tiles: list[Tile | None] = []
    for i, role in enumerate(ROLES[len(one)]):
        picture = _pixels(images[i], embedder.preprocessing)
        before_cos = float(emb.vector[0] @ emb.vector[i])
        after_cos = float(after[0] @ after[i])
        name = names.names[names.labels[int(one[i])]]
        tiles += [
            Tile(picture, f"{role}\n{name}"),
            Tile(heat_map(picture, attention[i].cpu().numpy()), "attention" if i == 0 else f"cos {before_cos:.2f}"),
            Tile(_pixels(erased[i], embedder.preprocessing), "erased" if i == 0 else f"cos {after_cos:.2f}"),
        ]
    return tiles


def _pixels(image: Tensor, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """A normalised image (3,H,W) as (H,W,3) uint8 RGB."""
    mean = image.new_tensor(preprocessing.mean)[:, None, None]
    std = image.new_tensor(preprocessing.std)[:, None, None]
    values: NDArray[Any] = ((image * std + mean) * 255).round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy()
    return np.ascontiguousarray(values)

"""`fewshot-seg explain`: why two to four images are (dis)similar, as heat maps (paper, section 2.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fewshot_seg import attention
from fewshot_seg.commands.engine import Engine
from fewshot_seg.commands.outputs import output_stems, refuse_foreign, refuse_overwriting
from fewshot_seg.errors import ConfigError
from fewshot_seg.files import read_json
from fewshot_seg.imaging.export import make_folder, write_image, write_json
from fewshot_seg.imaging.images import load_batch, read_image
from fewshot_seg.imaging.render import Tile, heat_map, sheet
from fewshot_seg.network.embedding import Embedder

ROLES = {
    2: ("first", "second"),
    3: ("anchor", "positive", "negative"),
    4: ("anchor", "positive", "negative 1", "negative 2"),
}
KINDS = {2: "pair", 3: "triplet", 4: "quadruplet"}
SHEET_NAME, JSON_NAME = "explain.png", "explain.json"


@dataclass(frozen=True)
class ExplainRequest:
    """What `fewshot-seg explain` was asked to do.

    `different` explains what tells a pair apart. `through_norm` takes equation 1 to the letter, with the
    gradient through the L2 norm of the embedding; otherwise the norm counts as a constant.
    """

    images: Sequence[str]
    out: Path
    engine: Engine = field(default_factory=Engine)
    different: bool = False
    through_norm: bool = False


def run_explain(request: ExplainRequest) -> dict[str, Any]:
    """Write explain.png (the sheet), STEM_attention.jpg per image and explain.json; return its content.

    Raises:
        ConfigError: not 2 to 4 images, `different` without a pair, or an output would overwrite an input
            or a file that this command did not make.
        ImageError, CheckpointError, OutputError: a file cannot be read or written.
    """
    kind = _kind(request)
    paths = [Path(image) for image in request.images]
    names = [f"{stem}_attention.jpg" for stem in output_stems(paths)]
    outputs = [request.out / name for name in (JSON_NAME, SHEET_NAME, *names)]
    refuse_overwriting(outputs, paths)
    explained = _explained(request.out / JSON_NAME)
    refuse_foreign(outputs, lambda _: explained)
    images = [read_image(path) for path in paths]
    out = make_folder(request.out)
    embedder = request.engine.embedder()
    maps, cosines = attention_of(embedder, load_batch(images, embedder), request.different, request.through_norm)

    content = _content(request, kind, names, cosines)
    write_json(out / JSON_NAME, content)  # first: it says whose the others are
    overlays = []
    for image, small, name in zip(images, maps, names, strict=True):
        overlays.append(heat_map(image, small))
        write_image(out / name, overlays[-1])
    write_image(out / SHEET_NAME, _sheet(images, overlays, paths, content))
    return content


def _explained(path: Path) -> bool:
    """Whether this command has written into the folder before."""
    try:
        content = read_json(path)
        return not path.is_symlink() and content["sheet"] == SHEET_NAME and {"kind", "similarities"} <= set(content)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def _kind(request: ExplainRequest) -> str:
    count = len(request.images)
    if count not in KINDS:
        raise ConfigError(f"explain takes a pair, a triplet or a quadruplet, 2 to 4 images, not {count}")
    if request.different and count != 2:
        raise ConfigError(
            f"--different is for a pair; in a {KINDS[count]} the order says it: A, its positive, negatives"
        )
    return "pair (different)" if request.different else "pair (same)" if count == 2 else KINDS[count]


def attention_of(
    embedder: Embedder, batch: torch.Tensor, different: bool = False, through_norm: bool = False
) -> tuple[list[npt.NDArray[np.float32]], list[list[float]]]:
    """The scaled (h,w) map of each of 2 to 4 images (a batch), in [0, 1], and the cosine of every two.

    They are a pair, a triplet or a quadruplet; `different` and `through_norm` as `ExplainRequest` has them.
    """
    with torch.inference_mode():
        embedding = embedder(batch)
    vectors = embedding.vector.float()  # (n, D)
    first, second, *negatives = (vector[None] for vector in vectors)  # each (1, D)
    if not negatives:
        weights = attention.pair_weights(first, second, same=not different)
    elif len(negatives) == 1:
        weights = attention.triplet_weights(first, second, negatives[0])
    else:
        weights = attention.quadruplet_weights(first, second, negatives[0], negatives[1])
    # One w explains the whole tuple; every image gets its own map from it.
    weights = weights.expand(len(vectors), -1)
    maps = attention.attention_maps(embedder, embedding, weights, method="auto", through_norm=through_norm)
    scaled = attention.scale_maps(maps).detach().float().cpu().numpy()
    cosines = (vectors @ vectors.T).clamp(-1, 1).cpu().tolist()
    return list(scaled), cosines


def _content(request: ExplainRequest, kind: str, names: list[str], cosines: list[list[float]]) -> dict[str, Any]:
    count = len(names)
    roles = ROLES[count]
    return {
        "kind": kind,
        "weights": request.engine.weights,
        "through_norm": request.through_norm,
        "images": [
            {"path": str(path), "role": role, "overlay": name}
            for path, role, name in zip(request.images, roles, names, strict=True)
        ],
        "similarities": [
            {"a": roles[a], "b": roles[b], "cosine": round(cosines[a][b], 6)}
            for a in range(count)
            for b in range(a + 1, count)
        ],
        "sheet": SHEET_NAME,
    }


def _sheet(
    images: list[npt.NDArray[np.uint8]],
    overlays: list[npt.NDArray[np.uint8]],
    paths: list[Path],
    content: dict[str, Any],
) -> npt.NDArray[np.uint8]:
    roles = [image["role"] for image in content["images"]]
    top = [Tile(image, f"{role}: {path.name}") for image, role, path in zip(images, roles, paths, strict=True)]
    bottom = []
    for role, picture in zip(roles, overlays, strict=True):
        lines = [
            f"cosine to {pair['b'] if pair['a'] == role else pair['a']}: {pair['cosine']:.3f}"
            for pair in content["similarities"]
            if role in (pair["a"], pair["b"])
        ]
        bottom.append(Tile(picture, f"attention of {role}\n" + "\n".join(lines)))
    what = "what tells the two apart" if content["kind"] == "pair (different)" else "what makes them alike"
    if len(roles) > 2:
        what = "what the anchor shares with the positive and not with the negatives"
    return sheet([top, bottom], f"Similarity attention, {content['kind']}: {what}")

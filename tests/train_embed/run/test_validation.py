"""CMC and mAP in validation, against a loop written from the benchmarks' rules."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from fewshot_seg.datasets.labelled import LabelledImages
from fewshot_seg.errors import DataError
from fewshot_seg.imaging.images import Preprocessing
from fewshot_seg.network.embedder import build_embedder
from fewshot_seg.network.spec import EmbedderSpec
from train_embed.mining.similarity import MiningOptions
from train_embed.run.validation import Roles, Validator, reid_scores


def slow(
    f: Tensor, labels: list[int], indices: list[int], roles: Roles, ks: tuple[int, ...]
) -> dict[str, float] | None:
    """One query and one gallery entry at a time."""
    row = {index: number for number, index in enumerate(indices)}
    ranks, precisions = [], []
    for q in roles.queries:
        if q not in row:
            continue
        entries = []
        for g in roles.gallery:
            if g not in row or g == q:
                continue
            same = labels[row[g]] == labels[row[q]]
            if same and roles.cameras[g] == roles.cameras[q]:
                continue
            entries.append((-float(f[row[q]] @ f[row[g]]), same))
        right = [place for place, entry in enumerate(sorted(entries), start=1) if entry[1]]  # of equals the wrong first
        if right:
            ranks.append(right[0])
            precisions.append(sum((n + 1) / place for n, place in enumerate(right)) / len(right))
    if not ranks:
        return None
    found = {f"recall@{k}": sum(rank <= k for rank in ranks) / len(ranks) for k in ks}
    return found | {"map": sum(precisions) / len(precisions)}


@given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.integers(1, 3), st.booleans())
@settings(max_examples=50, deadline=None)
def test_against_the_loop_with_ties_and_unreadable_images(seed: int, count: int, cameras: int, ties: bool) -> None:
    random = torch.Generator().manual_seed(seed)
    f = torch.randn(count, 2, generator=random, dtype=torch.float64)
    if ties:
        f = f.sign()
    labels = torch.randint(0, 4, (count,), generator=random)
    taken = torch.randint(0, cameras, (count + 3,), generator=random).tolist()
    indices = torch.randperm(count + 3, generator=random)[:count].sort().values
    roles = Roles(tuple(range(0, count + 3, 2)), tuple(range(1, count + 3)), tuple(taken))
    expected = slow(f, labels.tolist(), indices.tolist(), roles, (1, 3))
    if expected is None:
        with pytest.raises(DataError, match="no query has an image of its identity from another camera"):
            reid_scores(f, labels, indices, roles, (1, 3))
    else:
        assert reid_scores(f, labels, indices, roles, (1, 3)) == pytest.approx(expected)


def test_the_same_recording_proves_nothing() -> None:
    """The nearest image is the next frame of the query's own camera; the next nearest is somebody else."""
    f = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.01], [1.0, 0.2], [1.0, 0.5]]), dim=1)
    labels, roles = torch.tensor([0, 0, 1, 0]), Roles((0,), (1, 2, 3), (7, 7, 7, 8))
    assert reid_scores(f, labels, torch.arange(4), roles, (1, 2)) == {"recall@1": 0, "recall@2": 1, "map": 0.5}


def test_a_tuple_may_share_an_image_and_an_unreadable_one_takes_its_own_tuples_alone(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(4)]
    for number, path in enumerate(paths):
        Image.fromarray(np.full((40, 40, 3), 60 * number, np.uint8)).save(path)
    images = LabelledImages(tuple(paths), (0, 0, 1, 1), ("a", "b"), None, ("0", "1", "2", "3"))
    embedder = build_embedder(
        EmbedderSpec("timm/test_efficientnet", preprocessing=Preprocessing(size=32)), weights=False
    )
    validator = Validator(images, MiningOptions("triplet"), (1,))
    tuples = torch.tensor([[0, 1, 2], [3, 2, 1]])
    found = validator.load(tuples, embedder)
    assert found is not None
    each = [validator.load(one[None], embedder) for one in tuples]
    assert each[0] is not None
    assert each[1] is not None
    assert torch.equal(found, torch.cat([each[0], each[1]]))
    assert torch.equal(found[2], found[4])
    paths[3].write_bytes(b"no image")
    left = validator.load(tuples, embedder)
    assert left is not None
    assert torch.equal(left, found[:3])
    for path in paths[1:3]:
        path.write_bytes(b"no image")
    assert validator.load(tuples, embedder) is None
    paths[0].write_bytes(b"no image")
    assert validator.load(tuples, embedder) is None

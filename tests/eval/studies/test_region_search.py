"""Region search measured: figures against slow loops, and the whole of it on real photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from eval.cli import app
from eval.studies.region_search import OBJECT, WHOLE, WINDOWS, Found, average_precision, box_iou, run_region_search
from eval.studies.region_search import RegionTask as Task
from fewshot_seg.datasets import open_dataset
from fewshot_seg.errors import ConfigError
from tests.eval.tiny import tiny_checkpoint, tiny_embedder
from tests.fewshot_seg.datasets.voc_files import make_voc


@pytest.mark.parametrize("right", ["1", "10", "01", "1101", "00101100"])
def test_average_precision_is_the_mean_of_precisions_at_each_relevant(right: str) -> None:
    hits, precisions = 0, []
    for place, one in enumerate(right, start=1):
        if one == "1":
            hits += 1
            precisions.append(hits / place)
    assert average_precision(np.array([one == "1" for one in right])) == pytest.approx(np.mean(precisions))


def test_boxes_are_compared_by_their_pixels() -> None:
    for one, other in (((0, 0, 4, 4), (2, 1, 4, 5)), ((0, 0, 2, 2), (5, 5, 2, 2)), ((1, 1, 3, 3), (1, 1, 3, 3))):
        grids = []
        for x, y, w, h in (one, other):
            grid = np.zeros((10, 10), bool)
            grid[y : y + h, x : x + w] = True
            grids.append(grid)
        assert box_iou(one, other) == pytest.approx((grids[0] & grids[1]).sum() / (grids[0] | grids[1]).sum())


def test_classes_count_alike_however_many_examples_they_have() -> None:
    values = np.array([[1.0, 1.0], [1.0, 1.0], [0.0, 0.5]])
    found = Found(np.array([1, 1, 2]), 9, {WHOLE: values, OBJECT: values}, np.zeros((0, 2)))
    assert found.table(50).rows == ((WHOLE, "50.0", "75.0"), (OBJECT, "50.0 (+0.0 to +0.0)", "75.0 (+0.0 to +0.0)"))


def test_every_method_ranks_the_same_images(tmp_path: Path) -> None:
    contents = {"a_0": (6,), "a_1": (6,), "b_0": (7,), "c_0": (6, 7), "c_1": (7, 6)}
    data = open_dataset("pascal5i", make_voc(tmp_path, contents))
    found = run_region_search(Task(data, tiny_embedder(), (1, 5), samples=10), lambda items, total, what: iter(items))
    assert list(found.figures) == [WHOLE, OBJECT, WINDOWS, "1 of these looked at", "5 of these looked at"]
    assert (found.labels.tolist(), found.images) == ([6, 6, 7], 5)
    for values in found.figures.values():
        assert values.shape == (3, 2)
        # The others: 3 of 4 hold class 6, 2 of 4 class 7; all of them are among the first ten.
        assert values[:, 1].tolist() == pytest.approx([0.75, 0.75, 0.5])
        assert ((values[:, 0] > 0) & (values[:, 0] <= 1)).all()
    assert len(found.boxes) == 3 + 3 + 2


def test_without_an_example_there_is_nothing_to_measure(tmp_path: Path) -> None:
    data = open_dataset("pascal5i", make_voc(tmp_path, {"c_0": (6, 7)}))
    with pytest.raises(ConfigError, match="one class alone"):
        run_region_search(Task(data, tiny_embedder()), lambda items, total, what: iter(items))


def test_the_command_prints_and_writes_the_table(tmp_path: Path) -> None:
    make_voc(tmp_path / "voc", {"a_0": (6,), "a_1": (6,), "b_0": (7,)})
    weights = tmp_path / "tiny.safetensors"
    weights.write_bytes(tiny_checkpoint())
    options = ["--root", str(tmp_path / "voc"), "--weights", str(weights), "--device", "cpu", "--support-masks"]
    done = CliRunner().invoke(app, ["region-search", *options, "--out", str(tmp_path / "regions.md")])
    assert done.exit_code == 0, done.output
    assert WINDOWS in done.stdout
    assert "2 examples of 1 classes, 3 images" in (tmp_path / "regions.md").read_text()

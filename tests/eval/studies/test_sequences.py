"""`fewshot-eval sequences`: sequences found, J measured, files of others left alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from typer.testing import CliRunner, Result

from eval.cli import app
from eval.studies.sequences import find_sequences, region_similarity
from fewshot_seg.errors import DataError, ShapeError


def command(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["sequences", *map(str, arguments)], env={"COLUMNS": "200"})


@given(hnp.arrays(bool, (2, 5, 7)))
def test_j_counts_pixels(masks: NDArray[np.bool_]) -> None:
    both = sum(bool(a and b) for a, b in zip(masks[0].flat, masks[1].flat, strict=True))
    either = sum(bool(a or b) for a, b in zip(masks[0].flat, masks[1].flat, strict=True))
    assert region_similarity(masks[0], masks[1]) == (both / either if either else 1.0)


def test_masks_of_two_sizes_are_refused() -> None:
    with pytest.raises(ShapeError):
        region_similarity(np.ones((2, 3), bool), np.ones((3, 2), bool))


def test_what_is_no_set_of_sequences_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no sequence"):
        find_sequences(tmp_path)
    (frames := tmp_path / "JPEGImages" / "cat").mkdir(parents=True)
    (frames / "0.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="no such mask"):
        find_sequences(tmp_path)
    (masks := tmp_path / "Annotations" / "cat").mkdir(parents=True)
    (masks / "0.png").write_bytes(b"")
    with pytest.raises(DataError, match="two or more"):
        find_sequences(tmp_path)


@pytest.mark.realdata
def test_both_layouts_of_davis_and_every_nth_frame(shared_data: Path) -> None:
    names = ["blackswan", "camel", "car-shadow", "dog", "goat", "soapbox"]
    for folder in ("davis", "davis_dense"):
        found = find_sequences(shared_data / folder)
        assert [one.name for one in found] == names
        fewer = find_sequences(shared_data / folder, every=2)
        assert [one.frames for one in fewer] == [one.frames[::2] for one in found]


@pytest.mark.realdata
def test_a_table_and_a_file_with_the_figures(shared_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "davis.json"
    options = ("--root", shared_data / "davis_dense", "--every", 12, "--out", out)
    done = command(*options, "--setting", "mask, frame by frame", "--setting", "mask, in order")
    assert done.exit_code == 0, done.stderr
    content = json.loads(out.read_text())
    for each in content["sequences"].values():
        assert len(each) == 6
        assert content["mean"]["mask, in order"] == pytest.approx(
            np.mean(list(content["sequences"]["mask, in order"].values()))
        )
    assert min(content["mean"].values()) > 0.65
    assert "soapbox" in done.stdout
    out.write_text('{"theirs": 1}')
    again = command(*options)
    assert again.exit_code == 1
    assert out.read_text() == '{"theirs": 1}'
    assert (
        command("--root", shared_data / "davis_dense", "--out", shared_data / "davis_dense" / "x.json").exit_code == 1
    )

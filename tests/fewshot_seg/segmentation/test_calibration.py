"""The presence threshold: against trying every one, and the command on real photographs."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fewshot_seg.errors import DataError
from fewshot_seg.segmentation.calibration import calibrate
from tests.fewshot_seg.command_line import error_line, fewshot

SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@given(SCORES, SCORES)
def test_no_threshold_has_a_better_worse_share(with_it: list[float], without_it: list[float]) -> None:
    found = calibrate(with_it, without_it)
    assert 0 <= found.threshold <= 1

    def shares(threshold: float) -> tuple[float, float]:
        seen = sum(score >= threshold for score in with_it) / len(with_it)
        return seen, sum(score < threshold for score in without_it) / len(without_it)

    assert shares(found.threshold) == pytest.approx((found.found, found.left_empty))
    edges = sorted({0.0, 1.0, *with_it, *without_it})
    tried = [shares((low + high) / 2) for low, high in itertools.pairwise(edges)]
    assert min(found.found, found.left_empty) == pytest.approx(max(min(one) for one in tried))


def test_well_parted_scores_are_parted_in_the_middle() -> None:
    assert calibrate([0.9, 0.8, 0.7], [0.1, 0.3]) == pytest.approx((0.5, 1, 1))
    with pytest.raises(DataError, match="at least one of each"):
        calibrate([0.5], [])


def test_the_command_tells_cats_from_cups(tmp_path: Path) -> None:
    cat, cup = skimage.data.chelsea(), skimage.data.coffee()
    for folder, image in (("cats", cat), ("cups", cup)):
        (tmp_path / folder).mkdir()
        for number in range(2):
            part = np.ascontiguousarray(image[20 * number :, 30 * number :])
            Image.fromarray(part).save(tmp_path / folder / f"{number}.png")
    (tmp_path / "cups" / "broken.png").write_bytes(b"no image")
    Image.fromarray(np.ascontiguousarray(cat[:250, 380:30:-1])).save(tmp_path / "face.png")
    sets = ("--with", tmp_path / "cats", "--without", tmp_path / "cups")
    done = fewshot("calibrate", "-s", f"cat={tmp_path / 'face.png'}", *sets)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("--presence 0.")
    assert "100 % of those with it are found, 100 % of the others left empty" in done.stdout
    assert "broken.png" in done.stderr
    two = ("-s", f"cat={tmp_path / 'face.png'}", "-s", f"cup={tmp_path / 'cups' / '0.png'}")
    assert "one at a time" in error_line(fewshot("calibrate", *two, *sets))

"""Split lists made from masks, and beside the published ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fewshot_seg.datasets import Entry
from fewshot_seg.datasets.pascal import PascalVoc
from fewshot_seg.datasets.segmentation import read_ids, read_split_list
from fewshot_seg.datasets.splits import RULES, make_split_list, write_split_list
from fewshot_seg.errors import ConfigError, DataError, OutputError
from tests.fewshot_seg.datasets.voc_files import make_voc, sixteen, write_image, write_mask


@pytest.fixture
def voc(tmp_path: Path) -> PascalVoc:
    return PascalVoc(make_voc(tmp_path / "voc", sixteen()))


def test_oslsm_s_rule_asks_for_more_than_two_points_of_a_grid() -> None:
    mask = np.zeros((375, 500), bool)
    mask[0, 1] = mask[0, 33] = True
    assert not RULES["oslsm"](mask)
    mask[32, 1] = True
    assert RULES["oslsm"](mask)
    between = np.ones((375, 500), bool)
    between[::32, 1::32] = False
    assert not RULES["oslsm"](between)  # 2048 pixels and more, but no point


def test_the_other_rules_count_pixels() -> None:
    for count, kept in ((0, (False, False)), (1, (False, True)), (2047, (False, True)), (2048, (True, True))):
        mask = np.zeros((64, 64), bool)
        mask.ravel()[:count] = True
        assert (RULES["pfenet"](mask), RULES["any"](mask)) == kept


def test_entries_are_sorted_by_image_or_by_class(voc: PascalVoc) -> None:
    assert make_split_list(voc, range(1, 21), "any") == voc.entries
    by_class = make_split_list(voc, range(1, 21), "any", by_class=True)
    assert by_class == tuple(sorted(voc.entries, key=lambda one: (one.label, one.image)))
    assert {entry.label for entry in make_split_list(voc, (2,), "any")} == {2}
    assert make_split_list(voc, (1,), "any", only={"c_0", "b_0"}) == (Entry("c_0", 1),)


def test_small_objects_are_left_out(tmp_path: Path) -> None:
    root = make_voc(tmp_path, sixteen())
    labels = np.zeros((100, 200), np.uint8)
    labels[:60, :60] = 3
    labels[90:, 190:] = 4
    write_image(root / "JPEGImages" / "big.jpg", labels.shape)
    write_mask(root / "SegmentationClass" / "big.png", labels)
    voc = PascalVoc(root)
    assert make_split_list(voc, range(1, 21)) == make_split_list(voc, range(1, 21), "pfenet") == (Entry("big", 3),)


def test_a_list_is_written_as_it_is_read(voc: PascalVoc, tmp_path: Path) -> None:
    write_split_list(tmp_path / "list.txt", voc.entries)
    assert (tmp_path / "list.txt").read_text().splitlines()[0] == "a_0__01"
    assert read_split_list(tmp_path / "list.txt", 20) == voc.entries
    with pytest.raises(OutputError):
        write_split_list(tmp_path / "none" / "list.txt", voc.entries)


def test_what_cannot_be_listed(voc: PascalVoc, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown rule 'all': choose oslsm, pfenet, any"):
        make_split_list(voc, (1,), "all")
    with pytest.raises(DataError, match="rule 'pfenet' leaves no class of any image"):
        make_split_list(voc, (1,), "pfenet")
    (tmp_path / "ids.txt").write_text(" \n")
    with pytest.raises(DataError, match="the file has no image ids"):
        read_ids(tmp_path / "ids.txt")


@pytest.mark.realdata
def test_the_published_lists_come_out_of_the_masks(shared_data: Path) -> None:
    """All images here that are in the lists for training: the same entries in the same order, but for two."""
    splits = shared_data / "splits" / "pascal" / "trn"
    published = [entry for fold in range(4) for entry in read_split_list(splits / f"fold{fold}.txt", 20)]
    voc = PascalVoc(shared_data / "voc")
    here = {entry.image for entry in voc.entries}
    published = [entry for entry in published if entry.image in here]
    made = make_split_list(voc, range(1, 21), by_class=True)
    # One grid point lies between two pixels; in these two the neighbouring pixel decides otherwise.
    assert set(made) - set(published) == {Entry("2007_000515", 7)}
    assert set(published) - set(made) == {Entry("2010_004586", 12)}
    assert len(made) == len(published) == 759
    both = set(made).intersection(published)
    assert [entry for entry in made if entry in both] == [entry for entry in published if entry in both]

"""`fewshot-seg segment --alpha`: cut-outs beside the masks."""

from __future__ import annotations

import numpy as np
from PIL import Image

from tests.fewshot_seg.command_line import error_line, fewshot, results_of


def test_a_cut_out_lies_beside_the_mask_and_only_ours_is_replaced(photos, tmp_path):
    asked = ("segment", photos / "cat.png", "-s", photos / "cat face.png", "-q", "fast", "--always", "-o", tmp_path)
    assert fewshot(*asked, "--alpha").exit_code == 0
    (entry,) = results_of(tmp_path)["images"]
    with Image.open(tmp_path / entry["cutout"]) as picture:
        assert picture.mode == "RGBA"
        alpha = np.asarray(picture)[..., 3]
    mask = np.asarray(Image.open(tmp_path / entry["mask"])) > 0
    assert ((alpha > 127) == mask).mean() > 0.97
    assert ((alpha > 0) & (alpha < 255)).any()
    assert fewshot(*asked, "--alpha").exit_code == 0
    Image.new("RGBA", (3, 3)).save(tmp_path / "cat_cutout.png")
    assert "cat_cutout.png" in error_line(fewshot(*asked, "--alpha"))
    assert fewshot(*asked).exit_code == 0
    assert Image.open(tmp_path / "cat_cutout.png").size == (3, 3)

"""`fewshot-seg demo`."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from tests.fewshot_seg.command_line import fewshot, results_of


def test_demo(tmp_path):
    out = tmp_path / "demo out"
    result = fewshot("demo", "--out", out)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[-1].endswith(str(out / "index.png"))
    with Image.open(out / "index.png") as sheet:
        assert sheet.width > 1000
        assert sheet.height > 1000
    scenes = sorted(out.glob("*/results.json"))
    assert len(scenes) >= 4
    assert {len(results_of(path.parent)["classes"]) for path in scenes} == {1, 2}
    for path in scenes:
        content = results_of(path.parent)
        (image,) = content["images"]
        assert Path(image["path"]).is_file()
        assert {entry["class"] for entry in image["objects"]} == set(content["classes"])
        for entry in image["objects"]:
            assert 0.02 < entry["area"] / (image["size"][0] * image["size"][1]) < 0.7
            assert entry["class"] in result.stdout

"""Results before one's eyes: overlays, and what a notebook shows."""

from __future__ import annotations

import base64
import io
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import PIL.ImageShow
import pytest
from PIL import Image

import fewshot_seg as fs
from fewshot_seg.errors import DataError, ImageError, ShapeError
from fewshot_seg.imaging.inputs import ImageInput
from fewshot_seg.imaging.render import overlay
from fewshot_seg.retrieval.hits import Hits
from fewshot_seg.retrieval.regions import RegionHit
from fewshot_seg.retrieval.search import Hit
from fewshot_seg.segmentation.results import ObjectResult, Segmentation
from tests.fewshot_seg.image_files import encoded, picture


class Window(PIL.ImageShow.Viewer):
    """A system's viewer that keeps what it is shown."""

    seen: list[Image.Image]

    def show_image(self, image: Image.Image, **options: Any) -> int:
        self.seen.append(image)
        return 1


@pytest.fixture
def window() -> Any:
    before = PIL.ImageShow._viewers.copy()  # type: ignore[attr-defined]
    viewer = Window()
    viewer.seen = []
    PIL.ImageShow.register(viewer, 0)
    yield viewer
    PIL.ImageShow._viewers[:] = before  # type: ignore[attr-defined]


def result(image: ImageInput | None, source: str = "photo.jpg") -> Segmentation:
    labels = np.zeros((48, 64), np.int32)
    labels[10:30, 10:40] = 1
    small = np.zeros((3, 4), np.float32)
    names = ("<b>cat</b>", "dog")
    objects = tuple(
        ObjectResult(name, 0.5, small, small.astype(np.uint8), label, labels, threshold=0.45)
        for label, name in enumerate(names, start=1)
    )
    return Segmentation(source, labels, objects, image)


def pictures_in(html: str) -> list[Image.Image]:
    found = re.findall(r"data:image/jpeg;base64,([^\"]+)", html)
    return [Image.open(io.BytesIO(base64.b64decode(one))) for one in found]


@pytest.mark.parametrize("form", ["array", "bytes", "path"])
def test_an_overlay_is_drawn_on_the_query_as_it_was_given(form: str, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(content := encoded(Image.fromarray(picture()), "PNG"))
    image: ImageInput = {"array": picture(), "bytes": content, "path": tmp_path / "a.png"}[form]
    one = result(image)
    np.testing.assert_array_equal(one.overlay(), overlay(picture(), one.label_map, one.classes))
    np.testing.assert_array_equal(result(None).overlay(image), one.overlay())


def test_without_its_image_there_is_no_overlay_but_a_notebook_shows_the_masks(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"its image isn't kept; give it: overlay\(image\)"):
        result(None).overlay()
    with pytest.raises(ImageError, match="no such file"):
        result(tmp_path / "gone.png").overlay()
    with pytest.raises(ShapeError):
        result(picture(9, 9)).overlay()
    for one in (result(None), result(tmp_path / "gone.png"), result(picture(9, 9))):
        (shown,) = pictures_in(one._repr_html_())
        assert shown.size == (64, 48)


def test_names_are_text_in_html() -> None:
    html = result(picture(), source='"><script>alert(1)</script>.jpg')._repr_html_()
    assert "<script>" not in html
    assert "&lt;b&gt;cat&lt;/b&gt;" in html
    assert "<td>19.5 %</td><td>0.50?</td>" in html
    assert html.count("<img ") == 1


def test_show_opens_a_window_outside_of_notebooks(window: Window) -> None:
    one = result(picture())
    one.show()
    np.testing.assert_array_equal(np.asarray(window.seen[0]), one.overlay())
    result(None).show(picture())
    assert len(window.seen) == 2


def hits(folder: Path) -> Hits[Hit]:
    Image.fromarray(picture(300, 400)).save(folder / "a.png")
    files = [folder / "a.png", folder / "gone.png"]
    rest = ({"kind": "x"}, 0, lambda _: None)
    return Hits(Hit(str(file), 0.9, row, rest[0], str(file), 0, rest[2]) for row, file in enumerate(files))  # type: ignore[arg-type,return-value]


def test_hits_are_a_list_that_shows_itself(tmp_path: Path, window: Window, capsys: pytest.CaptureFixture[str]) -> None:
    found = hits(tmp_path)
    assert isinstance(found, list)
    html = found._repr_html_()
    assert f"1. 0.900 {tmp_path / 'a.png'}" in html
    (shown,) = pictures_in(html)
    assert shown.width > 400
    found.show()
    assert window.seen[0].size == found.sheet().shape[1::-1]
    nothing: Hits[Hit] = Hits()
    assert nothing._repr_html_() == "<p>no hits</p>"
    nothing.show()
    assert capsys.readouterr().out == "no hits\n"


def test_regions_have_their_boxes_drawn(tmp_path: Path) -> None:
    Image.new("RGB", (400, 300), "white").save(tmp_path / "a.png")
    at = (str(tmp_path / "a.png"), 0.5, (100, 50, 200, 150), 0, {}, str(tmp_path / "a.png"))
    region = RegionHit(*at, np.zeros((3, 4), np.float32), (300, 400), lambda _: np.zeros((300, 400), bool))
    sheet = Hits([region]).sheet().astype(int)
    blue = (sheet[..., 2] - sheet[..., 0]) > 100
    rows, columns = np.nonzero(blue)
    assert (np.ptp(columns), np.ptp(rows)) == (pytest.approx(100, abs=3), pytest.approx(75, abs=3))


def test_results_of_the_segmenter_and_the_index_show_themselves(tmp_path: Path) -> None:
    for name, left in (("a", 0), ("b", 16)):
        Image.fromarray(picture(96, 128)[:, left : left + 100]).save(tmp_path / f"{name}.png")
    embedder = fs.load_embedder("default", device="cpu")
    content = (tmp_path / "a.png").read_bytes()
    one = fs.Segmenter(embedder).segment(content, tmp_path / "b.png")
    assert one.image is content
    np.testing.assert_array_equal(one.overlay(), one.overlay(tmp_path / "a.png"))
    index = fs.Index.build(tmp_path, embedder)
    assert pictures_in(index.search(content, k=2)._repr_html_())
    assert isinstance(next(index.search_each([os.fspath(tmp_path / "a.png")], k=1)), Hits)
    assert pictures_in(index.search_regions(content, k=1)._repr_html_())

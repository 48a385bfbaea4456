"""Images as programs have them: the same result in every form, the same limits, and errors that say what it was."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fewshot_seg.errors import FewShotError, ImageError, describe
from fewshot_seg.imaging.decode import read_image
from fewshot_seg.imaging.fetch import fetch
from fewshot_seg.imaging.inputs import ImageInput, is_one
from fewshot_seg.imaging.masks import read_mask
from fewshot_seg.prompts.scribbles import read_scribble
from fewshot_seg.prompts.supports import Support, group_supports
from tests.fewshot_seg.image_files import encoded, picture, write_bad_images, write_good_images


def forms(path: Path) -> list[ImageInput]:
    """An image file in each encoded form; the stream stands at its end, as after writing."""
    content = path.read_bytes()
    stream = io.BytesIO(content)
    stream.seek(0, io.SEEK_END)
    return [str(path), path, content, bytearray(content), memoryview(content), stream]


def test_every_good_file_reads_the_same_in_every_form(tmp_path: Path) -> None:
    for path in write_good_images(tmp_path).values():
        wanted = read_image(path)
        for source in forms(path):
            np.testing.assert_array_equal(read_image(source), wanted)


def test_every_bad_file_is_refused_in_every_form(tmp_path: Path) -> None:
    for name, path in write_bad_images(tmp_path).items():
        for source in forms(path)[2:] if name not in ("missing", "folder") else ():
            with pytest.raises(ImageError) as caught:
                read_image(source)
            assert str(caught.value).startswith(f"{describe(source)}: ")
            assert "\n" not in str(caught.value)
    assert describe(b"abc") == "bytes (length 3)"
    assert describe(io.BytesIO()) == "object of type BytesIO"
    assert describe(torch.zeros(3, 4, 5)) == "tensor (3, 4, 5)"


def test_a_stream_stays_open_and_serves_again_and_several_threads(tmp_path: Path) -> None:
    Image.fromarray(picture()).save(tmp_path / "a.png")
    with (tmp_path / "a.png").open("rb") as stream, ThreadPoolExecutor(4) as pool:
        for image in pool.map(read_image, [stream] * 40):
            np.testing.assert_array_equal(image, picture())
        assert not stream.closed


def test_tensors_are_channels_first() -> None:
    shown = picture()
    tensor = torch.from_numpy(shown).permute(2, 0, 1)
    np.testing.assert_array_equal(read_image(tensor), shown)
    np.testing.assert_array_equal(read_image(tensor[:1]), np.repeat(shown[:, :, :1], 3, 2))
    mask = torch.from_numpy(shown[:, :, 0] > 100)
    for one in (mask, mask[None], mask.float(), mask.numpy()):
        np.testing.assert_array_equal(read_mask(one), mask.numpy())
        np.testing.assert_array_equal(read_scribble(mask)[0], mask.numpy())


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (torch.zeros(48, 64, 3, dtype=torch.uint8), "must be (3, H, W), channels first"),
        (torch.zeros(3, 48, 64), "tensor (3, 48, 64): its type is float32"),
        (torch.zeros(3, 4, 5, dtype=torch.bfloat16), "tensor (3, 4, 5): "),
        (io.StringIO("text"), "open it in binary mode"),
        (b"", "bytes (length 0): empty"),
        ("https://example.org/cat.jpg", "it is a URL: give what imaging.fetch.fetch gets of it"),
        (None, "not an image; give a path, bytes, a PIL image"),
    ],
)
def test_what_is_no_image_is_named(source: object, message: str) -> None:
    with pytest.raises(FewShotError) as caught:
        read_image(source)  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_a_stream_that_cannot_seek_is_refused() -> None:
    reading, writing = os.pipe()
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe, pytest.raises(ImageError, match="can't seek; read it, and give its bytes"):
        read_image(pipe)


def test_one_in_any_form_is_one_support(tmp_path: Path) -> None:
    Image.fromarray(picture()).save(tmp_path / "a.png")
    tensor = torch.zeros(3, 4, 5, dtype=torch.uint8)
    for source in (*forms(tmp_path / "a.png"), tensor, tensor.numpy(), Image.open(tmp_path / "a.png")):
        assert is_one(source)
        assert [shot.image for shot in group_supports(source)["object"]] == [source]
    assert not is_one(tensor[None])
    assert not is_one([b"", b""])
    assert len(group_supports([b"a", Support(b"b"), tensor])["object"]) == 3


class _Site(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        content = encoded(Image.fromarray(picture()), "PNG")
        self.send_response({"/gone": 404, "/away": 302}.get(self.path, 200))
        if self.path == "/away":
            self.send_header("Location", "file:///etc/passwd")
        self.end_headers()
        self.wfile.write(content)
        while self.path == "/slow" and not self.server.over.wait(0.02):  # type: ignore[attr-defined]
            self.wfile.write(b"x")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Not on stderr."""


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Site)
    server.over = threading.Event()  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.over.set()  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()


def test_a_url_is_fetched_where_the_caller_asks(site: str, tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_image(fetch(f"{site}/cat.png")), picture())
    with pytest.raises(ImageError, match=r"more than 0\.0001 MB"):
        fetch(f"{site}/cat.png", max_bytes=100)
    with pytest.raises(ImageError, match=r"not there after 0\.1 s"):
        fetch(f"{site}/slow", timeout=0.1)
    for url in (f"{site}/gone", f"{site}/away", "http://127.0.0.1:1/", "http://"):
        with pytest.raises(ImageError, match="cannot be fetched"):
            fetch(url)
    for url in (f"file://{tmp_path}", "cat.png", "ftp://127.0.0.1/cat.png"):
        with pytest.raises(ImageError, match="is no address of http or https"):
            fetch(url)

"""The interface for programs: the same masks as the command's, and what it says to wrong input."""

from __future__ import annotations

import io
import json
import tempfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from fewshot_seg.commands.results import objects_of
from fewshot_seg.network.embedding import Embedder
from fewshot_seg.prompts.supports import Support
from fewshot_seg.segmentation.segmenter import Segmenter
from tests.fewshot_seg.web.conftest import MOST

NDJSON = {"accept": "application/x-ndjson"}


def part(name: str, path: Path, called: str | None = None) -> tuple[str, tuple[str, bytes]]:
    return name, (called or path.name, path.read_bytes())


@pytest.fixture
def cat(photos: Path) -> list[tuple[str, tuple[str, bytes]]]:
    """A cat as the example, and a piece of it and a cup as queries."""
    queries = [part("query", photos / "cat face.png"), part("query", photos / "cup.jpg")]
    return [*queries, part("support", photos / "cat.png"), part("support_mask", photos / "mask.png", "cat.png")]


def test_health_and_a_description_whose_assets_are_here(client: TestClient) -> None:
    assert client.get("/api/health").json() == {"status": "ok", "version": "0.1.0", "weights": "default"}
    described = client.get("/api/openapi.json").json()
    assert {"/api/segment", "/api/search", "/api/explain", "/api/supports"} <= described["paths"].keys()
    page = client.get("/api/docs").text
    assert "http" not in page.replace("<!doctype html>", "")
    for asset in ("swagger-ui.css", "swagger-ui-bundle.js", "start.js"):
        assert f"/api/docs/{asset}" in page
        assert client.get(f"/api/docs/{asset}").status_code == 200


def test_the_masks_are_those_of_the_library(client: TestClient, embedder: Embedder, photos: Path, cat: Any) -> None:
    answer = client.post("/api/segment", files=cat, data={"class": ["cat"]}).json()
    support = Support(photos / "cat.png", mask=photos / "mask.png")
    segmenter = Segmenter(embedder)
    expected = [objects_of(segmenter.segment(photos / name, {"cat": support})) for name in ("cat face.png", "cup.jpg")]
    assert answer["classes"] == ["cat"]
    assert [one["name"] for one in answer["images"]] == ["cat face.png", "cup.jpg"]
    assert answer["images"][0]["size"] == [250, 350]
    assert [one["objects"] for one in answer["images"]] == json.loads(json.dumps(expected))
    assert answer["images"][0]["objects"][0]["class"] == "cat"


def test_a_line_an_image_and_one_that_is_broken_keeps_its_place(client: TestClient, photos: Path, cat: Any) -> None:
    broken = ("query", ("../../etc/passwd<b>.jpg", b"no image"))
    lines = client.post("/api/segment", files=[broken, *cat], headers=NDJSON).text.splitlines()
    head, *images = map(json.loads, lines)
    assert head == {"classes": ["object"]}
    assert [one["error"] is None for one in images] == [False, True, True]
    assert images[0]["name"] == "passwd<b>.jpg", "a name is text, without folders"
    assert images[0]["error"].startswith("passwd<b>.jpg: not an image")


def test_supports_are_registered_once(client: TestClient, photos: Path, cat: Any) -> None:
    queries, supports = cat[:2], cat[2:]
    name = client.post("/api/supports", files=supports, data={"class": ["cat"]}).json()["id"]
    by_id = client.post("/api/segment", files=queries, data={"supports": name}).json()
    assert by_id == client.post("/api/segment", files=cat, data={"class": ["cat"]}).json()
    both = client.post("/api/segment", files=cat, data={"supports": name})
    assert both.status_code == 422
    assert client.delete(f"/api/supports/{name}").status_code == 200
    assert client.post("/api/segment", files=queries, data={"supports": name}).status_code == 404
    assert client.delete("/api/supports/nope").status_code == 404


def bomb() -> bytes:
    """A PNG of 60,000 x 60,000 black pixels, which its header says."""
    header = b"\0\0\xea\x60" * 2 + bytes((8, 0, 0, 0, 0))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4)

    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    )


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


@pytest.mark.parametrize(
    ("content", "status", "said"), [(SVG, 415, "not an image"), (bomb(), 400, "bomb"), (b"", 400, "empty")]
)
@pytest.mark.parametrize("role", ["query", "support"])
def test_what_is_no_image_is_refused_by_name(
    client: TestClient, photos: Path, role: str, content: bytes, status: int, said: str
) -> None:
    good = "support" if role == "query" else "query"
    answer = client.post("/api/segment", files=[(role, ("bad.svg", content)), part(good, photos / "cup.jpg")])
    assert answer.status_code == status
    assert answer.json()["error"].startswith("bad.svg: ")
    assert said in answer.json()["error"]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        ({"class": ["a", "b"]}, 400),
        ({"classes": ["a"]}, 400),
        ({"class": [" "]}, 400),
        ({"options": "{"}, 422),
        ({"options": "[1]"}, 422),
        ({"options": '{"presence": 3}'}, 422),
        ({"options": '{"nonsense": 1}'}, 422),
        ({"options": '{"matcher": "no-such-matcher"}'}, 422),
        ({"options": '{"matcher": "/etc/passwd"}'}, 422),
        ({"options": '{"refine_weights": "/etc/passwd"}'}, 422),
        ({"options": "[" * 100_000}, 422),
    ],
)
def test_wrong_fields_are_named(client: TestClient, cat: Any, data: dict[str, Any], status: int) -> None:
    answer = client.post("/api/segment", files=cat, data=data)
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"]
    assert "\n" not in answer.json()["error"]


def test_a_request_must_be_a_form_with_queries(client: TestClient, cat: Any) -> None:
    assert client.post("/api/segment", json={}).status_code == 415
    assert client.post("/api/segment", files=cat[2:]).status_code == 400
    boundary = {"content-type": "multipart/form-data; boundary=x"}
    assert client.post("/api/segment", content=b"--x\r\nnonsense", headers=boundary).status_code == 400
    assert client.post("/api/segment", content=bytes(MOST + 1), headers=boundary).status_code == 413
    assert client.get("/api/segment").status_code == 405
    for path in ("/api/nothing", "/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2f..%2fcli.py"):
        assert client.get(path).status_code == 404


def test_uploads_are_removed(client: TestClient, cat: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "t"))
    assert client.post("/api/segment", files=cat).status_code == 200
    assert client.post("/api/segment", files=cat, headers=NDJSON).status_code == 200
    assert client.post("/api/segment", files=cat, data={"options": "{"}).status_code == 422
    assert client.post("/api/explain", files=[("image", one) for _, one in cat[:2]]).status_code == 200
    assert not list((tmp_path / "t").iterdir())


def test_why_two_images_are_alike(client: TestClient, cat: Any) -> None:
    answer = client.post("/api/explain", files=[("image", one) for _, one in cat[:3]]).json()
    similarity = np.array(answer["similarity"])
    assert similarity.shape == (3, 3)
    assert similarity[0, 2] > similarity[0, 1], "the cat's face is more like the cat than the cup"
    assert [one["size"] for one in answer["images"]] == [[250, 350], [400, 600], [300, 451]]
    assert answer["images"][0]["heat"].startswith("data:image/png;base64,")
    assert client.post("/api/explain", files=[("image", cat[0][1])]).status_code == 400


def test_an_index_is_built_of_a_folder_named_at_start_and_searched(client: TestClient, photos: Path) -> None:
    assert client.post("/api/indexes", json={"name": "all", "folder": 7}).status_code == 400
    assert client.post("/api/indexes", json={"name": "../x", "folder": 0}).status_code == 422
    lines = client.post("/api/indexes", json={"name": "all", "folder": 0}).text.splitlines()
    assert json.loads(lines[-1]) == {"finished": True, "name": "all", "images": 6}
    assert client.get("/api/indexes").json() == {"indexes": [{"name": "all", "images": 6}]}
    asked: dict[str, Any] = {"files": [part("query", photos / "cat.png")], "data": {"index": "all", "k": "2"}}
    hits = client.post("/api/search", **asked).json()["hits"]
    assert hits[0]["name"] == "cat.png"
    assert hits[0]["score"] == pytest.approx(1)
    assert len(hits) == 2
    shown = client.get(hits[0]["image"], params={"side": 100})
    assert max(Image.open(io.BytesIO(shown.content)).size) == 100
    row = hits[0]["image"].rsplit("/", 1)[1]
    why = client.post("/api/explain", files=[("image", asked["files"][0][1])], data={"hit": f"all/{row}"}).json()
    assert why["similarity"][0][1] == pytest.approx(1)
    wrong = [{"index": "none"}, {"index": "all", "k": "0"}, {"index": "all", "k": "x"}, {"index": "all", "box": "1,2"}]
    for data, status in zip(wrong, (404, 400, 400, 400), strict=True):
        assert client.post("/api/search", files=asked["files"], data=data).status_code == status
    assert client.get("/api/indexes/all/images/99").status_code == 404

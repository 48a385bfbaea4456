"""The page's loop: example, run, correct, accept, further example, export; and what is there after a restart."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask
from starlette.testclient import TestClient

from fewshot_seg.errors import ConfigError, DataError
from fewshot_seg.network.embedding import Embedder
from fewshot_seg.web.project import Project
from tests.fewshot_seg.web.conftest import open_client

CAT, FACE, CUP = "cat.png", "cat face.png", "cup.jpg"


def upload(client: TestClient, path: Path, query: int = 1, name: str | None = None) -> dict[str, Any]:
    files = [("file", (name or path.name, path.read_bytes()))]
    (image,) = client.post("/api/project/images", params={"query": query}, files=files).json()["images"]
    return dict(image)


def labels(client: TestClient, number: int) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(client.get(f"/api/project/images/{number}/labels.png").content)))


def run(client: TestClient, images: list[int] | None = None) -> list[dict[str, Any]]:
    answer = client.post("/api/project/run", json={"images": images})
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


@pytest.fixture(scope="module")
def first(embedder: Embedder, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    """A project with a cat as the example, its face and a cup as queries, run; and their numbers."""
    folder = tmp_path_factory.mktemp("first") / "project"
    with open_client(embedder, folder, photos) as client:
        numbers = {name: upload(client, photos / name, query=int(name != CAT))["id"] for name in (CAT, FACE, CUP)}
        asked = {"image": numbers[CAT], "class": "cat", "hint": {"box": [20, 20, 400, 270]}}
        assert client.post("/api/project/examples", json=asked).is_success
        run(client)
    return folder, numbers


@pytest.fixture
def begun(first: tuple[Path, dict[str, int]], tmp_path: Path) -> dict[str, int]:
    """A copy of it, that `client` opens."""
    shutil.copytree(first[0], tmp_path / "project")
    return first[1]


def test_results_come_one_by_one_and_are_shown_as_they_are(begun: dict[str, int], client: TestClient) -> None:
    *lines, last = run(client)
    assert [(one["done"], one["total"], one["image"]["id"]) for one in lines] == [
        (1, 2, begun[FACE]),
        (2, 2, begun[CUP]),
    ]
    assert last["finished"]
    (found,) = lines[0]["image"]["objects"]
    assert (found["class"], found["present"]) == ("cat", True)
    mask = labels(client, begun[FACE])
    (shown,) = client.get(f"/api/project/images/{begun[FACE]}/result").json()["objects"]
    assert shown["area"] == int((mask == 1).sum()) > 0.2 * mask.size
    assert shown["instances"] >= 1
    heat = Image.open(io.BytesIO(client.get(f"/api/project/images/{begun[FACE]}/heat.png?class=cat").content))
    assert np.asarray(heat).max() > 200
    assert client.get(f"/api/project/images/{begun[FACE]}/heat.png?class=dog").status_code == 404
    photo = Image.open(io.BytesIO(client.get(f"/api/project/images/{begun[FACE]}/image?side=64").content))
    assert max(photo.size) == 64
    assert client.get(f"/api/project/images/{begun[FACE]}/image?side=1").status_code == 400


def test_sliders_change_masks_without_a_run(begun: dict[str, int], client: TestClient) -> None:
    before = client.get("/api/project").json()
    area = (labels(client, begun[FACE]) > 0).sum()
    after = client.put("/api/project/settings", json={"threshold": 0.9}).json()
    version = {one["id"]: one["version"] for one in before["images"]}
    assert all(one["version"] != version[one["id"]] for one in after["images"])
    assert (labels(client, begun[FACE]) > 0).sum() < area
    client.put("/api/project/settings", json={"presence": 1.0})
    assert not labels(client, begun[FACE]).any()
    client.put("/api/project/settings", json={"threshold": None, "presence": None})
    assert (labels(client, begun[FACE]) > 0).sum() == area
    assert client.put("/api/project/settings", json={"threshold": 7}).status_code == 422
    assert client.put("/api/project/settings", json={"nonsense": 7}).status_code == 422


def test_corrections_hold_and_undo_is_the_list_without_its_last(begun: dict[str, int], client: TestClient) -> None:
    at = f"/api/project/images/{begun[CUP]}"
    point = {"class": "cat", "point": [300, 180], "foreground": True}
    brush = {"class": "cat", "stroke": {"foreground": True, "radius": 9, "points": [[30, 30], [60, 30]]}}
    eraser = {"class": "cat", "stroke": {"foreground": False, "radius": 4, "points": [[30, 30]]}}
    masks = []
    for edits in ([point], [point, brush], [point, brush, eraser], [point, brush]):
        answer = client.put(f"{at}/edits", json={"edits": edits})
        assert answer.json()["image"]["edits"] == edits
        masks.append(labels(client, begun[CUP]))
    assert masks[0][180, 300] == 1
    assert masks[1][30, 45] == 1
    assert (masks[2][30, 30], masks[2][30, 45]) == (0, 1)
    assert (masks[3] == masks[1]).all()
    assert client.get("/api/project").json()["clicks"] == 4, "the example's box, a click, a brush, an eraser"
    wrong = client.put(f"{at}/edits", json={"edits": [{"class": "cat", "point": [9999, 1], "foreground": True}]})
    assert wrong.status_code == 400
    assert client.get("/api/project").json()["images"][2]["edits"] == [point, brush], "nothing of it is kept"
    for bad in ({"class": "cat"}, {"class": "cat", "point": [1], "foreground": True}, {**point, "x": 1}):
        assert client.put(f"{at}/edits", json={"edits": [bad]}).status_code == 422


def test_an_accepted_mask_stays_and_helps_as_a_further_example(begun: dict[str, int], client: TestClient) -> None:
    at = f"/api/project/images/{begun[FACE]}"
    assert client.post(f"{at}/example").status_code == 400, "not accepted yet"
    mask = labels(client, begun[FACE])
    assert client.post(f"{at}/accept", json={"accepted": True}).json()["accepted"]
    (example,) = client.post(f"{at}/example").json()["examples"]
    assert (example["class"], example["accepted"]) == ("cat", True)
    assert client.post(f"{at}/example").json()["examples"][0]["id"] != example["id"]
    assert len(client.get("/api/project").json()["examples"]) == 2, "it is its example once"
    *lines, _ = run(client)
    assert [one["image"]["id"] for one in lines] == [begun[CUP]], "what is accepted is not run again"
    client.put("/api/project/settings", json={"presence": 1.0})
    assert (labels(client, begun[FACE]) == mask).all()
    client.post(f"{at}/accept", json={"accepted": False})
    assert not labels(client, begun[FACE]).any(), "sliders act on it again"
    client.post(f"{at}/accept", json={"accepted": True})
    client.put("/api/project/settings", json={"presence": None})
    assert not labels(client, begun[FACE]).any(), "accepted as it was then, not as it was the first time"


def test_an_export_holds_what_was_shown(begun: dict[str, int], client: TestClient) -> None:
    assert client.get("/api/project/export?format=coco").status_code == 400, "nothing is accepted yet"
    crumb = {"class": "cat", "stroke": {"foreground": True, "radius": 2, "points": [[4, 4]]}}
    client.put(f"/api/project/images/{begun[FACE]}/edits", json={"edits": [crumb]})
    client.post(f"/api/project/images/{begun[FACE]}/accept", json={"accepted": True})
    mask = labels(client, begun[FACE]) > 0
    for form in client.get("/api/formats").json()["formats"]:
        answer = client.get("/api/project/export", params={"format": form["name"]})
        assert answer.status_code == 200, answer.text
        names = zipfile.ZipFile(io.BytesIO(answer.content)).namelist()
        assert names
        assert not any(name.startswith(("/", "..")) for name in names)
    packed = zipfile.ZipFile(io.BytesIO(client.get("/api/project/export?format=coco&accepted=0").content))
    coco = json.loads(packed.read("annotations.json"))
    (face,) = [one["id"] for one in coco["images"] if one["file_name"] == FACE]
    parts = [one["segmentation"] for one in coco["annotations"] if one["image_id"] == face]
    drawn = np.any([coco_mask.decode(one) for one in parts], axis=0)
    assert mask[4, 4]
    assert (drawn == mask).all(), "the crumb, too"
    assert client.get("/api/project/export?format=docx").status_code == 400


def test_everything_is_there_after_a_restart(
    begun: dict[str, int], client: TestClient, embedder: Embedder, photos: Path, tmp_path: Path
) -> None:
    client.post(f"/api/project/images/{begun[FACE]}/accept", json={"accepted": True})
    client.put("/api/project/settings", json={"threshold": 0.6, "meaning": "kind"})
    state, masks = client.get("/api/project").json(), [labels(client, begun[name]) for name in (FACE, CUP)]
    with open_client(embedder, tmp_path / "project", photos) as again:  # the first never closed its database
        assert again.get("/api/project").json() == state
        assert all((labels(again, begun[name]) == mask).all() for name, mask in zip((FACE, CUP), masks, strict=True))


def test_classes_are_renamed_and_forgotten_with_their_masks(
    begun: dict[str, int], client: TestClient, tmp_path: Path
) -> None:
    client.post(f"/api/project/images/{begun[FACE]}/accept", json={"accepted": True})
    mask = labels(client, begun[FACE])
    assert client.post("/api/project/classes", json={"name": "dog"}).json()["classes"] == ["cat", "dog"]
    assert client.patch("/api/project/classes/0", json={"name": "DOG"}).status_code == 400, "taken"
    assert client.patch("/api/project/classes/0", json={"name": "tiger"}).json()["classes"] == ["tiger", "dog"]
    assert (labels(client, begun[FACE]) == mask).all()
    client.post(f"/api/project/images/{begun[FACE]}/example")
    assert len(list((tmp_path / "project" / "examples").iterdir())) == 1
    assert client.delete("/api/project/classes/0").json()["examples"] == []
    assert not list((tmp_path / "project" / "examples").iterdir())
    assert not labels(client, begun[FACE]).any()
    assert client.delete("/api/project/classes/9").status_code == 404
    assert client.post("/api/project/run", json={}).status_code == 400, "no example is left"


def test_a_folder_named_at_start_is_opened_and_links_out_of_it_are_not(
    embedder: Embedder, photos: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "cup.jpg").write_bytes((photos / CUP).read_bytes())
    (folder / "out.png").symlink_to(photos / CAT)
    with open_client(embedder, tmp_path / "p", folder) as client:
        opened = client.post("/api/project/folders/0").json()["images"]
        assert [one["name"] for one in opened] == ["sub/cup.jpg"]
        assert len(client.post("/api/project/folders/0").json()["images"]) == 1, "twice is once"
        assert client.post("/api/project/folders/1").status_code == 404
        client.delete(f"/api/project/images/{opened[0]['id']}")
        assert (folder / "sub" / "cup.jpg").exists(), "only what was uploaded is removed"


def test_uploads_are_text_and_images_alone(client: TestClient, photos: Path, tmp_path: Path) -> None:
    image = upload(client, photos / CUP, name="../../<img src=x onerror=alert(1)>.jpg")
    assert image["name"] == "<img src=x onerror=alert(1)>.jpg"
    assert upload(client, photos / CUP)["id"] == image["id"], "the same file is kept once"
    (tmp_path / "x.svg").write_bytes(b"<svg/>")
    assert "not an image" in upload(client, tmp_path / "x.svg")["error"]
    assert len(list((tmp_path / "project" / "images").iterdir())) == 1
    client.delete(f"/api/project/images/{image['id']}")
    assert not list((tmp_path / "project" / "images").iterdir())
    for what in ("image", "labels.png", "result"):
        assert client.get(f"/api/project/images/{image['id']}/{what}").status_code == 404
    assert client.post("/api/project/run", json={"images": [99]}).status_code == 404
    asked = {"image": 99, "class": "x", "hint": None}
    assert client.post("/api/project/examples", json=asked).status_code == 404


def test_examples_are_checked_changed_and_removed(client: TestClient, photos: Path) -> None:
    number = upload(client, photos / CAT, query=0)["id"]
    hints: list[Any] = [{"box": [9000, 0, 5, 5]}, {"points": [[9000, 0, True]]}, {"box": [1, 2, 3]}, {"mask": True}]
    for hint, status in zip(hints, (400, 400, 422, 422), strict=True):
        answer = client.post("/api/project/examples", json={"image": number, "class": "cat", "hint": hint})
        assert answer.status_code == status
    stroke = {"foreground": True, "radius": 6, "points": [[200, 100], [220, 120]]}
    for hint in ({"strokes": [stroke]}, {"points": [[200, 100, True]]}, None):
        asked = {"image": number, "class": "cat", "hint": hint}
        example = client.post("/api/project/examples", json=asked).json()
        assert example["hint"] == hint
    changed = client.put(f"/api/project/examples/{example['id']}", json={"class": "tabby", "hint": None}).json()
    assert changed["class"] == "tabby"
    assert len(client.delete(f"/api/project/examples/{example['id']}").json()["examples"]) == 2
    assert client.delete(f"/api/project/examples/{example['id']}").status_code == 404


def test_a_project_goes_into_no_folder_of_others(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(ConfigError, match="holds other files"):
        Project(tmp_path)
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "project.db").write_bytes(b"no database" * 100)
    with pytest.raises(DataError, match="damaged"):
        Project(tmp_path / "damaged")
    assert (tmp_path / "letter.txt").read_text() == "mine"

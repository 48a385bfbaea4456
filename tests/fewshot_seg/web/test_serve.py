"""The command itself, in a process of its own: its address, its refusals, kill -9, SIGTERM, and clients that leave."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fewshot_seg.command_line import error_line, fewshot, names_in

SERVE = [sys.executable, "-m", "fewshot_seg", "serve", "--port", "0", "--no-browser"]


@contextmanager
def server(project: Path, *more: str) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    process = subprocess.Popen([*SERVE, "--project", str(project), *more], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = re.match(r"Open (http://\S+?/)", process.stdout.readline())
        assert address is not None
        with httpx.Client(base_url=address[1], timeout=60) as client:
            yield process, client
    finally:
        process.kill()
        process.wait()


def test_nothing_that_was_confirmed_is_lost_by_kill_9_and_sigterm_finishes_what_runs(
    photos: Path, tmp_path: Path
) -> None:
    face = photos / "cat face.png"
    with server(tmp_path / "p", "--folder", str(photos)) as (process, client):
        (image,) = client.post("/api/project/images", files=[("file", (face.name, face.read_bytes()))]).json()["images"]
        client.post("/api/project/examples", json={"image": image["id"], "class": "cat", "hint": None})
        assert client.post("/api/project/run", json={}).text.count("\n") == 2
        client.post(f"/api/project/images/{image['id']}/accept", json={"accepted": True})
        state = client.get("/api/project").json()
        mask = client.get(f"/api/project/images/{image['id']}/labels.png").content
        second = fewshot(*SERVE[3:], "--project", tmp_path / "p")
        assert "another process is at work in it" in error_line(second)
        process.send_signal(signal.SIGKILL)
    with server(tmp_path / "p", "--folder", str(photos)) as (process, client):
        assert client.get("/api/project").json() == state
        assert client.get(f"/api/project/images/{image['id']}/labels.png").content == mask
        leave_early(client, face.read_bytes())
        files = [("query", (f"{n}.png", face.read_bytes())) for n in range(3)]
        files.append(("support", ("cat.png", face.read_bytes())))
        with client.stream("POST", "/api/segment", files=files, headers={"accept": "application/x-ndjson"}) as answer:
            lines = answer.iter_lines()
            assert json.loads(next(lines))["classes"]
            start = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert [json.loads(line)["error"] for line in lines] == [None, None, None], "what runs is finished"
        assert process.wait(10) == 0
        assert time.monotonic() - start < 10


def leave_early(client: httpx.Client, face: bytes) -> None:
    """A closed connection ends its work, or 300 images would keep the next client waiting."""
    many: Any = [("query", (f"{n}.png", face)) for n in range(300)]
    support = ("support", ("s.png", face))
    streaming = {"accept": "application/x-ndjson"}
    with client.stream("POST", "/api/segment", files=[*many, support], headers=streaming) as answer:
        next(answer.iter_lines())
    start = time.monotonic()
    assert client.post("/api/segment", files=[many[0], support]).is_success
    assert time.monotonic() - start < 20


def test_without_the_extra_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)  # what Python itself says where a package is missing
    said = error_line(fewshot("serve", "--no-browser", "--project", tmp_path / "p"))
    assert "pip install 'fewshot-seg[web]'" in said
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--host", "0.0.0.0"], "choose a --token"),
        (["--host", "0.0.0.0", "--token", "short"], "at least 8"),
        (["--folder", "no-such-folder"], "no such folder"),
        (["--index", "x"], "NAME=DIR"),
        (["--index", "x=no-such-index"], "no-such-index"),
        (["--host", "256.1.1.1", "--token", "abcdefgh"], "cannot listen"),
        (["--project", "."], "holds other files"),
    ],
)
def test_a_wrong_start_is_one_line(more: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("letter.txt").write_text("mine")
    project = [] if "--project" in more else ["--project", "p"]
    assert said in error_line(fewshot("serve", "--port", "0", "--no-browser", *project, *more))
    assert names_in(tmp_path) in (["letter.txt"], ["letter.txt", "p"])

"""What surrounds the driven page: the server, what the browser complains of, what the server holds."""

from __future__ import annotations

import io
import re
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import ConsoleMessage, Page, Request


class Served:
    """`fewshot-seg serve` on a project, with one start folder."""

    def __init__(self, project: Path, folder: Path) -> None:
        self._project, self._folder = project, folder
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> str:
        """Starts it; its address."""
        arguments = ["serve", "--port", "0", "--project", str(self._project), "--folder", str(self._folder)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "fewshot_seg", *arguments, "--no-browser"], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+/", line)
        assert found, f"no address: {line!r}"
        return found[0]

    def kill(self) -> None:
        """As a crash would end it."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def __enter__(self) -> Served:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=20)


class Listener:
    """Hears errors of the page, dialogs, and requests that leave the machine."""

    def __init__(self, page: Page) -> None:
        self._heard: list[str] = []
        page.on("console", self._console)
        page.on("pageerror", lambda error: self._heard.append(f"page error: {error}"))
        page.on("dialog", lambda dialog: (self._heard.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._heard.append(f"console: {message.text} ({message.location.get('url')})")

    def _request(self, request: Request) -> None:
        if not re.match(r"http://127\.0\.0\.1:\d+/|blob:http://127\.0\.0\.1:\d+/|data:", request.url):
            self._heard.append(f"a request leaves the machine: {request.url}")

    def check(self) -> None:
        """Fails where anything was heard."""
        assert not self._heard, "\n".join(self._heard)


def project_of(page: Page) -> dict[str, Any]:
    """The project, as the server has it."""
    found: dict[str, Any] = page.evaluate("fetch('/api/project').then((answer) => answer.json())")
    return found


def shown_labels(page: Page, number: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """An image's label map (H,W), as the page is given it."""
    version = next(image["version"] for image in project_of(page)["images"] if image["id"] == number)
    answer = page.request.get(f"{page.url.split('#')[0]}api/project/images/{number}/labels.png?v={version}")
    assert answer.ok, answer.status
    return np.asarray(Image.open(io.BytesIO(answer.body())))


def shown_state(page: Page) -> list[tuple[str | None, str | None]]:
    """Name and state of each thumbnail."""
    return [(cell.get_attribute("title"), cell.get_attribute("data-state")) for cell in page.locator(".thumb").all()]


def exported_masks(archive: Path) -> dict[str, np.ndarray[Any, np.dtype[np.bool_]]]:
    """Masks (H,W) of all classes together by file name, of a zip with COCO json, read by pycocotools."""
    from pycocotools.coco import COCO

    with TemporaryDirectory() as folder:
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(folder)
        (file,) = Path(folder).rglob("*.json")
        coco = COCO(str(file))
        masks = {}
        for number, image in coco.imgs.items():
            shapes = [coco.annToMask(one) for one in coco.loadAnns(coco.getAnnIds(imgIds=[number]))]
            blank = np.zeros((image["height"], image["width"]), np.uint8)
            masks[Path(image["file_name"]).name] = np.any([blank, *shapes], axis=0)
    return masks

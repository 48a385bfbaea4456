"""What a person does on the page, step by step, each with what must come of it."""

from __future__ import annotations

import base64
import time
from pathlib import Path

from playwright.sync_api import Page, expect
from surroundings import exported_masks, project_of, shown_labels
from views import snap

SUPPORT = ("000000000034.jpg", (1, 20, 441, 379), (425, 640))  # a zebra: its box, the image's height and width
QUERIES = ("000000000154.jpg", "000000000072.jpg", "000000000144.jpg", "000000000081.jpg", "000000000074.jpg")
ODD_NAME = "<img src=x onerror=alert(1)>.jpg"
TIMEOUT = 120_000  # ms
DROP = """([files, selector]) => {
  const carried = new DataTransfer();
  for (const [name, data] of files) {
    const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
    carried.items.add(new File([bytes], name, { type: "image/jpeg" }));
  }
  const how = { dataTransfer: carried, bubbles: true, cancelable: true };
  for (const kind of ["dragenter", "dragover", "drop"])
    document.querySelector(selector).dispatchEvent(new DragEvent(kind, how));
}"""


def on_canvas(page: Page, x: float, y: float, size: tuple[int, int]) -> tuple[float, float]:
    """The screen's point over an image's (x, y), while the image is fitted. `size`: its height and width."""
    box = page.locator("#canvas").bounding_box()
    assert box is not None
    scale = min((box["width"] - 24) / size[1], (box["height"] - 24) / size[0], 8)
    left, top = (box["width"] - size[1] * scale) / 2, (box["height"] - size[0] * scale) / 2
    return box["x"] + left + x * scale, box["y"] + top + y * scale


def choose(page: Page, button: str, files: list[Path]) -> None:
    with page.expect_file_chooser() as chooser:
        page.click(button)
    chooser.value.set_files(files)


def drop(page: Page, onto: str, files: list[Path]) -> None:
    content = [[path.name, base64.b64encode(path.read_bytes()).decode()] for path in files]
    page.evaluate(DROP, [content, onto])


def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*end, steps=8)
    page.mouse.up()


def add_support(page: Page, photos: Path) -> None:
    drop(page, "#classes .drop", [photos / SUPPORT[0]])
    expect(page.locator("#caption")).to_contain_text("Example: ")
    page.fill("#name-0", "zebra")
    page.keyboard.press("Enter")
    expect(page.locator("#object-0")).to_contain_text("zebra")


def mark_by_box(page: Page) -> None:
    _, (x, y, width, height), size = SUPPORT
    page.click('[data-tool="box"]')
    with page.expect_response(lambda answer: '"box"' in (answer.request.post_data or "")) as put:
        drag(page, on_canvas(page, x, y, size), on_canvas(page, x + width, y + height, size))
    found = put.value.json()["hint"]["box"]
    assert max(abs(a - b) for a, b in zip(found, (x, y, width, height), strict=True)) <= 3, found
    expect(page.locator("#objects")).to_contain_text("Marked by a box")


def mark_in_haste(page: Page) -> None:
    """Clicks that follow each other at once all arrive, and are undone one by one."""
    size = SUPPORT[2]
    page.keyboard.press("c")
    for x in (120, 150, 180, 210):
        page.mouse.click(*on_canvas(page, x, 150, size))
    expect(page.locator("#objects")).to_contain_text("Marked by 4 clicks")
    page.wait_for_timeout(2500)
    assert len(project_of(page)["examples"][0]["hint"]["points"]) == 4
    for _ in range(4):
        page.keyboard.press("Control+z")
    expect(page.locator("#objects")).to_contain_text("No mark")


def add_queries(page: Page, photos: Path, folder: Path) -> None:
    odd = folder / ODD_NAME
    odd.write_bytes((photos / QUERIES[0]).read_bytes() + b"\n")  # other bytes: the same file again is kept once
    drop(page, "#queries-scroll", [*(photos / name for name in QUERIES), odd])
    expect(page.locator(".thumb")).to_have_count(len(QUERIES) + 1)
    bad = folder / "not an image.jpg"
    bad.write_text("no")
    choose(page, "#queries-add", [bad])
    expect(page.locator(".toast.error")).to_contain_text("not an image.jpg")
    page.click(".toast.error button")
    page.click("#folder-0")
    expect(page.locator(".thumb")).to_have_count(len(QUERIES) + 3)


def run_all(page: Page) -> None:
    page.click("#run")
    expect(page.locator("#run-progress")).to_be_visible()
    expect(page.locator("#run-progress")).to_be_hidden(timeout=TIMEOUT)
    expect(page.locator('.thumb[data-state="new"]')).to_have_count(0)


def correct(page: Page) -> float:
    """Corrects the first photo by clicks, brush and eraser; undoes and redoes. The milliseconds of a click's answer."""
    page.locator(".thumb").first.click()
    project = project_of(page)
    first = next(image for image in project["images"] if image["query"])
    size = tuple(first["size"])
    page.wait_for_timeout(600)
    before = shown_labels(page, first["id"])
    page.keyboard.press("c")
    started = time.perf_counter()
    with page.expect_response(lambda answer: "labels.png" in answer.url and f"/{first['id']}/" in answer.url):
        page.mouse.click(*on_canvas(page, 200, 300, size))
    took = 1000 * (time.perf_counter() - started)
    with page.expect_response(lambda answer: answer.url.endswith("/edits")):
        page.mouse.click(*on_canvas(page, 30, 30, size), button="right")
    page.keyboard.press("b")
    with page.expect_response(lambda answer: answer.url.endswith("/edits")):
        drag(page, on_canvas(page, 300, 40, size), on_canvas(page, 400, 60, size))
    page.keyboard.press("e")
    with page.expect_response(lambda answer: answer.url.endswith("/edits")):
        drag(page, on_canvas(page, 340, 20, size), on_canvas(page, 340, 90, size))
    labels = shown_labels(page, first["id"])
    assert labels[30, 30] == 0, "a background click"
    assert labels[45, 310] == 1, "the brush"
    assert labels[48, 340] == 0, "the eraser"
    assert (before != labels).any()
    for key, count in (("Control+z", 3), ("Control+z", 2), ("Control+Shift+z", 3), ("Control+y", 4)):
        with page.expect_response(lambda answer: answer.url.endswith("/edits")) as edits:
            page.keyboard.press(key)
        assert len(edits.value.json()["image"]["edits"]) == count, key
    assert (shown_labels(page, first["id"]) == labels).all(), "redone is as before"
    return took


def correct_by_keys(page: Page) -> None:
    """The crosshair, a click and its undoing, without a pointer."""
    page.locator(".thumb").nth(1).focus()
    page.keyboard.press("Enter")
    number = page.evaluate("document.activeElement.id").removeprefix("thumb-")
    page.wait_for_timeout(600)
    page.keyboard.press("c")
    page.focus("#canvas")
    for key in ("ArrowLeft", "ArrowUp", "Shift+ArrowLeft"):
        page.keyboard.press(key)
    for key, count in (("Space", 1), ("Shift+Space", 2), ("Control+z", 1), ("Control+z", 0)):
        with page.expect_response(lambda answer: answer.url.endswith(f"/{number}/edits")) as edits:
            page.keyboard.press(key)
        assert len(edits.value.json()["image"]["edits"]) == count, key


def slide(page: Page) -> None:
    """The sliders act without a run; only photos in sight are asked for again."""
    page.uncheck("#threshold-auto")
    page.wait_for_timeout(500)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "labels.png" in request.url else None)
    page.focus("#threshold")
    for _ in range(6):
        page.keyboard.press("ArrowRight")
    page.wait_for_timeout(1500)
    assert asked, "no labels were fetched again"
    assert project_of(page)["settings"]["threshold"] == float(page.input_value("#threshold"))
    page.check("#threshold-auto")
    page.wait_for_timeout(500)
    assert project_of(page)["settings"]["threshold"] is None


def accept_and_use(page: Page) -> None:
    page.locator(".thumb").first.click()
    page.keyboard.press("a")
    expect(page.locator(".thumb").first).to_have_attribute("data-state", "accepted")
    expect(page.locator("#accepted")).to_contain_text("1 of")
    assert page.locator(".thumb").first.get_attribute("aria-selected") == "false", "it goes on to the next"
    page.locator(".thumb").first.click()
    page.keyboard.press("u")
    expect(page.locator(".example .picture")).to_have_count(2)
    expect(page.locator("#run-progress")).to_be_hidden(timeout=TIMEOUT)
    page.wait_for_timeout(300)
    expect(page.locator("#run-progress")).to_be_hidden(timeout=TIMEOUT)
    page.keyboard.press("j")
    page.keyboard.press("a")
    expect(page.locator("#accepted")).to_contain_text("2 of")


def export(page: Page, folder: Path) -> float:
    """Exports the accepted ones as COCO json; the least IoU of its masks with what is shown."""
    page.click("#export-open")
    page.select_option("#export-format", "coco")
    snap(page, "dialog-export")
    with page.expect_download() as download:
        page.click("#export-go")
    archive = folder / "coco.zip"
    download.value.save_as(archive)
    accepted = [image for image in project_of(page)["images"] if image["accepted"]]
    masks = exported_masks(archive)
    assert len(masks) == len(accepted) == 2, (sorted(masks), [image["name"] for image in accepted])
    least = 1.0
    for image in accepted:
        shown = shown_labels(page, image["id"]) > 0
        mask = masks[image["name"]]
        least = min(least, (shown & mask).sum() / max(1, (shown | mask).sum()))
    assert least > 0.99, least
    return least


def search_and_why(page: Page, photos: Path) -> None:
    page.click("#tab-search")
    page.click("#index-build")
    expect(page.locator("#index")).to_have_value("start", timeout=TIMEOUT)
    choose(page, "#search-choose", [photos / SUPPORT[0]])
    page.wait_for_timeout(400)
    box = page.locator("#search-canvas").bounding_box()
    assert box is not None
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    drag(page, (middle[0] - 60, middle[1] - 50), (middle[0] + 60, middle[1] + 40))
    expect(page.locator("#search-unbox")).to_be_enabled()
    page.click("#search-go")
    expect(page.locator("#hits li")).not_to_have_count(0, timeout=TIMEOUT)
    page.locator("#hits button").first.click()
    expect(page.locator("#reason .reasons canvas")).to_have_count(4, timeout=TIMEOUT)
    snap(page, "dialog-reason")
    page.keyboard.press("Escape")
    page.click("#tab-why")
    choose(page, "#why-choose", [photos / name for name in (SUPPORT[0], *QUERIES[:2])])
    expect(page.locator(".cosines")).to_be_visible(timeout=TIMEOUT)
    page.click("#tab-label")

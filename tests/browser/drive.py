"""Drives the page of `fewshot-seg serve` in Debian's Chromium, from the first example to an export: `make page-test`.

Prints a line for each step, writes screenshots to --out, and leaves with 1 at the first thing that is wrong.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

import steps
from playwright.sync_api import Page, expect, sync_playwright
from steps import QUERIES
from surroundings import Listener, Served, project_of, shown_state
from views import look_everywhere

ROOT = Path(__file__).parents[2]


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def drive(page: Page, served: Served, photos: Path, folder: Path) -> None:
    page.goto(served.start())
    expect(page.locator("#welcome")).to_be_visible()
    look_everywhere(page, "empty", say)
    steps.add_support(page, photos)
    steps.mark_in_haste(page)
    steps.mark_by_box(page)
    say("an example dropped and marked")
    steps.add_queries(page, photos, folder)
    steps.run_all(page)
    say(f"{page.locator('.thumb').count()} photos run: {page.locator('#filters').inner_text().split(chr(10))}")
    say(f"corrected by clicks, brush and eraser; a click is shown after {steps.correct(page):.0f} ms")
    steps.correct_by_keys(page)
    steps.slide(page)
    steps.accept_and_use(page)
    say("accepted, an example made of it, the rest run again")
    say(f"COCO json, read by pycocotools: IoU {steps.export(page, folder):.4f} with what is shown")
    steps.search_and_why(page, photos)
    say("searched, and asked why")
    before, shown = project_of(page), shown_state(page)
    page.reload()
    expect(page.locator(".thumb")).to_have_count(len(QUERIES) + 3)
    assert (project_of(page), shown_state(page)) == (before, shown), "after a reload"
    served.kill()
    page.goto(served.start())
    expect(page.locator(".thumb")).to_have_count(len(QUERIES) + 3)
    assert (project_of(page), shown_state(page)) == (before, shown), "after kill -9"
    say("a reload and a kill -9 lose nothing")
    steps.search_and_why(page, photos)
    look_everywhere(page, "full", say)


def main() -> None:
    data = Path(os.environ.get("FEWSHOT_SEG_DATA", ROOT.parent / "shared" / "data"))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("page-test-out"), help="folder for screenshots")
    parser.add_argument("--photos", type=Path, default=data / "coco128" / "images", help="coco128's images")
    parser.add_argument("--chromium", default=shutil.which("chromium") or "chromium", help="the browser's program")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    os.environ["PAGE_TEST_OUT"] = str(asked.out)
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        start = folder / "start"
        start.mkdir()
        for photo in QUERIES[1:3]:
            shutil.copy(asked.photos / photo, start / f"from-folder-{photo}")
        browser = playwright.chromium.launch(executable_path=asked.chromium, args=["--no-sandbox"])
        page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
        with Served(folder / "project", start) as served:
            listener = Listener(page)
            drive(page, served, asked.photos, folder)
            listener.check()
        browser.close()
    say("all is well")


if __name__ == "__main__":
    main()

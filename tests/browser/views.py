"""Every view of the page at two widths, light and dark: a screenshot, what axe finds, and nothing too wide."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

SIZES = {"1440": (1440, 900), "390": (390, 844)}
BETWEEN = ((320, 640), (844, 390), (1024, 768))  # a zoomed page, a telephone on its side, a tablet
GRAVE = ("serious", "critical")


def snap(page: Page, name: str) -> None:
    """A screenshot into the folder of this run."""
    page.screenshot(path=Path(os.environ["PAGE_TEST_OUT"]) / f"{name}.png")


def look_everywhere(page: Page, name: str, say: Callable[[str], None]) -> None:
    """Looks at each view; leaves the page as it was, at the Label tab."""
    count = 0
    for size, (width, height) in SIZES.items():
        page.set_viewport_size({"width": width, "height": height})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            for view in _views(page, narrow=width < 800):
                page.wait_for_timeout(350)
                _check(page, f"{name} {view} {size} {scheme}")
                snap(page, f"{name}-{view}-{size}-{scheme}")
                count += 1
    page.emulate_media(color_scheme="light")
    for width, height in BETWEEN:
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_timeout(200)
        _check_width(page, f"{name} {width}")
    page.set_viewport_size({"width": 1440, "height": 900})
    say(f"{count} views of the {name} page: no grave fault by axe, nothing to scroll sideways")


def _views(page: Page, *, narrow: bool) -> Iterator[str]:
    for tab in ("search", "why"):
        page.click(f"#tab-{tab}")
        yield tab
    page.click("#tab-label")
    if narrow:
        for pane in ("classes", "queries", "image"):
            page.click(f'.panes [data-pane="{pane}"]')
            yield pane
    else:
        yield "label"
    page.click("#help-open")
    yield "help"
    page.keyboard.press("Escape")


def _check(page: Page, where: str) -> None:
    found = [one for one in Axe().run(page).response["violations"] if one["impact"] in GRAVE]
    lines = [f"{one['id']}: {one['help']}: {[node['html'][:160] for node in one['nodes'][:3]]}" for one in found]
    assert not lines, f"{where}:\n" + "\n".join(lines)
    _check_width(page, where)


def _check_width(page: Page, where: str) -> None:
    wide = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide[0] <= wide[1], f"{where}: {wide[0]} pixels wide in {wide[1]}"

"""The page's files hold together: what they name exists and is shipped, and nothing is loaded from elsewhere."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
STATIC = ROOT / "fewshot_seg" / "web" / "static"
SCRIPTS = sorted(STATIC.glob("*.js"))
NAMESPACE = 'xmlns="http://www.w3.org/2000/svg"'  # a name, never fetched


def imports(script: Path) -> Iterator[tuple[str, list[str]]]:
    """(file, names) of each import of a module."""
    for names, file in re.findall(r'^import (?:([^";]+?) from )?"(.+?)";', script.read_text("utf-8"), re.M):
        yield file, re.findall(r"[\w$]+", names) if names.startswith("{") else []


def ids() -> set[str]:
    """Ids in the page, and those that a script gives to what it makes."""
    found = set(re.findall(r'\bid="([\w-]+)"', (STATIC / "index.html").read_text("utf-8")))
    return found.union(*(re.findall(r'\bid: "([\w-]+)"', script.read_text("utf-8")) for script in SCRIPTS))


def test_every_file_is_named_and_every_name_is_a_file() -> None:
    page = (STATIC / "index.html").read_text("utf-8")
    named = set(re.findall(r'(?:href|src)="/static/([^"#]+)', page))
    seen = ["main.js"]
    for name in seen:
        seen += [file[2:] for file, _ in imports(STATIC / name) if file[2:] not in seen]
    assert named | set(seen) | {"index.html"} == {path.name for path in STATIC.iterdir()}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_what_a_module_imports_is_exported(script: Path) -> None:
    for file, names in imports(script):
        assert file.startswith("./")
        source = (STATIC / file).read_text("utf-8")
        exported = set(re.findall(r"^export (?:async )?(?:const|function\*?|class) ([\w$]+)", source, re.M))
        assert set(names) <= exported, file
        used = re.sub(r"^import .+?;", "", script.read_text("utf-8"), flags=re.M | re.S)
        assert not [name for name in names if not re.search(rf"(?<![\w$]){re.escape(name)}\b", used)], "in vain"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_elements_and_icons_that_a_module_names_exist(script: Path) -> None:
    text = script.read_text("utf-8")
    assert set(re.findall(r'\bbyId\("([\w-]+)"\)', text)) <= ids()
    icons = set(re.findall(r'symbol id="([\w-]+)"', (STATIC / "icons.svg").read_text("utf-8")))
    assert set(re.findall(r'\bicon\("([\w-]+)"\)', text)) <= icons


def test_the_package_ships_all_of_it() -> None:
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["package-data"]
    for path in STATIC.iterdir():
        name = path.relative_to(ROOT / "fewshot_seg").as_posix()
        assert any(fnmatch(name, pattern) for pattern in patterns["fewshot_seg"]), name


@pytest.mark.parametrize("path", sorted(STATIC.iterdir()), ids=lambda path: path.name)
def test_nothing_comes_from_elsewhere_and_no_text_becomes_markup(path: Path) -> None:
    text = path.read_text("utf-8").replace(NAMESPACE, "")
    for forbidden in ("http:", "https:", "//cdn", "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write"):
        assert forbidden not in text
    for forbidden in (r"\beval\(", r"\bnew Function\b", r"<[^>]+\son\w+=", r"<[^>]+\sstyle=", r"@import", r"<style"):
        assert not re.search(forbidden, text), forbidden
    assert not re.search(r"<script(?![^>]*\ssrc=)", text), "a script of its own"
    assert len(text.splitlines()) <= 300

"""The names that others script against are there, and come from one place."""

from __future__ import annotations

import importlib
import importlib.metadata
import re

import pytest

import fewshot_seg as fs
from tests.architecture.imports import ROOT

_MODULE = r"from fewshot_seg\.?([\w.]*) import (\w+) as \2"
_NAMES = r"from fewshot_seg\.([\w.]+) import (?!\w+ as)(.+)"


@pytest.mark.parametrize("name", fs.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(fs, name) is getattr(fs, name)
    assert name in dir(fs)


@pytest.mark.parametrize("name", fs._MODULES)
def test_modules_are_reached_through_the_package(name: str) -> None:
    assert getattr(fs, name) is importlib.import_module(f"fewshot_seg.{fs._MODULES[name]}")


def test_the_lazy_names_are_the_typed_ones() -> None:
    """What mypy sees (the imports for types) and what Python finds (the tables) must not drift apart."""
    source = (ROOT / "fewshot_seg" / "__init__.py").read_text(encoding="utf-8")
    typed = source.split("if TYPE_CHECKING:")[1].split("\n\n")[0]
    modules = {name: f"{room}.{name}".strip(".") for room, name in re.findall(_MODULE, typed)}
    homes = {name: module for module, names in re.findall(_NAMES, typed) for name in names.split(", ")}
    assert modules == fs._MODULES
    assert homes == fs._HOMES


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Segmentor'"):
        _ = fs.Segmentor  # type: ignore[attr-defined]


def test_one_error_tree() -> None:
    for name in [name for name, one in vars(fs.errors).items() if isinstance(one, type) and issubclass(one, Exception)]:
        assert issubclass(getattr(fs, name), fs.FewShotError)
    assert issubclass(fs.ShapeError, ValueError)


def test_the_installed_version_is_the_package_s() -> None:
    assert importlib.metadata.version("fewshot-seg") == fs.__version__

"""Imports point one way: from the packages that use to the one that is used, and there from late to early."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.imports import ROOT, Arrow, arrows

# The one place that states the order inside fewshot_seg: a module imports only what stands before it.
# A folder counts as one. A new module takes its place here.
ORDER = """
    errors streams devices
    decode locks find masks scribbles images
    weights backbones strides heads pcb folding embedder checkpoints embedding embedding_stream
    weighting evidence attention correspondence presence matcher ambiguity matcher_files features matching training_free
    seeds marks hints supports refine upsample options locators results cutting prepared joint segmenter
    _sheet _legend render export to_onnx onnx_int8 retrieval
    datasets episodes protocols
    reid
    commands cli __main__
""".split()

MAY_IMPORT = {
    "fewshot_seg": {"fewshot_seg"},
    "train_embed": {"train_embed", "fewshot_seg"},
    "eval": {"eval", "fewshot_seg"},
}

HEAVY = ("torch", "torchvision", "timm", "cv2", "skimage", "matplotlib", "albumentations", "scipy")


def room(module: str) -> str:
    """fewshot_seg.commands.demo -> commands."""
    return module.split(".")[1]


def backward(found: list[Arrow], order: list[str]) -> list[str]:
    """The arrows inside fewshot_seg that point at a later room, or at the package's public face."""
    complaints = []
    for arrow in found:
        if arrow.source == "fewshot_seg":
            continue  # the public face names everything, lazily
        if arrow.target == "fewshot_seg":
            complaints.append(f"{arrow.where} imports from the package itself: name the module")
        elif order.index(room(arrow.target)) > order.index(room(arrow.source)):
            complaints.append(f"{arrow.where} {arrow.source} imports {arrow.target}, which stands after it")
    return complaints


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_packages_import_one_way(package: str) -> None:
    wrong = [a for a in arrows(package) if a.target.split(".")[0] not in MAY_IMPORT[package]]
    assert not wrong


def test_every_module_has_its_place_in_the_order() -> None:
    rooms = {path.stem for path in (ROOT / "fewshot_seg").iterdir() if path.suffix == ".py"}
    rooms |= {path.parent.name for path in (ROOT / "fewshot_seg").glob("*/__init__.py")}
    assert rooms - {"__init__"} <= set(ORDER), "say in ORDER what the new module stands after"
    assert len(ORDER) == len(set(ORDER))


def test_modules_import_only_what_stands_before_them() -> None:
    assert not backward(arrows("fewshot_seg"), ORDER)


def test_a_wrong_import_is_seen_wherever_it_hides(tmp_path: Path) -> None:
    package = tmp_path / "fewshot_seg"
    (package / "commands").mkdir(parents=True)
    for name in ("__init__", "errors", "images", "segmenter", "cli", "commands/__init__"):
        (package / f"{name}.py").touch()
    (package / "images.py").write_text(
        "from typing import TYPE_CHECKING\n"
        "from fewshot_seg.errors import ImageError\n"
        "from fewshot_seg import segmenter\n"
        "from fewshot_seg import Segmenter\n"
        "def late():\n    import eval.metrics\n    import fewshot_seg.commands.demo\n"
        "if TYPE_CHECKING:\n    from fewshot_seg.cli import app\n"
    )
    found = arrows("fewshot_seg", tmp_path)
    assert [a.target for a in found if a.target.startswith("eval")] == ["eval.metrics"]
    inside = [a for a in found if a.target.startswith("fewshot_seg")]
    assert sorted(line.split()[0] for line in backward(inside, ORDER)) == [
        "fewshot_seg/images.py:3",  # a module by way of the package
        "fewshot_seg/images.py:4",  # a public name, which hides the module it comes from
        "fewshot_seg/images.py:7",
        "fewshot_seg/images.py:9",
    ]


def loaded_by(statement: str) -> set[str]:
    """The top-level packages in a fresh Python after `statement`."""
    code = f"import json, sys\n{statement}\nprint(json.dumps([name.split('.')[0] for name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


@pytest.mark.parametrize(
    "module",
    [
        "fewshot_seg",
        "fewshot_seg.errors",
        "fewshot_seg.cli",
        "train_embed",
        "train_embed.cli",
        "eval",
        "eval.cli",
    ],
)
def test_importing_a_package_or_command_brings_in_nothing_heavy(module: str) -> None:
    assert not loaded_by(f"import {module}").intersection(HEAVY)

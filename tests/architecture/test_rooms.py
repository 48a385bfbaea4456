"""A folder is a room, and a room imports only rooms that stand before it. Files never import each other in a circle."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.architecture.imports import PACKAGES, ROOT, Arrow, arrows

# The one place that states the order: a room imports what stands before it. A new room takes its place here.
ORDER = {
    "fewshot_seg": """errors files streams locks plugins imaging network attention cutting prompts formats
        matching segmentation onnx datasets episodes retrieval reid commands web cli __main__""",
    "train_embed": "config data losses mining run matcher studies cli __main__",
    "eval": "measures tables runs episodes retrieval reid studies bench report commands cli __main__",
}
FLAT = {"errors", "files", "streams", "locks", "plugins", "cli", "__init__", "__main__"}  # files that are no room's
MAY_IMPORT = {
    "fewshot_seg": {"fewshot_seg"},
    "train_embed": {"train_embed", "fewshot_seg"},
    "eval": {"eval", "fewshot_seg"},
}


def upward(found: list[Arrow], order: str) -> list[str]:
    """The arrows inside a package that point at a later room, or at the package's public face."""
    rank = {room: place for place, room in enumerate(order.split())}
    package = found[0].source.split(".")[0] if found else ""
    complaints = []
    for arrow in found:
        if arrow.source == package or arrow.target.split(".")[0] != package:
            continue  # the public face names everything, lazily
        if arrow.target == package:
            complaints.append(f"{arrow.where} imports from the package itself: name the module")
        elif rank[arrow.target.split(".")[1]] > rank[arrow.source.split(".")[1]]:
            complaints.append(f"{arrow.where} {arrow.source} imports {arrow.target}, which stands after it")
    return complaints


def circle(found: list[Arrow]) -> list[str]:
    """The files of one circle of imports, [] where there is none. A room's face (`__init__`) is a file as any other."""
    graph: dict[str, set[str]] = {}
    for arrow in found:
        if arrow.source != arrow.target and arrow.source not in PACKAGES:
            graph.setdefault(arrow.source, set()).add(arrow.target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_one_way(package: str) -> None:
    assert not [a for a in arrows(package) if a.target.split(".")[0] not in MAY_IMPORT[package]]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_file_stands_in_a_room_that_has_its_place(package: str) -> None:
    flat = {path.stem for path in (ROOT / package).glob("*.py")}
    rooms = {path.parent.name for path in (ROOT / package).glob("*/__init__.py")}
    assert flat <= FLAT, "put it into the room that its subject belongs to"
    assert rooms | flat - {"__init__"} == set(ORDER[package].split())


@pytest.mark.parametrize("package", PACKAGES)
def test_rooms_import_only_rooms_before_them(package: str) -> None:
    assert not upward(arrows(package), ORDER[package])


@pytest.mark.parametrize("package", PACKAGES)
def test_no_files_import_each_other_in_a_circle(package: str) -> None:
    assert not circle(arrows(package))


def test_a_wrong_import_is_seen_wherever_it_hides(tmp_path: Path) -> None:
    package = tmp_path / "fewshot_seg"
    for room in ("imaging", "segmentation", "commands"):
        (package / room).mkdir(parents=True)
        (package / room / "__init__.py").touch()
    for name in ("__init__", "errors", "cli", "segmentation/segmenter", "commands/demo"):
        (package / f"{name}.py").touch()
    (package / "imaging" / "images.py").write_text(
        "from typing import TYPE_CHECKING\n"
        "from fewshot_seg.errors import ImageError\n"
        "from fewshot_seg.segmentation import segmenter\n"
        "from fewshot_seg import Segmenter\n"
        "def late():\n    import eval.metrics\n    import fewshot_seg.commands.demo\n"
        "if TYPE_CHECKING:\n    from fewshot_seg.cli import app\n"
    )
    found = arrows("fewshot_seg", tmp_path)
    assert [a.target for a in found if a.target.startswith("eval")] == ["eval.metrics"]
    assert sorted(line.split()[0] for line in upward(found, ORDER["fewshot_seg"])) == [
        "fewshot_seg/imaging/images.py:3",  # a module by way of its room
        "fewshot_seg/imaging/images.py:4",  # a public name, which hides the module it comes from
        "fewshot_seg/imaging/images.py:7",
        "fewshot_seg/imaging/images.py:9",
    ]


def test_a_circle_is_seen_wherever_it_hides(tmp_path: Path) -> None:
    room = tmp_path / "eval" / "runs"
    room.mkdir(parents=True)
    for path in (room / "__init__.py", room.parent / "__init__.py"):
        path.touch()
    (room / "one.py").write_text("from eval.runs.two import two\n")
    (room / "two.py").write_text("def late():\n    from eval.runs import three\n")
    (room / "three.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from eval.runs.one import one\n"
    )
    assert {"eval.runs.one", "eval.runs.two", "eval.runs.three"} == set(circle(arrows("eval", tmp_path)))

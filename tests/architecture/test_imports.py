"""Importing the packages or starting the commands is free of heavy libraries: they come in on first use."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.architecture.imports import ROOT

HEAVY = ("torch", "torchvision", "timm", "cv2", "skimage", "matplotlib", "albumentations", "scipy")


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

"""The commands that train, from end to end, on images and a network so small that it takes seconds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

import fewshot_seg as fs
from fewshot_seg.network.checkpoints import read_header
from train_embed.cli import app

SMALL = {
    "model.backbone": "timm/test_efficientnet",
    "model.weights": "random",
    "model.size": 32,
    "model.neck": "linear",
    "model.dim": 8,
    "sampler.p": 3,
    "sampler.k": 2,
    "run.epochs": 1,
    "run.workers": 0,
    "run.threads": 1,
    "run.sheet_every": 0,
}
SETS = [word for key, value in SMALL.items() for word in ("--set", f"{key}={value}")]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8 classes of 4 images: noise about one colour each."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for name in range(8):
        (root / f"class {name}").mkdir()
        colour = rng.integers(60, 196, 3)
        for number in range(4):
            pixels = rng.normal(colour, 50, (40, 40, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / f"class {name}" / f"{number}.png")
    return root


def command(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_run_resume_and_export(photos: Path, tmp_path: Path) -> None:
    out, weights = tmp_path / "run", tmp_path / "best.safetensors"
    done = command("run", "--config", "folder-quick", "--set", f"data.root={photos}", *SETS, "--out", out)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(f"{out}: R@1 ")
    assert "before training" in done.stdout

    refused = command("run", "--config", "folder-quick", "--set", f"data.root={photos}", *SETS, "--out", out)
    assert refused.exit_code == 1
    assert "--resume" in refused.stderr
    assert command("run", "--resume", "--out", out).exit_code == 0  # nothing is left to do

    assert command("export", out, "-o", weights).exit_code == 0
    embedder = fs.load_embedder(weights, device="cpu")
    assert (embedder.dim, embedder.preprocessing.size) == (8, 32)
    training = read_header(weights).training
    assert training is not None
    assert training["config"]["loss"]["name"] == "triplet"
    assert torch.isfinite(embedder(torch.zeros(1, 3, 32, 32)).vector).all()


def test_export_of_no_run(tmp_path: Path) -> None:
    done = command("export", tmp_path, "-o", tmp_path / "x.safetensors")
    assert done.exit_code == 1
    assert len(done.stderr.splitlines()) == 1


def test_ablation_goes_on_where_it_was_stopped(photos: Path, tmp_path: Path) -> None:
    words: tuple[str | Path, ...] = ("ablation", "--root", photos, "--out", tmp_path, "--seeds", "0", *SETS)
    done = command(*words)
    assert done.exit_code == 0, done.output
    first = json.loads((tmp_path / "table.json").read_text())
    assert len(first["runs"]) == 6
    assert all(run["survival"] is not None and run["untrained"] is not None for run in first["runs"])
    assert done.stdout == (tmp_path / "table.md").read_text("utf-8")

    states = {path.parent.name: path.stat().st_mtime_ns for path in tmp_path.glob("*/state.safetensors")}
    (tmp_path / "triplet-mining-0" / "result.json").unlink()  # as if it had been stopped before this was written
    (tmp_path / "table.json").unlink()
    assert command(*words).exit_code == 0
    assert json.loads((tmp_path / "table.json").read_text()) == first
    for path in tmp_path.glob("*/state.safetensors"):
        assert path.stat().st_mtime_ns == states[path.parent.name]  # nothing was trained again

    other = command(*words, "--set", "mining.gamma=0.9")
    assert other.exit_code == 1
    assert "mining.gamma 0.2, not 0.9" in other.stderr


def test_a_loss_that_becomes_nan_is_one_runs_failure(photos: Path, tmp_path: Path) -> None:
    wild = ("--set", "optimizer.trunk_lr=1e30", "--set", "optimizer.head_lr=1e30", "--set", "optimizer.clip=null")
    done = command("ablation", "--root", photos, "--out", tmp_path, "--seeds", "0", *SETS, *wild)
    assert done.exit_code == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("train-embed: error: ")
    assert "failed" in last
    assert "6 of 6: quadruplet-mining-0" in done.stderr  # the others had their turn

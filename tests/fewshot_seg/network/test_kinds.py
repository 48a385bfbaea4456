"""Seven kinds of networks, saved and opened as files, at three sizes: every command, one training step, no network.

One stands for all in the suite; `make networks-test` runs them all.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
import torch

from fewshot_seg.attention.maps import attention_maps
from fewshot_seg.attention.weighting import pair_weights
from fewshot_seg.network.embedding import load_embedder, save_checkpoint
from tests.fewshot_seg.command_line import fewshot, results_of
from tests.small_networks import SMALL, install_small, sizes
from tests.train_embed.tiny import settings
from train_embed.config.load import load_config
from train_embed.data.loading import Batch
from train_embed.run.learner import Learner

ALL = [(name, place) for name in SMALL for place in range(3)]


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: Any) -> None:
        raise OSError("no network in tests")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    (tmp_path / "site").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    install_small(tmp_path / "site")


def saved(name: str, place: int, folder: Path) -> Path:
    """A checkpoint of a network at one of its sizes."""
    path = folder / f"{name}.safetensors"
    save_checkpoint(load_embedder(f"small-{name}", device="cpu").at_size(*sizes(name)[place]), path)
    return path


def check_commands(name: str, place: int, photos: Path, folder: Path) -> None:
    """segment, explain, index build, search; and the closed form against autograd."""
    path = saved(name, place, folder)
    cat, face = photos / "cat.png", photos / "cat face.png"
    common = ("-w", path, "--device", "cpu")
    for arguments in (
        ("segment", cat, "-s", f"cat={face}", "--refine", "none", "-o", folder / "masks", *common),
        ("explain", cat, face, "-o", folder / "maps", *common),
        ("index", "build", folder / "index", cat, face, photos / "cup.jpg", *common),
    ):
        done = fewshot(*arguments)
        assert done.exit_code == 0, done.stderr
    assert results_of(folder / "masks")["images"][0]["size"] == [300, 451]
    hits = json.loads(fewshot("search", folder / "index", cat, "-k", "3", "--json").stdout)[0]["hits"]
    assert hits[0]["path"].endswith("cat.png")
    embedder = load_embedder(path, device="cpu").double()
    assert embedder.preprocessing.shape == sizes(name)[place]
    emb = embedder(torch.randn(2, 3, *embedder.preprocessing.shape, dtype=torch.float64))
    w = pair_weights(emb.vector, emb.vector.flip(0), same=True)
    own, other = (attention_maps(embedder, emb, w, how, through_norm=True) for how in ("closed_form", "autograd"))
    torch.testing.assert_close(own, other, rtol=0, atol=1e-8)


def step(name: str, place: int, folder: Path, **more: dict[str, Any]) -> Learner:
    """One training step; every parameter of the trunk that the map depends on has moved."""
    height, width = sizes(name)[place]
    model = {"backbone": f"small-{name}", "weights": "random", "size": height, "width": width, "neck": "linear"}
    changes = {**more, "model": {**model, **more.get("model", {})}}
    torch.manual_seed(0)
    learner = Learner(load_config(settings(folder, **changes)), 3, torch.device("cpu"))
    before = {key: value.clone() for key, value in learner.embedder.state_dict().items()}
    learner.start(0)
    batch = Batch(torch.randn(6, 3, height, width), torch.tensor([0, 0, 1, 1, 2, 2]), torch.arange(6), {})
    learner.accumulate(batch, 0, 1.0, 1.0)
    learner.step(0, 1.0)
    after = learner.embedder.state_dict()
    moved = sum(not torch.equal(value, after[key]) for key, value in before.items() if key.startswith("trunk"))
    assert moved > 0.5 * sum(key.startswith("trunk") for key in before)
    return learner


def test_a_sample_runs_every_command_and_a_step(photos: Path, tmp_path: Path) -> None:
    check_commands("dinov2", 1, photos, tmp_path)
    step("dinov2", 1, tmp_path)


def test_a_head_for_identities_learns_on_a_transformer(tmp_path: Path) -> None:
    learner = step("vit", 2, tmp_path, model={"neck": "bn", "dim": None}, identity={"weight": 1.0, "smoothing": 0.1})
    assert learner.result.dim == 48


@pytest.mark.networks
@pytest.mark.parametrize(("name", "place"), ALL)
def test_every_kind_runs_every_command_and_a_step(name: str, place: int, photos: Path, tmp_path: Path) -> None:
    check_commands(name, place, photos, tmp_path)
    step(name, place, tmp_path)


@pytest.mark.networks
@pytest.mark.parametrize(("name", "place"), ALL)
def test_every_kind_goes_out_as_onnx(name: str, place: int, tmp_path: Path) -> None:
    done = fewshot("export-onnx", "-w", saved(name, place, tmp_path), "-o", tmp_path / "one.onnx")
    assert done.exit_code == 0, done.stderr

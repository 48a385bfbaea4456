"""Older `.pth` files become checkpoints that give the same vectors, or one clear line."""

from __future__ import annotations

import argparse
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision import models
from typer.testing import CliRunner

import fewshot_seg as fs
from fewshot_seg.errors import CheckpointError
from train_embed.cli import app
from train_embed.run.legacy import import_weights

Saver = Callable[[object], Path]


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """An older project's network: its values are random, its names torchvision's."""
    torch.manual_seed(7)
    return models.resnet18(weights=None).eval()


@pytest.fixture
def saved(tmp_path: Path) -> Saver:
    def save(state: object) -> Path:
        path = tmp_path / "old state.pth"
        torch.save(state, path)
        return path

    return save


@pytest.fixture
def batch(generator: torch.Generator) -> Tensor:
    return torch.rand(2, 3, 96, 96, generator=generator)


def pooled(network: nn.Module, batch: Tensor) -> Tensor:
    """(B, C): what stands before the network's last layer."""
    headless = nn.Sequential(*list(network.children())[:-1])
    with torch.inference_mode():
        return headless(batch).flatten(1)


def command(*arguments: str | Path) -> tuple[int, str]:
    """Exit status and everything that was printed."""
    done = CliRunner().invoke(app, ["import-weights", *map(str, arguments)])
    return done.exit_code, done.output


def test_the_checkpoint_gives_the_old_network_s_vectors(
    network: nn.Module, saved: Saver, batch: Tensor, tmp_path: Path
) -> None:
    out = tmp_path / "new" / "model.safetensors"
    status, printed = command(
        saved(network.state_dict()), "--backbone", "resnet18", "--map", "fc.=classifier.", "--out", out
    )
    assert (status, printed.count("\n")) == (0, 1)
    assert "512 dimensions" in printed
    embedder = fs.load_embedder(out, device="cpu")
    with torch.inference_mode():
        vector = embedder(batch).vector
    torch.testing.assert_close(vector, functional.normalize(pooled(network, batch), dim=1))
    assert embedder.spec.classes == 1000


def test_a_linear_layer_becomes_the_neck(network: nn.Module, saved: Saver, batch: Tensor) -> None:
    """Of any length, without a bias, as a 1x1 convolution, behind DataParallel's and its project's names."""
    weight = torch.randn(64, 512, 1, 1)
    state = {f"module.base.{k}": v for k, v in network.state_dict().items() if not k.startswith("fc.")}
    state = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}  # as before torch 0.4.1
    path = saved(state | {"module.embed.weight": weight, "module.logits.weight": torch.randn(10, 64)})
    embedder = import_weights(
        path,
        "torchvision/resnet18",
        neck="linear",
        names={"base.": "", "embed.": "head.linear.", "logits.": None},
    )
    with torch.inference_mode():
        vector = embedder(batch).vector
    torch.testing.assert_close(vector, functional.normalize(pooled(network, batch) @ weight[:, :, 0, 0].T, dim=1))
    assert embedder.dim == 64


def test_timm_names_and_a_gem_exponent(saved: Saver) -> None:
    import timm

    state = timm.create_model("resnet18", num_classes=0).state_dict()
    path = saved({"state_dict": state | {"pool.p": torch.tensor([2.5])}, "epoch": 40})
    embedder = import_weights(path, "timm/resnet18", pooling="gem", names={"pool.": "head."}, size=224)
    assert embedder.head.p.item() == 2.5
    assert embedder.preprocessing.size == 224
    ours = embedder.trunk.state_dict()
    assert all(torch.equal(ours[f"model.{name}"], tensor) for name, tensor in state.items())


def test_names_of_torch_compile_are_taken_off(network: nn.Module, saved: Saver) -> None:
    """Before all names, inside them, and beside DataParallel's."""
    plain = {name: value for name, value in network.state_dict().items() if not name.startswith("fc.")}
    ours = import_weights(saved(plain), "torchvision/resnet18").state_dict()
    for old, new in (("", "_orig_mod."), ("", "module._orig_mod."), ("layer1.", "layer1._orig_mod.")):
        compiled = {name.replace(old, new, 1): value for name, value in plain.items()}
        found = import_weights(saved(compiled), "torchvision/resnet18").state_dict()
        assert all(torch.equal(found[name], value) for name, value in ours.items())
    with pytest.raises(CheckpointError, match="holds some tensors twice"):
        import_weights(saved(plain | {f"_orig_mod.{name}": value for name, value in plain.items()}), "resnet18")


@pytest.mark.parametrize("extra", [argparse.Namespace(lr=0.1), np.float64(0.5), Path("data")])
def test_a_checkpoint_with_more_than_tensors_says_what_to_do(saved: Saver, extra: object) -> None:
    path = saved({"state_dict": {"a": torch.zeros(1)}, "args": extra})
    kind = rf"\({type(extra).__module__.split('.')[0]}[\w.]*\)"
    with pytest.raises(CheckpointError, match=rf"more than tensors {kind}; it was not loaded: .* torch\.save\("):
        import_weights(path, "resnet18")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "no place for fc.weight, fc.bias; rename with --map"),
        (("--map", "fc=classifier", "--map", "conv1=convolution"), "no place for convolution.weight;"),
        (("--map", "fc"), "--map takes OLD=NEW, got 'fc'"),
        (("--map", "fc.=classifier.", "--map", "fc.=head.linear."), "'fc.' can go to one place only"),
        (("--drop", "fc.", "--drop", "layer4."), "lacks trunk.layer4.0.conv1.weight"),
        (("--drop", "fc.", "--neck", "linear"), "lacks head.linear.weight"),
        (("--drop", "fc.", "--backbone", "resnet50"), "does not fit the network"),
        (("--drop", "fc.", "--backbone", "resnot18"), "resnot18"),
        (("--drop", "fc.", "--neck", "conv"), "conv"),
        (("--drop", "fc.", "--out", "model.pth"), ".safetensors"),
    ],
)
def test_what_does_not_fit_is_one_line(
    network: nn.Module,
    saved: Saver,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    path = saved(network.state_dict())
    status, printed = command(path, "--backbone", "resnet18", "--out", "new.safetensors", *arguments)
    assert status != 0
    assert printed.startswith("train-embed: error: ")
    assert says in printed
    assert printed.count("\n") == 1
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        ({"trunk.conv1.weight": torch.zeros(64, 3, 7, 7)}, "twice, with and without 'trunk.'"),
        ({"head.linear.weight": torch.tensor(1.0)}, "embedding dim must be 1 to"),
        ({"head.linear.weight": torch.zeros(8, 512)}, "not 8: use neck linear"),
        ({"layer1.0.bn1.weight": torch.full((64,), torch.nan)}, "NaN"),
    ],
)
def test_a_file_at_odds_with_itself_is_refused(
    network: nn.Module, saved: Saver, extra: dict[str, Tensor], says: str
) -> None:
    with pytest.raises(fs.FewShotError, match=says):
        import_weights(saved(network.state_dict() | extra), "resnet18", names={"fc.": None})


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.target,)


def test_code_in_a_file_does_not_run(tmp_path: Path) -> None:
    target, zipped, plain = tmp_path / "ran", tmp_path / "torch.pth", tmp_path / "pickle.pth"
    torch.save({"conv1.weight": Payload(target)}, zipped)
    plain.write_bytes(pickle.dumps({"conv1.weight": Payload(target)}, protocol=2))
    for path in (zipped, plain):
        status, printed = command(path, "-b", "resnet18", "-o", tmp_path / "new.safetensors")
        assert status == 1
        assert "it was not loaded" in printed
    assert not target.exists()
    pickle.loads(plain.read_bytes())  # noqa: S301 - the payload works where it is let
    assert target.exists()


@pytest.mark.parametrize("content", [None, b"", b"no weights at all", b"PK\x03\x04 cut short"])
def test_a_file_that_is_no_state_dict_is_one_line(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "old.pth"
    if content is not None:
        path.write_bytes(content)
    status, printed = command(path, "-b", "resnet18", "-o", tmp_path / "new.safetensors")
    assert (status, printed.count("\n")) == (1, 1)
    assert str(path) in printed


def test_an_older_checkpoint_is_kept_unless_forced(network: nn.Module, saved: Saver, tmp_path: Path) -> None:
    out = tmp_path / "new.safetensors"
    out.write_text("precious")
    arguments = (saved(network.state_dict()), "-b", "resnet18", "--drop", "fc.", "-o", out)
    status, printed = command(*arguments)
    assert status == 1
    assert "--force" in printed
    assert out.read_text() == "precious"
    assert command(*arguments, "--force")[0] == 0
    assert fs.load_embedder(out, device="cpu").dim == 512


def test_the_command_shows_its_help_when_it_is_given_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", "from train_embed.cli import main; main()"], capture_output=True)
    assert done.returncode == 0
    assert b"import-weights" in done.stdout

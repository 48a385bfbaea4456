"""The commands: help with examples that run, and one line for everything that is wrong before data is read."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from fewshot_seg.network.devices import resolve_device
from train_embed.cli import app
from train_embed.config.load import load_config, preset_names

COMMANDS = ("run", "presets", "export", "ablation", "import-weights")


def command(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def error_line(result: Result) -> str:
    """The one line on stderr of a command that failed, without a traceback."""
    assert result.exit_code in (1, 2)
    assert isinstance(result.exception, SystemExit), result.exception
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("train-embed: error: ")
    return lines[0]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_examples_of_options_that_exist(name: str) -> None:
    done = command(name, "--help")
    assert done.exit_code == 0
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    chosen = group.commands[name]
    known = {option for parameter in chosen.params for option in parameter.opts} | {"--nproc-per-node", "-m"}
    examples = [line for line in (chosen.epilog or "").splitlines() if line.startswith(("train-embed", "torchrun"))]
    assert examples
    for example in examples:
        words = shlex.split(example.partition(" > ")[0])
        assert name in words
        assert {word for word in words if word.startswith("-")} <= known


@pytest.mark.parametrize("name", ["run", "ablation"])
def test_the_examples_settings_are_valid(name: str) -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    for line in (group.commands[name].epilog or "").splitlines():
        words = shlex.split(line)
        sets = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
        preset = words[words.index("--config") + 1] if "--config" in words else "folder-quick"
        load_config(preset if preset in preset_names() else {}, sets)


class TestPresets:
    def test_listed(self) -> None:
        done = command("presets")
        assert done.exit_code == 0
        assert all(name in done.stdout for name in preset_names())

    @pytest.mark.parametrize("options", [(), ("--full",)])
    def test_one_printed_is_a_configuration(self, options: tuple[str, ...], tmp_path: Path) -> None:
        done = command("presets", "folder-quick", *options)
        path = tmp_path / "my.yaml"
        path.write_text(done.stdout, "utf-8")
        assert load_config(path) == load_config("folder-quick")

    def test_unknown(self) -> None:
        assert "the nearest is paper-reid" in error_line(command("presets", "paper-read"))


class TestRunRefuses:
    """Each of these before any image is read: there are none."""

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ([], "--config is missing"),
            (["--config", "folder-quik"], "the nearest is folder-quick"),
            (["--config", "folder-quick"], "data.root is not set"),
            (["--config", "folder-quick", "--set", "data.root=/nowhere"], "nothing at /nowhere"),
            (["--config", "folder-quick", "--set", "mining.gama=1"], "the nearest is mining.gamma"),
            (["--config", "folder-quick", "--set", "data.root={tmp}", "--set", "model.backbone=resnet5"], "resnet50"),
            (["--config", "folder-quick", "--set", "data.root={tmp}", "--set", "model.weights=x.safetensors"], "x.saf"),
            (["--config", "folder-quick", "--set", "data.root={tmp}", "--set", "run.device=cuda:99"], "cuda:99"),
            (["--config", "folder-quick", "--set", "data.root={tmp}/file"], "wants a folder"),
            (["--resume"], "config.yaml"),
        ],
    )
    def test_in_one_line(self, arguments: list[str], words: str, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        filled = [argument.replace("{tmp}", str(tmp_path)) for argument in arguments]
        assert words in error_line(command("run", *filled, "--out", tmp_path / "run"))
        assert not (tmp_path / "run").exists()

    @pytest.mark.skipif(resolve_device("auto").type != "cpu", reason="here, auto means a GPU")
    def test_fp16_where_auto_means_the_cpu(self, tmp_path: Path) -> None:
        sets = ("--set", f"data.root={tmp_path}", "--set", "run.precision=fp16")
        assert "fp16" in error_line(command("run", "--config", "folder-quick", *sets, "--out", tmp_path / "run"))


class TestAblationRefuses:
    @pytest.mark.parametrize("seeds", ["", "a", "1,1", "-1", "1;2"])
    def test_seeds(self, seeds: str, tmp_path: Path) -> None:
        done = command("ablation", "--root", tmp_path, "--out", tmp_path / "out", f"--seeds={seeds}")
        assert "--seeds" in error_line(done)

    def test_no_images(self, tmp_path: Path) -> None:
        done = command("ablation", "--root", tmp_path / "none", "--out", tmp_path / "out")
        assert "data.root" in error_line(done)


def test_export_does_not_replace_unasked(tmp_path: Path) -> None:
    out = tmp_path / "a.safetensors"
    out.touch()
    assert "--force" in error_line(command("export", tmp_path, "-o", out))

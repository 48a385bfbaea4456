"""Whole runs on tiny data: what they leave behind, and that no interruption changes it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from fewshot_seg.errors import CheckpointError, ConfigError, DataError, OutputError
from fewshot_seg.locks import sole_user
from fewshot_seg.network.checkpoints import read_header
from fewshot_seg.network.embedding import load_embedder
from tests.train_embed.tiny import make_images, settings, tensors, tiny
from train_embed.config.load import load_config, to_mapping
from train_embed.config.yaml_text import to_yaml_text
from train_embed.run.folder import RunFolder, sole_training
from train_embed.run.learner import Diverged
from train_embed.run.setup import Interrupted
from train_embed.run.trainer import export, train

ROOT = Path(__file__).resolve().parents[3]
STIRRED = {
    "model": {"freeze_bn": False, "neck": "linear+bn"},
    "optimizer": {"accumulate": 2, "ema": 0.9, "warmup_epochs": 1},
    "sampler": {"batches": 5},
}
"""Whatever has a state of its own: running statistics, a step of several batches, a moving average."""
REID = {
    "data": {"erasing": 0.5},
    "model": {"head": "pcb", "stripes": 2, "neck": "linear+bn", "rpp_epoch": 1, "rpp_induction": 1, "last_stride": 1},
    "loss": {"feature": "pooled"},
    "identity": {"weight": 1.0, "smoothing": 0.1, "center": 0.01},
    "optimizer": {"ema": 0.9},
    "sampler": {"batches": 5},
}
"""The same of re-identification: classifiers, centres, parts that are refined from the second epoch on."""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_images(tmp_path_factory.mktemp("data") / "images")


@pytest.fixture(scope="module")
def whole(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupts."""
    return train(tiny(images, run={"sheet_every": 2}), tmp_path_factory.mktemp("runs") / "whole")


def records(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def lines(run: Path) -> int:
    metrics = run / "metrics.jsonl"
    return len(metrics.read_bytes().splitlines()) if metrics.exists() else 0


def assert_same(a: Path, b: Path) -> None:
    first, second = tensors(a), tensors(b)
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
    assert records(a) == records(b)


def test_a_run_leaves_a_config_a_log_weights_curves_and_sheets(whole: Path, images: Path) -> None:
    names = {str(path.relative_to(whole)) for path in whole.rglob("*")}
    expected = "config.yaml metrics.jsonl metrics.csv curves.png state.safetensors model.safetensors sheets"
    assert names == {*expected.split(), "sheets/epoch_002.jpg", "sheets/epoch_003.jpg"}
    assert load_config(str(whole / "config.yaml")) == tiny(images, run={"sheet_every": 2})
    scored = [r for r in records(whole) if "recall@1" in r]
    assert [r["epoch"] for r in scored] == [0, 1, 2, 3]
    assert {"loss", "loss_ml", "lr_trunk", "lr_head", "survival"} <= scored[-1].keys()
    assert [r["step"] for r in records(whole)[1:]] == list(range(1, 19))


def test_the_exported_weights_are_an_embedder_with_the_config_inside(whole: Path, tmp_path: Path) -> None:
    export(whole, tmp_path / "new" / "a.safetensors")
    embedder = load_embedder(tmp_path / "new" / "a.safetensors", device="cpu")
    assert (embedder.dim, embedder.preprocessing.size) == (16, 32)
    training = read_header(tmp_path / "new" / "a.safetensors").training
    assert training is not None
    mapping = to_mapping(load_config(str(whole / "config.yaml")))
    assert training["config"] == {**mapping, "data": {**mapping["data"], "root": None}}
    assert training["recall@1"] == max(r["recall@1"] for r in records(whole) if "survival" in r)


def test_export_says_what_is_wrong(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no weights yet"):
        export(tmp_path, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match=r"must end in \.safetensors"):
        export(whole, tmp_path / "a.pth")


def test_another_config_in_the_same_folder_is_refused(whole: Path, images: Path) -> None:
    before = tensors(whole)
    with pytest.raises(ConfigError, match=r"another configuration: loss\.margin is 0\.2 there, 0\.3 here"):
        train(tiny(images, run={"sheet_every": 2}, loss={"margin": 0.3}), whole, resume=True)
    with pytest.raises(ConfigError, match="holds this run already: go on with --resume"):
        train(tiny(images, run={"sheet_every": 2}), whole)
    assert all(torch.equal(before[name], value) for name, value in tensors(whole).items())


def test_a_folder_with_other_things_is_refused(images: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(ConfigError, match="holds other files and no run"):
        train(tiny(images), tmp_path)


def test_a_config_of_others_is_not_replaced(images: Path, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("theirs: true\n")
    with pytest.raises(ConfigError, match=r"holds a config\.yaml that is no run's"):
        train(tiny(images), tmp_path)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("config.yaml", "theirs: true\n")]


def test_one_training_at_a_time_in_a_folder(whole: Path, images: Path, tmp_path: Path) -> None:
    for folder, resume in ((tmp_path, False), (whole, True)):
        with sole_user(folder), pytest.raises(ConfigError, match="another process is at work in it"):
            train(tiny(images, run={"sheet_every": 2}), folder, resume=resume)


def test_what_a_killed_training_leaves_blocks_no_folder_and_goes(whole: Path, images: Path, tmp_path: Path) -> None:
    mine = (".mine.tmp", "sheets/.other.123.tmp", "sheets/.fewshot-seg-1-0123abcd.tmp.txt")
    temporary = (".fewshot-seg-1-0123abcd.tmp", "sheets/.fewshot-seg-22-0123abcd.tmp")
    for name in (*mine, *temporary):
        (whole / name).touch()
    train(tiny(images, run={"sheet_every": 2}), whole, resume=True)
    assert [name for name in (*mine, *temporary) if (whole / name).exists()] == list(mine)
    for name in mine:
        (whole / name).unlink()
    for name in (temporary[0], ".lock"):
        (tmp_path / name).touch()
    (tmp_path / "tensorboard").mkdir()
    (tmp_path / "config.yaml").write_bytes((whole / "config.yaml").read_bytes())
    with sole_training(tmp_path):
        RunFolder(tmp_path, tiny(images), resume=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yaml", "tensorboard"]


def test_resuming_a_finished_run_changes_nothing(whole: Path, images: Path) -> None:
    before = (whole / "metrics.jsonl").read_bytes()
    train(tiny(images, run={"sheet_every": 2, "workers": 1}), whole, resume=True)
    assert (whole / "metrics.jsonl").read_bytes() == before


def command(config: Path, out: Path) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "train_embed", "run", "--config", str(config), "--out", str(out), "--resume"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(line, stderr=subprocess.PIPE, text=True, env=environment)


def wait_for(run: Path, count: int, process: subprocess.Popen[str]) -> None:
    while lines(run) < count:
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        time.sleep(0.002)


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_killed_and_resumed_it_ends_with_the_same_bits(images: Path, tmp_path: Path) -> None:
    """kill -9 in the second epoch between two checkpoints, and the rest in this process."""
    config = tmp_path / "config.yaml"
    config.write_text(to_yaml_text(settings(images, sampler={"batches": 20}, run={"epochs": 2})))
    out = tmp_path / "run"
    first = command(config, out)
    wait_for(out, 14, first)
    first.kill()
    first.communicate()
    train(load_config(str(config)), out, resume=True)
    assert_same(out, train(load_config(str(config)), tmp_path / "whole"))
    assert not list(out.glob(".*"))


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize(("changes", "number"), [(STIRRED, signal.SIGINT), (REID, signal.SIGTERM)])
def test_a_signal_inside_an_accumulated_step_ends_with_the_same_bits(
    changes: dict[str, dict[str, object]], number: signal.Signals, images: Path, tmp_path: Path
) -> None:
    config, out = tiny(images, **changes), tmp_path / "run"

    def interrupt() -> None:
        while lines(out) < 6:
            time.sleep(0.001)
        os.kill(os.getpid(), number)

    threading.Thread(target=interrupt).start()
    with pytest.raises(Interrupted, match=rf"stopped by {number.name} in epoch \d, step \d+: the state is saved"):
        train(config, out)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert_same(train(config, out, resume=True), train(config, tmp_path / "whole"))


def test_workers_change_nothing(whole: Path, images: Path, tmp_path: Path) -> None:
    assert_same(train(tiny(images, run={"sheet_every": 2, "workers": 2}), tmp_path / "run"), whole)


def test_training_takes_nothing_from_the_global_generator(images: Path, tmp_path: Path) -> None:
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    train(tiny(images, run={"epochs": 1}), tmp_path / "run")
    assert torch.equal(torch.rand(1), expected)


def test_a_loss_that_is_nan_stops_and_keeps_the_last_good_state(images: Path, tmp_path: Path) -> None:
    # Steps so large that float32 can't hold what comes of them; the first epoch creeps, so there is a good state.
    config = tiny(
        images, optimizer={"name": "sgd", "trunk_lr": 1e30, "head_lr": 1e30, "clip": None, "warmup_epochs": 3}
    )
    with pytest.raises(Diverged, match=r"in epoch \d, step \d+: training stopped. The last good state") as caught:
        train(config, tmp_path / "run")
    assert "\n" not in str(caught.value)
    state = load_file(tmp_path / "run" / "state.safetensors")
    assert all(bool(torch.isfinite(value).all()) for value in state.values() if value.is_floating_point())


def test_a_disk_that_is_full_keeps_the_older_state_and_the_run_goes_on_later(
    images: Path, whole: Path, tmp_path: Path
) -> None:
    resource = pytest.importorskip("resource")  # a limit on a file's size stands for the disk
    config, out = tiny(images, run={"sheet_every": 2}), tmp_path / "run"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill() -> None:
        while lines(out) < 8:
            time.sleep(0.001)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))

    threading.Thread(target=fill).start()
    try:
        with pytest.raises(OutputError, match=r"cannot write .*(state|model)\.safetensors"):
            train(config, out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert_same(train(config, out, resume=True), whole)


def test_early_stopping(images: Path, tmp_path: Path) -> None:
    # A rate of next to nothing never makes R@1 better.
    slow = {"trunk_lr": 1e-20, "head_lr": 1e-20}
    run = train(tiny(images, optimizer=slow, run={"epochs": 9, "patience": 2}, sampler={"batches": 1}), tmp_path / "r")
    assert records(run)[-1]["epoch"] == 3


def test_an_unreadable_image_is_named_once_and_passed_over_up_to_the_limit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_images(tmp_path / "images")
    broken = [root / "c0" / "1.png", root / "c7" / "2.png"]
    for path in broken:
        path.write_bytes(b"no image")
    run = train(tiny(root, run={"epochs": 2}), tmp_path / "run")
    kept = json.loads((run / "unreadable.json").read_text())
    assert sorted(kept) == [str(path) for path in broken]
    said = [line for line in capsys.readouterr().err.splitlines() if "left out: " in line]
    assert sorted(line.split("left out: ")[1] for line in said) == sorted(kept.values())
    for path in sorted((root / "c6").iterdir())[:3]:
        path.write_bytes(b"no image")
    with pytest.raises(DataError, match="4 images cannot be read, more than the 3 allowed"):  # of 12 that validate
        train(tiny(root, run={"epochs": 1}), tmp_path / "quarter")
    with pytest.raises(DataError, match="cannot be read, more than the 0 allowed"):
        train(tiny(root, data={"max_unreadable": 0}), tmp_path / "strict")


def test_a_class_with_one_image_trains_and_an_empty_split_does_not(tmp_path: Path) -> None:
    root = make_images(tmp_path / "images")
    for path in sorted((root / "c1").iterdir())[1:]:
        path.unlink()
    train(tiny(root, run={"epochs": 1}), tmp_path / "run")
    with pytest.raises(DataError, match="is empty: all 8 classes are trained on"):
        train(tiny(root, data={"train_classes": 8}), tmp_path / "empty")


@pytest.mark.parametrize(
    "changes",
    [
        {"mining": {"baseline": "gradcam"}},
        {"loss": {"name": "contrastive"}, "model": {"neck": "none", "dim": None}, "mining": {"every": 2}},
        {"loss": {"name": "quadruplet"}, "model": {"pooling": "gem"}, "mining": {"detach_maps": True}},
        {"model": {"head": "pcb", "stripes": 2, "neck": "linear+bn"}, "run": {"precision": "bf16"}},
        {"optimizer": {"trunk_lr": 0.0, "name": "sgd"}, "sampler": {"name": "triplet", "p": 8, "k": 4, "tuples": 4}},
        {"identity": {"weight": 1}, "loss": {"name": "proxy-anchor", "feature": "pooled"}, "mining": {"kind": "pair"}},
        {"data": {"augment": "none", "erasing": 1.0}, "model": {"size": 64, "width": 32, "last_stride": 1}},
        {"loss": {"name": "normalized-softmax"}, "mining": {"kind": "triplet"}, "data": {"train_size": 48}},
    ],
    ids=["gradcam", "contrastive", "quadruplet", "pcb", "frozen-trunk", "identities", "rectangle", "proxies"],
)
def test_other_ways_to_train(changes: dict[str, dict[str, object]], images: Path, tmp_path: Path) -> None:
    short = {"epochs": 1, **changes.get("run", {})}
    run = train(tiny(images, **{**changes, "sampler": {"batches": 2, **changes.get("sampler", {})}, "run": short}),
                tmp_path / "run")  # fmt: skip
    load_embedder(run / "model.safetensors", device="cpu")
    assert records(run)[-1]["loss"] == records(run)[-1]["loss"]  # no NaN


def test_training_images_of_another_size(images: Path, tmp_path: Path) -> None:
    """Only training sees that size; and to name the size that images have anyway changes nothing."""
    one = {"run": {"epochs": 1}, "sampler": {"batches": 2}}
    whole, named, larger = (
        tensors(train(tiny(images, data=data, **one), tmp_path / name))
        for name, data in (("whole", {}), ("named", {"train_size": 32}), ("larger", {"train_size": 40}))
    )
    weights = "embedder/trunk.model.conv_head.weight"
    assert torch.equal(whole[weights], named[weights])
    assert not torch.equal(whole[weights], larger[weights])
    assert load_embedder(tmp_path / "larger" / "model.safetensors", device="cpu").preprocessing.size == 32


def test_two_ranks_end_where_one_process_does(images: Path, tmp_path: Path) -> None:
    """By torchrun's variables, gloo; without mining, whose tuples stay within a rank."""
    changes = {
        "mining": {"enabled": False},
        "identity": {"weight": 0.5, "smoothing": 0.1, "center": 0.1},
        "run": {"epochs": 2},
        "optimizer": {"name": "sgd"},
    }
    config = tmp_path / "config.yaml"
    config.write_text(to_yaml_text(settings(images, **changes)))
    line = [sys.executable, "-m", "train_embed", "run", "--config", str(config), "--out", str(tmp_path / "two")]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2"}
    environment = {**os.environ, **meeting, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(line, env={**environment, "RANK": rank, "LOCAL_RANK": rank}, stderr=subprocess.PIPE, text=True)
        for rank in "01"
    ]
    for one in started:
        message = one.communicate(timeout=120)[1]
        assert one.returncode == 0, message
    one, two = tensors(train(load_config(str(config)), tmp_path / "one")), tensors(tmp_path / "two")
    for name, value in one.items():
        assert torch.allclose(value, two[name], rtol=1e-4, atol=1e-6), name


@pytest.mark.realdata
@pytest.mark.parametrize("preset", ["folder-quick", "retrieval-quick"])
def test_the_quick_presets_on_photographs_of_a_few_birds(preset: str, shared_data: Path, tmp_path: Path) -> None:
    root = tmp_path / "birds"
    root.mkdir()
    for folder in sorted((shared_data / "cub200").iterdir())[:9]:
        (root / folder.name).mkdir()
        for image in sorted(folder.iterdir())[:8]:
            (root / folder.name / image.name).symlink_to(image)
    sizes = ["model.size=64", "sampler.p=3", "sampler.batches=2", "run.epochs=1", "run.sheet_every=1", "run.workers=0"]
    once = ["run.validate_every=1", "data.train_size=null", "run.threads=1"]  # two processes share two cores
    run = train(load_config(preset, [f"data.root={root}", *sizes, *once]), tmp_path / "run")
    first, last = records(run)[0], records(run)[-1]
    assert 0 < first["recall@1"] < 1
    assert 0 < last["survival"] < 1.5
    assert "survival_margin" in last
    assert (run / "sheets" / "epoch_001.jpg").stat().st_size > 10_000
    assert load_embedder(run / "model.safetensors", device="cpu").dim == 1280


def test_a_start_that_was_refused_leaves_the_folder_free(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError):
        train(tiny(tmp_path / "empty"), tmp_path / "run")
    photos = make_images(tmp_path / "photos")
    train(tiny(photos, run={"epochs": 1}), tmp_path / "run")
    with pytest.raises(ConfigError, match="holds this run already"):
        train(tiny(photos, run={"epochs": 1}), tmp_path / "run")

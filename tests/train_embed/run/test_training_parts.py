"""Rates, moving average, state, network: each part of the trainer by itself."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from fewshot_seg.attention.maps import attention_maps
from fewshot_seg.attention.weighting import pair_weights
from fewshot_seg.errors import CheckpointError, ConfigError, OutputError, ShapeError
from fewshot_seg.imaging.images import Preprocessing
from fewshot_seg.network.checkpoints import load_checkpoint, save_checkpoint
from fewshot_seg.network.embedder import Embedder, build_embedder
from fewshot_seg.network.heads import PooledHead
from fewshot_seg.network.pcb import PCBHead
from fewshot_seg.network.spec import EmbedderSpec
from train_embed.config.schema import ModelConfig, OptimizerConfig
from train_embed.run.learner import MovingAverage
from train_embed.run.model import build_model, keep_statistics, train_mode
from train_embed.run.objective import step_seed
from train_embed.run.optim import build_optimizer, rate_factor, set_rates
from train_embed.run.state import Position, load_state, optimizer_tensors, restore_optimizer, save_state


def network(neck: str | None = "linear+bn", pooling: str = "gem") -> Embedder:
    trunk = nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.BatchNorm2d(4), nn.ReLU())
    spec = EmbedderSpec("tiny", pooling=pooling, neck=neck, dim=5, preprocessing=Preprocessing(size=32))
    return Embedder(trunk, PooledHead(4, pooling, neck, 5), spec)


def test_cosine_with_warm_up() -> None:
    config = OptimizerConfig(schedule="cosine", warmup_epochs=2.0)
    assert [rate_factor(config, p, 10) for p in (1.0, 2.0, 6.0, 10.0)] == pytest.approx([0.5, 1.0, 0.5, 0.0])
    assert 0 < rate_factor(config, 0.0, 10) <= 0.01


def test_step_and_constant() -> None:
    config = OptimizerConfig(schedule="step", step_epochs=(3, 5), step_factor=0.1)
    assert [rate_factor(config, p, 9) for p in (2.99, 3.0, 5.0)] == pytest.approx([1, 0.1, 0.01])
    assert rate_factor(OptimizerConfig(schedule="constant"), 8.0, 9) == 1


def test_each_part_has_its_rate_and_only_matrices_decay() -> None:
    embedder, proxies = network(), nn.Linear(5, 3)
    config = OptimizerConfig(trunk_lr=0.1, head_lr=0.2, loss_lr=0.3, weight_decay=0.5)
    optimizer = build_optimizer(config, embedder, [proxies])
    set_rates(optimizer, 0.5)
    rates = {id(p): (g["lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}
    for module, rate in ((embedder.trunk, 0.05), (embedder.head, 0.1), (proxies, 0.15)):
        for p in module.parameters():
            assert rates.pop(id(p)) == (rate, 0.5 if p.ndim >= 2 else 0.0)
    assert not rates


def test_nothing_to_train_is_refused() -> None:
    with pytest.raises(ConfigError, match="nothing to train"):
        build_optimizer(OptimizerConfig(), network().requires_grad_(False))


def test_the_moving_average_against_a_loop() -> None:
    embedder = network()
    average = MovingAverage(embedder, 0.5)
    expected = {name: p.detach().clone() for name, p in embedder.named_parameters()}
    for step in range(12):
        with torch.no_grad():
            for p in embedder.parameters():
                p.add_(torch.randn_like(p))
        average.update(embedder, step)
        decay = min(0.5, (1 + step) / (10 + step))
        for name, p in embedder.named_parameters():
            expected[name] = decay * expected[name] + (1 - decay) * p.detach()
    for name, p in average.embedder.named_parameters():
        torch.testing.assert_close(p, expected[name])
        assert not p.requires_grad


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
def test_the_optimiser_goes_on_from_its_state_to_the_last_bit(name: str, tmp_path: Path) -> None:
    def steps(embedder: Embedder, optimizer: torch.optim.Optimizer, seeds: range) -> None:
        for seed in seeds:
            images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
            embedder(images).vector.square().sum(0)[0].backward()
            optimizer.step()
            optimizer.zero_grad()

    config = OptimizerConfig.model_validate({"name": name})
    whole = network().train()
    parted = copy.deepcopy(whole)
    steps(whole, build_optimizer(config, whole), range(6))
    first = build_optimizer(config, parted)
    steps(parted, first, range(3))
    save_state(tmp_path / "s", Position(step=3), optimizer_tensors(first))
    second = build_optimizer(config, parted)
    position, tensors = load_state(tmp_path / "s")
    restore_optimizer(second, tensors)
    steps(parted, second, range(3, 6))
    assert position.step == 3
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), parted.parameters(), strict=True))


def test_a_full_disk_keeps_the_older_state(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    path = tmp_path / "state.safetensors"
    save_state(path, Position(epoch=1), {"a": torch.zeros(10)})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(OutputError, match="the older state is kept, make room and go on with --resume"):
            save_state(path, Position(epoch=2), {"a": torch.zeros(10_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert load_state(path)[0] == Position(epoch=1)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("content", [b"", b"no state", b"\x80\x04pickle"])
def test_a_damaged_state_is_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged or no state of a run"):
        load_state(path)


def test_frozen_norms_stay_as_they_are() -> None:
    config = ModelConfig(backbone="timm/test_efficientnet", weights="random", dim=8, size=32, neck="linear+bn")
    embedder = build_model(config)
    train_mode(embedder, config)
    norms = [m for m in embedder.trunk.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms
    assert not any(m.training or m.weight.requires_grad for m in norms)
    assert isinstance(embedder.head, PooledHead)
    assert embedder.head.bn is not None
    assert embedder.head.bn.training


def test_erased_images_leave_no_trace_in_running_statistics() -> None:
    embedder = network().train()
    before = {name: buffer.clone() for name, buffer in embedder.named_buffers()}
    images = torch.randn(6, 3, 32, 32)
    with keep_statistics(embedder):
        inside = embedder(images).vector
    assert all(torch.equal(before[name], buffer) for name, buffer in embedder.named_buffers())
    torch.testing.assert_close(embedder(images).vector, inside)  # by the batch's own statistics, both times
    assert not torch.equal(before["trunk.1.running_mean"], dict(embedder.named_buffers())["trunk.1.running_mean"])


def test_a_checkpoint_to_start_from(tmp_path: Path) -> None:
    config = ModelConfig(backbone="timm/test_efficientnet", weights="random", dim=8, size=32)
    old = build_model(config)
    save_checkpoint(old, tmp_path / "old.safetensors")
    same = build_model(config.model_copy(update={"weights": str(tmp_path / "old.safetensors")}))
    assert all(torch.equal(a, b) for a, b in zip(old.parameters(), same.parameters(), strict=True))
    other = build_model(config.model_copy(update={"weights": str(tmp_path / "old.safetensors"), "dim": 4}))
    assert other.dim == 4  # the trunk is taken, the neck is new
    changes = {"weights": str(tmp_path / "old.safetensors"), "backbone": "timm/test_resnet"}
    with pytest.raises(ConfigError, match=r"holds timm/test_efficientnet, model\.backbone is timm/test_resnet"):
        build_model(config.model_copy(update=changes))


def test_pcb_against_a_loop_over_stripes() -> None:
    head = PCBHead(4, stripes=3, pooling="gem", neck="linear+bn", dim=2).eval()
    a = torch.rand(2, 4, 6, 5)
    parts = [part.project(a[:, :, 2 * i : 2 * i + 2]) for i, part in enumerate(head.parts)]  # type: ignore[operator]
    torch.testing.assert_close(head.project(a), torch.cat(parts, 1))
    torch.testing.assert_close(head(a).norm(dim=1), torch.ones(2))
    assert head.dim == 6
    assert head(torch.rand(1, 4, 2, 2)).shape == (1, 6)  # fewer rows than stripes
    with pytest.raises(ShapeError, match="expected a feature map"):
        head(torch.rand(2, 3, 6, 5))


def test_a_pcb_embedder_in_a_file_and_its_attention(tmp_path: Path) -> None:
    preprocessing = Preprocessing(size=64)
    spec = EmbedderSpec("timm/test_efficientnet", neck="linear", dim=8, stripes=2, preprocessing=preprocessing)
    embedder = build_embedder(spec, weights=False)
    save_checkpoint(embedder, tmp_path / "pcb.safetensors")
    loaded = load_checkpoint(tmp_path / "pcb.safetensors", "cpu")
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():  # both by their folded copies
        assert torch.equal(loaded(images).vector, embedder(images).vector)
    emb = loaded(images)
    maps = attention_maps(loaded, emb, pair_weights(emb.vector, emb.vector.flip(0)))
    assert maps.shape == (2, *emb.feature_map.shape[2:])
    with pytest.raises(ConfigError, match="3 stripes cannot share"):
        EmbedderSpec("timm/test_efficientnet", dim=8, stripes=3)


def test_the_seeds_of_steps_differ() -> None:
    seeds = {step_seed(seed, count, rank) for seed in range(3) for count in range(50) for rank in range(2)}
    assert len(seeds) == 300
    assert all(0 <= seed < 2**63 and math.isfinite(seed) for seed in seeds)


def test_stages_learn_the_faster_the_later_they_come() -> None:
    embedder = build_embedder(EmbedderSpec("timm/test_vit", neck="linear", preprocessing=Preprocessing(160)), False)
    config = OptimizerConfig(trunk_lr=1.0, layer_decay=0.5, head_lr=3.0)
    rates = {id(p): group["lr"] for group in build_optimizer(config, embedder).param_groups for p in group["params"]}
    assert len(rates) == len(list(embedder.parameters()))
    named = {name.removeprefix("model."): rates[id(p)] for name, p in embedder.trunk.named_parameters()}
    depth = len(embedder.trunk.model.blocks)  # type: ignore[union-attr,arg-type]
    assert named["patch_embed.proj.weight"] == named["pos_embed"] == named["cls_token"] == 0.5 ** (depth + 1)
    for block in range(depth):
        assert named[f"blocks.{block}.mlp.fc1.weight"] == 0.5 ** (depth - block)
    assert named["norm.weight"] == 1.0
    assert {rates[id(p)] for p in embedder.head.parameters()} == {3.0}
    with pytest.raises(ConfigError, match=r"layer_decay 0.5: this backbone has no stages"):
        build_optimizer(config, network())

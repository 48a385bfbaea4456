"""Training on a set with cameras: what validates it, what is kept, what stays behind in the run's state."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from fewshot_seg.datasets.labelled import LabelledImages
from fewshot_seg.errors import DataError
from fewshot_seg.network.checkpoints import read_header
from fewshot_seg.network.embedding import load_embedder
from fewshot_seg.network.pcb import PCBHead
from tests.train_embed.tiny import settings
from train_embed.config.load import from_mapping, load_config
from train_embed.config.run_config import RunConfig
from train_embed.config.schema import DataConfig, ModelConfig
from train_embed.data.loading import Batch
from train_embed.run.curves import summary
from train_embed.run.learner import Learner
from train_embed.run.model import build_model, keep_induced, refine_parts
from train_embed.run.setup import roles, training_and_validation
from train_embed.run.trainer import train

FOLDERS = {"bounding_box_train": range(1, 7), "query": range(7, 11), "bounding_box_test": range(7, 12)}


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """People of one colour each in Market-1501's layout, two cameras; person 11 is a distractor."""
    root, rng = tmp_path_factory.mktemp("market"), np.random.default_rng(0)
    colours = rng.integers(0, 255, (12, 3))
    for folder, people in FOLDERS.items():
        (root / folder).mkdir()
        for person in people:
            for camera in (1, 2):
                for frame in (5,) if folder == "query" else (0, 1):
                    pixels = rng.normal(colours[person], 60, (48, 24, 3)).clip(0, 255).astype(np.uint8)
                    Image.fromarray(pixels).save(root / folder / f"{person:04d}_c{camera}s1_{frame:06d}_00.png")
    return root


def tiny_reid(root: Path, **changes: dict[str, Any]) -> RunConfig:
    base: dict[str, dict[str, Any]] = {
        "data": {"kind": "market", "check_counts": False, "train_classes": None, "augment": "reid"},
        "model": {"size": 64, "width": 32, "neck": "bn", "dim": None, "last_stride": 1},
        "loss": {"selection": "hard", "margin": 0.3, "feature": "pooled"},
        "identity": {"weight": 1.0, "smoothing": 0.1, "center": 0.0005},
        "run": {"epochs": 2, "keep": "last", "recall": [1, 5]},
    }
    merged = {section: {**base.get(section, {}), **changes.get(section, {})} for section in {**base, **changes}}
    return from_mapping(settings(root, **merged))


def test_a_run_validates_by_cameras_and_keeps_its_last_weights(market: Path, tmp_path: Path) -> None:
    run = train(tiny_reid(market), tmp_path / "run")
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    scored = [record for record in records if "map" in record]
    assert [record["epoch"] for record in scored] == [0, 1, 2]
    assert all(0 < record["map"] <= 1 and {"recall@1", "recall@5"} <= record.keys() for record in scored)
    assert {"loss_id", "loss_center", "loss_ml", "loss_sm"} <= scored[-1].keys()
    training = read_header(run / "model.safetensors").training
    assert training is not None
    assert (training["epoch"], training["map"]) == (2, scored[-1]["map"])
    assert "mAP" in summary(run, "last")
    assert "after epoch 2" in summary(run, "last")


def test_classifiers_and_centers_stay_in_the_runs_state(market: Path, tmp_path: Path) -> None:
    run = train(tiny_reid(market, run={"epochs": 1}), tmp_path / "run")
    state, exported = load_file(run / "state.safetensors"), load_file(run / "model.safetensors")
    assert state["objective/identity.classifiers.0.weight"].shape == (6, 256)
    assert state["objective/center.centers"].abs().sum() > 0
    assert not [name for name in exported if "classifier" in name or "center" in name]
    embedder = load_embedder(run / "model.safetensors", device="cpu")
    assert (embedder.preprocessing.shape, embedder.spec.last_stride, embedder.dim) == ((64, 32), 1, 256)
    assert torch.equal(exported["head.bn.bias"], torch.zeros(256)), "the shift of the neck stays 0"


def test_who_asks_whom(market: Path) -> None:
    data = DataConfig(kind="market", root=market, check_counts=False)
    validation = training_and_validation(data)[1]
    found = roles(data, validation)
    assert found is not None
    assert {validation.ids[i].split("/")[0] for i in found.queries} == {"query"}
    assert {validation.ids[i].split("/")[0] for i in found.gallery} == {"bounding_box_test"}
    assert len(found.queries) + len(found.gallery) == len(validation) == 8 + 20
    held = data.model_copy(update={"holdout": 0.5})
    validation = training_and_validation(held)[1]
    everyone = roles(held, validation)
    assert everyone is not None
    assert everyone.queries == everyone.gallery == tuple(range(12))
    blind = LabelledImages(validation.paths, validation.labels, validation.names, None, validation.ids)
    assert roles(held, blind) is None


def test_vehicles_by_their_names_split_by_vehicle(tmp_path: Path) -> None:
    """TYPE_NUMBER_camC.jpg: the first half of the vehicles trains, camera 1 of the others asks camera 2."""
    for number in range(4):
        for camera in (1, 2):
            Image.new("RGB", (8, 8)).save(tmp_path / f"car_{number:04d}_cam{camera}.png")
    data = DataConfig(kind="named", root=tmp_path, query_camera=1, gallery_camera=2)
    images, validation = training_and_validation(data)
    assert images.names == ("car_0000", "car_0001")
    found = roles(data, validation)
    assert found is not None
    assert [validation.ids[i] for i in found.queries] == ["car_0002_cam1.png", "car_0003_cam1.png"]
    assert [validation.ids[i] for i in found.gallery] == ["car_0002_cam2.png", "car_0003_cam2.png"]
    assert roles(data.model_copy(update={"query_camera": "cam1", "gallery_camera": "2.0"}), validation) == found
    with pytest.raises(DataError, match=r"data\.gallery_camera 3: no image that validates is of it; there are 1, 2"):
        roles(data.model_copy(update={"gallery_camera": 3}), validation)


def test_a_table_of_vehicles_trains_split_by_vehicle(market: Path, tmp_path: Path) -> None:
    """One image of each camera, named TYPE_NUMBER_camC; the table lies elsewhere than the images."""
    lines = ["path,label,camera,split,is_query,is_gallery"]
    for person in FOLDERS["bounding_box_train"]:
        for camera in (1, 2):
            name = f"bounding_box_train/{person:04d}_c{camera}s1_000000_00.png"
            part = "train" if person < 5 else "validation"
            lines.append(f"{market / name},car_{person:04d},{camera},{part},{int(camera == 1)},{int(camera == 2)}")
    table = tmp_path / "vehicles.csv"
    table.write_text("\n".join(lines))
    config = tiny_reid(table, data={"kind": "csv"}, run={"epochs": 1}, sampler={"p": 3})
    validation = training_and_validation(config.data)[1]
    found = roles(config.data, validation)
    assert found is not None
    assert [validation.cameras[i] for i in found.queries] == [1, 1]  # type: ignore[index]
    assert (train(config, tmp_path / "run") / "model.safetensors").exists()


def refining() -> ModelConfig:
    return ModelConfig(
        backbone="timm/test_efficientnet", weights="random", head="pcb", stripes=2, neck="linear+bn", dim=4, size=64,
        rpp_epoch=1, rpp_induction=1,
    )  # fmt: skip


def test_parts_are_stripes_then_only_refined_then_both(market: Path) -> None:
    config = refining()
    embedder = build_model(config)
    assert isinstance(embedder.head, PCBHead)
    for epoch, refined in enumerate((False, True, True)):
        embedder.train()
        refine_parts(embedder, config, epoch)
        assert embedder.head.is_refined == refined
        assert embedder.head.parts[0].training == (epoch != 1), "statistics are kept in the induction"
        for p in embedder.parameters():
            p.grad = torch.ones_like(p)
        keep_induced(embedder, list(embedder.parameters()), config, epoch)
        learning = {name for name, p in embedder.named_parameters() if p.grad is not None}
        if epoch == 1:
            assert learning == {"head.assign.weight", "head.assign.bias"}
        else:
            assert len(learning) == len(list(embedder.parameters()))


def test_the_induction_learns_which_part_a_position_belongs_to(market: Path) -> None:
    config = tiny_reid(market, model=refining().model_dump(), run={"epochs": 3}, mining={"enabled": False})
    learner = Learner(config, 6, torch.device("cpu"))
    before = {name: value.clone() for name, value in learner.state().items()}
    learner.start(1)
    batch = Batch(torch.randn(4, 3, 64, 32), torch.tensor([0, 0, 1, 1]), torch.arange(4), {})
    learner.accumulate(batch, 0, 1.0, 1.0)
    learner.step(0, 1.0)
    state = learner.state()
    changed = {name for name, value in before.items() if not torch.equal(value, state[name])}
    assert changed == {"embedder/head.assign.weight", "embedder/head.assign.bias", "embedder/head.refined",
                       "objective/center.centers"}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "mining"), [("paper-reid", True), ("reid-strong", True), ("reid-strong", False), ("reid-quick", True)]
)
def test_each_preset_makes_a_step_with_and_without_mining(name: str, mining: bool) -> None:
    small = ["model.backbone=timm/test_efficientnet", "model.weights=random", "run.device=cpu", "run.epochs=60"]
    config = load_config(name, [*small, f"mining.enabled={str(mining).lower()}", "model.size=64", "model.width=32"])
    torch.manual_seed(0)
    learner = Learner(config, 5, torch.device("cpu"))
    learner.start(0)
    batch = Batch(torch.randn(6, 3, 64, 32), torch.tensor([0, 0, 1, 1, 2, 2]), torch.arange(6), {})
    parts = learner.accumulate(batch, 0, 5.0, 1.0)
    learner.step(0, 5.0)
    assert ("loss_sm" in parts) == mining
    assert parts["loss_id"] > 0

"""A matcher's training as a whole, on a tiny network: same seed, same bits, whatever comes between."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner

from fewshot_seg.datasets import VOID
from fewshot_seg.errors import CheckpointError, ConfigError, FewShotError, OutputError
from fewshot_seg.locks import sole_user
from fewshot_seg.matching.files import backbone_digest, load_matcher, matcher_for, read_matcher_header
from fewshot_seg.matching.matcher import Matcher
from tests.train_embed.matcher.tiny import TRACK, options, training_data
from train_embed.cli import app
from train_embed.matcher.data import TrainingData, prepare, spec_for
from train_embed.matcher.states import TrainingState
from train_embed.matcher.trainer import train_matcher, training_metadata
from train_embed.matcher.validation import SETTINGS, class_ious, validate


def trained(root: Path, out: Path, **changes: object) -> dict[str, torch.Tensor]:
    train_matcher(options(root, **changes), training_data(root, **changes), out)
    return load_file(out)


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def whole(material: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """The weights of a training that nothing interrupts."""
    return trained(material, tmp_path_factory.mktemp("whole") / "m.safetensors")


def cached(root: Path, file: Path | None, track: object = TRACK, **changes: object) -> TrainingData:
    return prepare(options(root, **changes), file, track)  # type: ignore[arg-type]


def test_features_from_a_file_are_those_from_memory(material: Path, tmp_path: Path) -> None:
    here, there = cached(material, None), cached(material, tmp_path / "views.bin")
    again = cached(material, tmp_path / "views.bin")
    for other in (there, again):
        assert np.array_equal(here.store.stacked, other.store.stacked)
        assert np.array_equal(here.store.last, other.store.last)
    assert here.store.stacked.any(axis=(1, 2, 3)).all()
    images = here.store.stacked[here.store.whole()].astype(np.float64)
    assert here.matcher.mean.flatten().numpy() == pytest.approx(images.mean((0, 2, 3)), abs=1e-5)
    assert here.matcher.std.flatten().numpy() == pytest.approx(images.std((0, 2, 3)), abs=1e-5)


def test_features_are_the_embedders_own(material: Path) -> None:
    base = training_data(material)
    paths = [one.path for one in base.gallery.pictures[:3]]
    expected = base.embedder.embed(paths).feature_map.half()
    assert torch.equal(torch.from_numpy(base.store.last[base.store.whole()[:3]]), expected)


def test_features_that_were_cut_short_are_gone_on_with(material: Path, tmp_path: Path) -> None:
    passed: list[int] = []

    def counting(items: Iterable[int], total: int, what: str) -> Iterator[int]:
        for item in items:
            if what == "features":
                passed.append(item)
                if len(passed) == 18:
                    raise KeyboardInterrupt
            yield item

    with pytest.raises(KeyboardInterrupt):
        cached(material, tmp_path / "views.bin", counting)
    there = cached(material, tmp_path / "views.bin", counting)
    assert passed == [*range(18), *range(16, 19)]  # every 16 images it is noted how far it is
    assert np.array_equal(there.store.stacked, training_data(material).store.stacked)


def test_another_files_features_are_refused(material: Path, tmp_path: Path) -> None:
    file = tmp_path / "views.bin"
    cached(material, file)
    with pytest.raises(ConfigError, match="other images, views or weights"):
        cached(material, file, views=2)
    file.write_text("no features")
    with pytest.raises(ConfigError, match="no file of features"):
        cached(material, file)
    with pytest.raises(OutputError, match="cannot keep features"):
        cached(material, file / "below")


def test_a_matcher_is_trained_and_told_of(material: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.safetensors"
    base = training_data(material, hold_out=0)
    before = {name: value.clone() for name, value in base.matcher.state_dict().items()}
    train_matcher(options(material, hold_out=0), base, out)
    header = read_matcher_header(out)
    assert header.spec == spec_for(base.embedder, kinds=len(base.gallery.names))
    assert header.backbone_sha256 == backbone_digest(base.embedder)
    assert header.training["held_out"] == ["aeroplane", "bicycle", "bird", "boat", "bottle"]
    assert header.training["images"] == {"pascal5i": 11, "masks": 8}
    assert str(material) not in json.dumps(header.training)
    assert all(value.dtype == torch.float16 for value in load_file(out).values())
    assert not torch.equal(before["match.weight"], base.matcher.match.weight)
    assert torch.equal(before["mean"], base.matcher.mean)
    assert isinstance(matcher_for(base.embedder, out), Matcher)
    assert [file.name for file in tmp_path.iterdir()] == ["m.safetensors"]


def test_training_learns(material: Path, tmp_path: Path) -> None:
    changes: dict[str, object] = {"steps": 30, "batch": 4, "rate": 1e-2}
    base = training_data(material, **changes)
    early = train_matcher(options(material, **(changes | {"steps": 1})), base, tmp_path / "a.safetensors")
    first = objects_found(early, base)
    late = train_matcher(options(material, **changes), training_data(material, **changes), tmp_path / "b.safetensors")
    assert objects_found(late, base) > max(first, 0.5)


def objects_found(matcher: Matcher, base: TrainingData) -> float:
    """How much larger objectness is on objects than beside them."""
    index = base.store.whole()
    with torch.inference_mode():
        objectness = base.views(matcher.eval(), index).encoded.objectness.numpy()
    step = base.labels.shape[1] // objectness.shape[1]
    labels = base.labels[index][:, step // 2 :: step, step // 2 :: step]
    return float(objectness[labels > 0].mean() - objectness[labels == 0].mean())


def test_the_same_seed_gives_the_same_bits(material: Path, tmp_path: Path) -> None:
    first = trained(material, tmp_path / "a.safetensors")
    torch.rand(3)
    assert same(first, trained(material, tmp_path / "b.safetensors"))
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert not same(first, trained(material, tmp_path / "c.safetensors", seed=1))


def test_labels_that_are_held_out_change_nothing(material: Path, tmp_path: Path) -> None:
    """Nothing is learnt of a held-out class: whatever its pixels are labelled, the weights are the same."""
    first = trained(material, tmp_path / "a.safetensors", hold_out=0)
    blind = tmp_path / "blind"
    shutil.copytree(material, blind)
    changed = 0
    for folder, held in ((blind / "voc/SegmentationClass", (1, 2, 3, 4, 5)), (blind / "coco/masks", (4,))):
        for file in folder.iterdir():
            mask = np.array(Image.open(file))
            changed += int(np.isin(mask, held).sum())
            mask[np.isin(mask, held)] = 2 if folder.name == "SegmentationClass" else 4
            Image.fromarray(mask).save(file)
    assert changed > 0
    assert same(first, trained(blind, tmp_path / "b.safetensors", hold_out=0))
    base = training_data(material, hold_out=0)
    assert {1, 2} <= base.held
    assert VOID in base.labels


class After:
    """A hook that does something when a layer ran so often, once."""

    def __init__(self, calls: int, action: Callable[[], None]) -> None:
        self.left, self.action = calls, action

    def __call__(self, module: object, args: object, result: object) -> None:
        self.left -= 1
        if self.left == 0:
            self.action()


def killed() -> None:
    raise KeyboardInterrupt  # not through the signal: nothing is saved on its way out


def test_a_killed_training_ends_with_the_same_bits(
    material: Path, whole: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    out, state = tmp_path / "b.safetensors", tmp_path / "b.safetensors.state"
    base = training_data(material)
    base.matcher.last.register_forward_hook(After(4 * 4 + 2, killed))  # in the fifth step
    with pytest.raises(KeyboardInterrupt):
        train_matcher(options(material), base, out, keep_every=3)
    assert not out.exists()
    again = training_data(material)
    optimizer = torch.optim.AdamW(again.matcher.parameters())
    about = training_metadata(options(material), again)
    assert TrainingState(state, about).restore(again.matcher, optimizer) == 3
    assert same(whole, trained(material, out))
    assert not state.exists()


def test_ctrl_c_keeps_the_state_and_another_training_refuses_it(
    material: Path, whole: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    out, state = tmp_path / "b.safetensors", tmp_path / "b.safetensors.state"
    base = training_data(material)
    base.matcher.last.register_forward_hook(After(1, lambda: signal.raise_signal(signal.SIGINT)))
    with pytest.raises(FewShotError, match="stopped by SIGINT after step 1 of 6"):
        train_matcher(options(material), base, out)
    assert state.exists()
    with pytest.raises(ConfigError, match="another training"):
        train_matcher(options(material, seed=1), training_data(material, seed=1), out)
    assert same(whole, trained(material, out))


def test_a_damaged_state_is_told(tmp_path: Path) -> None:
    file = tmp_path / "x.state"
    file.write_bytes(b"damaged")
    model = torch.nn.Linear(2, 2)
    with pytest.raises(CheckpointError, match="delete it to begin anew"):
        TrainingState(file, {}).restore(model, torch.optim.AdamW(model.parameters()))


def test_class_ious_are_those_of_a_slow_loop() -> None:
    rng = np.random.default_rng(0)
    masks = rng.random((5, 4, 4)) < 0.5
    labels = rng.choice([0, 1, 2, VOID], (5, 4, 4)).astype(np.int16)
    classes, weights = [1, 2, 1, 1, 2], [1.0, 2.0, 0.5, 3.0, 1.0]
    slow = {}
    for label in (1, 2):
        both = either = 0.0
        for mask, truth, own, weight in zip(masks, labels, classes, weights, strict=True):
            if own != label:
                continue
            for p, t in zip(mask.flatten(), truth.flatten(), strict=True):
                both += weight * (p and t == label)
                either += weight * (t != VOID and (p or t == label))
        slow[label] = both / either
    assert class_ious(masks, labels, classes, weights) == pytest.approx(slow)


def test_validation_asks_for_held_out_classes_alone(material: Path) -> None:
    base = training_data(material, hold_out=0)
    rows = validate(base.matcher, base)
    assert {(row.source, row.setting) for row in rows} >= {("pascal5i", setting) for setting in SETTINGS[:2]}
    assert all(set(row.per_class) <= {"aeroplane", "bicycle"} for row in rows)
    assert rows[0].episodes == 8  # four images show each
    assert rows == validate(base.matcher, base)
    with pytest.raises(ConfigError, match="--hold-out"):
        validate(base.matcher, replace(base, held=frozenset()))


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["matcher", *arguments])
    return result.exit_code, " ".join((result.output + str(result.exception or "")).split())


def test_the_command_trains_validates_and_prints(material: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "m.safetensors"
    common = ["--data", f"voc={material / 'voc'}", "--weights", str(material / "tiny.safetensors"), "--threads", "1"]
    common += [
        "--steps",
        "2",
        "--presence-steps",
        "3",
        "--batch",
        "2",
        "--views",
        "2",
        "--cache",
        str(tmp_path / "views.bin"),
    ]
    code, text = run(*common, "--hold-out", "0", "--validate", "--out", str(out))
    assert code == 0, text
    assert "1-shot, no masks" in text
    assert load_matcher(out).spec.backbone == "timm/test_efficientnet"
    code, text = run(*common, "--out", str(out))
    assert code != 0
    assert "--force" in text
    before = out.read_bytes()
    with sole_user(out.parent):
        code, text = run(*common, "--force", "--out", str(out))
    assert code != 0
    assert "another process is at work" in text
    assert out.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "voc=x", "--out", "m.pt"], "must end in .safetensors"),
        (["--data", "voc=x", "--out", "m.safetensors", "--hold-out", "5"], "0, 1, 2, 3 or none"),
        (["--data", "voc=x", "--out", "m.safetensors", "--validate"], "held out"),
        (["--data", "x", "--out", "m.safetensors"], "KIND=DIR"),
    ],
)
def test_wrong_use_is_told_at_once(arguments: list[str], message: str) -> None:
    code, text = run(*arguments)
    assert code != 0
    assert message in text


def test_a_network_without_layers_is_refused(material: Path) -> None:
    from fewshot_seg.network.embedder import build_embedder
    from fewshot_seg.network.spec import EmbedderSpec

    other = build_embedder(EmbedderSpec("torchvision/resnet18", classes=4), weights=False)
    with pytest.raises(ConfigError, match="no layers to read"):
        spec_for(other)

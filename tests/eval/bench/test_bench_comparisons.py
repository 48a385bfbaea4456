"""The comparisons of `fewshot-eval bench` on tiny networks and images: what they find besides times."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from eval.bench import attention, cache, disk, folder, machine, start, textbook
from eval.bench.comparisons import ALL, COMPARISONS, chosen
from eval.bench.findings import FASTER, LATER, SLOWER, Target, find, findings_table, timings_of
from eval.bench.machine import in_child, peak_mib
from eval.bench.setting import Setting, image_files
from eval.bench.timing import Spread, Timing
from eval.cli import app
from fewshot_seg.attention.maps import attention_maps
from fewshot_seg.attention.weighting import pair_weights
from fewshot_seg.errors import ConfigError, DataError
from fewshot_seg.imaging.images import read_image
from tests.eval.tiny import tiny_embedder, tiny_task


def timing(name: str, *seconds: float) -> Timing:
    one = Spread(1.0, 1.0, 1.0)
    return Timing(name, 1, seconds, one, one)


@pytest.fixture
def tiny(tmp_path: Path) -> Setting:
    task = tiny_task(tmp_path)
    return Setting(task.root, task.weights, "cpu", rounds=2, batch=4, pairs=4, queries=3, images=5, cached=4)


@pytest.mark.parametrize(
    ("measure", "values", "text"),
    [
        (SLOWER, (2.0, 1.0, 3.0), "at most 2 times the time"),
        (FASTER, (0.5, 1.0, 1 / 3), "at least 2 times as fast"),
        (LATER, (2.0, 0.0, 6.0), "at most 2 s more"),
    ],
)
def test_a_finding_compares_round_by_round(measure: str, values: tuple[float, ...], text: str) -> None:
    target = Target(measure, 2)  # type: ignore[arg-type]
    found = find("path", "other", "3 things", (timing("other", 2, 3, 3), timing("path", 4, 3, 9)), target)
    assert (found.value.median, found.value.low, found.value.high) == (sorted(values)[1], min(values), max(values))
    assert str(target) == text
    assert found.met == (measure != FASTER)
    assert found.to_dict()["target"] == {"measure": measure, "limit": 2, "met": found.met}


def test_the_table_and_its_notes() -> None:
    other, path = timing("other", 2.0), timing("path", 1.0)
    findings = [
        find("path", "other", "1 thing", (other, path), Target(FASTER, 1.5), note="said of it"),
        find("path", "other", "1 thing", (other, path), Target(SLOWER, 0.4)),
    ]
    table = findings_table(findings)
    assert [row[-1] for row in table.rows] == ["yes", "NO"]
    assert table.rows[0][3:6] == ("1", "2", "2 (2 to 2)")
    assert table.notes == ("path: said of it",)
    assert timings_of(findings) == [other, path]


def test_attention_is_that_of_the_pairs_and_of_grad_cam(tiny: Setting, tmp_path: Path) -> None:
    embedder, batch = tiny_embedder(), torch.randn(4, 3, 64, 64)
    maps = attention.pairs_attention(embedder, batch)
    with torch.inference_mode():
        for a, b in ((0, 2), (1, 3)):
            emb = embedder(batch[[a, b]])
            w = pair_weights(emb.vector[:1], emb.vector[1:], same=True).repeat(2, 1)
            torch.testing.assert_close(attention_maps(embedder, emb, w), maps[[a, b]], atol=1e-6, rtol=1e-4)
    over_forward, over_grad_cam = attention.compare_attention(tiny, tmp_path)
    assert over_forward.target == attention.OVER_FORWARD
    assert over_grad_cam.facts["map_difference"] < 1e-3
    assert over_forward.path == over_grad_cam.path == "similarity attention, test_efficientnet at 64"


def test_the_rival_takes_its_hooks_off() -> None:
    embedder = tiny_embedder().requires_grad_(False)
    baseline = attention.Baseline(embedder)
    assert baseline(torch.randn(2, 3, 64, 64)).shape == (2, 64, 64)
    baseline.close()
    assert not any(module._forward_hooks for module in embedder.modules())
    assert not any(p.requires_grad or p.grad is not None for p in embedder.parameters())  # it had a copy


def test_the_textbook_on_the_folds_that_there_are(tiny: Setting, tmp_path: Path) -> None:
    (found,) = textbook.compare_textbook(tiny, tmp_path)
    assert found.facts["pairs"] == 4
    assert found.items == "2 pairs"
    assert 0 <= found.facts["miou"] <= 1
    assert 0 <= found.facts["textbook_miou"] <= 1
    assert f"{100 * found.facts['miou']:.1f}" in found.facts["note"]


def test_a_folder_and_its_memory(tiny: Setting, tmp_path: Path) -> None:
    single, anew = folder.compare_folder(tiny, tmp_path)
    assert single.items == anew.items == "3 queries"
    peaks = single.facts["peak_mib"]
    assert list(peaks) == ["3", "30"]
    assert 10 < peaks["3"] <= peaks["30"] < 1.1 * peaks["3"]


def test_from_disk_and_kept_features(tiny: Setting, tmp_path: Path) -> None:
    (found,) = disk.compare_disk(tiny, tmp_path)
    assert found.items == "5 images"


def test_kept_features_give_the_same_predictions(tmp_path: Path) -> None:
    task = tiny_task(tmp_path)
    setting = Setting(task.root, task.weights, "cpu", rounds=1, cached=3)
    findings = cache.compare_cache(setting, tmp_path, fold=1, methods=("attention",), shots=2)
    assert [one.facts["differing"] for one in findings] == [0]


def test_images_come_in_turn_and_from_the_photographs(tiny: Setting, tmp_path: Path) -> None:
    files = image_files(tiny, 20, tmp_path)
    assert len(files) == 20
    assert files[0] == files[16]
    own = image_files(Setting(), 7, tmp_path)
    assert read_image(own[0]).shape == (375, 500, 3)
    assert len(set(own)) < 7
    with pytest.raises(DataError, match=r"has no JPEGImages"):
        image_files(Setting(root=tmp_path / "nothing"), 1, tmp_path)


def test_which_comparisons_are_meant(tmp_path: Path) -> None:
    assert chosen([ALL], tmp_path) == (list(COMPARISONS), [])
    names, left_out = chosen(["start", ALL], None)
    assert set(names) | set(left_out) == set(COMPARISONS)
    assert left_out == ["textbook", "cache"]
    assert chosen(["start", "attention", "start"], None) == (["start", "attention"], [])
    with pytest.raises(ConfigError, match="unknown comparison 'atention'"):
        chosen(["atention"], None)
    with pytest.raises(ConfigError, match="textbook: works on images with masks"):
        chosen(["start", "textbook"], None)


def test_a_child_has_memory_and_errors_of_its_own() -> None:
    ballast = np.ones(2**27, np.uint8)
    assert in_child(peak_mib) < peak_mib() - 2**27 / 2**20 / 2  # not what its parent has
    assert ballast.all()
    with pytest.raises(ConfigError, match="unknown comparison"):
        in_child(chosen, ["nothing"], None)


def test_a_peak_never_goes_down(monkeypatch: pytest.MonkeyPatch) -> None:
    told = iter([2664.144, 2664.137, 2664.2])  # the kernel's own mark was seen to fall by a few pages
    monkeypatch.setattr(machine, "_mark_mib", lambda: next(told))
    monkeypatch.setattr(machine, "_largest", 0.0)
    assert [peak_mib() for _ in range(3)] == [2664.144, 2664.144, 2664.2]


def test_the_command(tmp_path: Path) -> None:
    task = tiny_task(tmp_path)
    options = ["--weights", task.weights, "--device=cpu", "--rounds=1", "--images=2", "--out", str(tmp_path / "b.json")]
    options += ["--table", str(tmp_path / "b.md")]
    done = CliRunner().invoke(app, ["bench", "disk", "start", *options, "--root", str(task.root)])
    said = [line for line in done.stderr.splitlines() if not line.endswith(" s left")]  # a busy machine tells how far
    assert (done.exit_code, said) == (0, ["fewshot-eval: disk", "fewshot-eval: start"])
    assert "embedding images from disk" in done.stdout
    written = json.loads((tmp_path / "b.json").read_text())
    assert [one["path"] for one in written["comparisons"]] == [disk.FROM_DISK, start.HELP]
    assert written["machine"]["processors"] >= 1
    assert len(written["timings"]) == 4
    assert (tmp_path / "b.md").read_text().count("\n| ") >= 3


def test_every_comparison_is_where_its_name_says() -> None:
    for name in COMPARISONS:
        assert callable(getattr(import_module(f"eval.bench.{name}"), f"compare_{name}"))

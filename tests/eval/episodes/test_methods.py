"""Parts switched off, hints, and matchers: what a run's methods are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from eval.episodes.matchers import HELD_OUT, KNOWN, choose_matcher, matcher_words
from eval.episodes.methods import (
    CHANGES,
    HINTED,
    Engine,
    HintKinds,
    build_method,
    episode_query,
    episode_supports,
    hints_for,
    hints_in,
)
from eval.episodes.segmentation import run_segmentation
from eval.studies.compare import compare
from eval.studies.compare_tables import figures_table
from eval.studies.systems import load_systems
from fewshot_seg.datasets.pascal import CLASSES, PascalVoc
from fewshot_seg.episodes.episode import Episode
from fewshot_seg.errors import CheckpointError, ConfigError
from fewshot_seg.matching.files import MatcherHeader, backbone_digest, save_matcher
from fewshot_seg.matching.matcher import Matcher, MatcherSpec
from fewshot_seg.network.embedding import Embedder, load_embedder
from fewshot_seg.prompts.hints import Query
from fewshot_seg.segmentation.segmenter import Segmenter
from tests.eval.tiny import tiny_embedder, tiny_task
from tests.fewshot_seg.datasets.voc_files import make_voc, sixteen


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return load_embedder("default", device="cpu")


@pytest.fixture
def voc(tmp_path: Path) -> PascalVoc:
    """Classes 6 and 7."""
    folder = make_voc(tmp_path / "two", {**sixteen(first=6), "both": (6, 7)})
    return PascalVoc(folder, folder / "list.txt")


def matcher_file(path: Path, embedder: Embedder, training: Mapping[str, Any]) -> Path:
    """A small random matcher for the default backbone."""
    layers = {"blocks.3": 88, "blocks.4": 120, "blocks.6": 352}
    spec = MatcherSpec(embedder.spec.backbone, layers, "blocks.4", channels=1280, objects=4, vectors=4, hidden=4)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_matcher(path, Matcher(spec), MatcherHeader(spec, backbone_digest(embedder), training))
    return path


# Methods


def test_every_change_is_an_option_and_is_in_force() -> None:
    engine = Engine(tiny_embedder(), seed=3, changes={"always": True, "rounds": 4})
    ours = engine.options("ours")
    assert (ours.always, ours.rounds, ours.seed) == (True, 4, 3)
    for method, changes in CHANGES.items():
        options = engine.options(method)
        assert all(getattr(options, name) == value for name, value in changes.items())
        assert replace(options, **{name: getattr(ours, name) for name in changes}) == ours
    assert engine.options("support-box") == ours


def test_a_method_s_own_hint_goes_before_the_run_s() -> None:
    run = HintKinds("mask", "point")
    assert hints_for("ours", run) == run
    assert hints_for("support-box", run) == HintKinds("box", "point")
    assert hints_for("query-scribble", run) == HintKinds("mask", "scribble")
    assert hints_in({"support_masks": True}, "ours") == HintKinds("mask")
    assert hints_in({"support_hint": "box", "query_hint": None}, "query-box") == HintKinds("box", "box")


@pytest.mark.parametrize("kind", sorted({kind for _, kind in HINTED.values()}))
def test_hints_are_of_the_episode_s_classes(voc: PascalVoc, kind: str) -> None:

    episode = Episode(0, "both", (6, 7), {label: (_shot(voc, label),) for label in (6, 7)})
    supports = episode_supports(voc, episode, kind)
    assert list(supports) == ["bus", "car"]
    assert all(shot.hint is not None for shots in supports.values() for shot in shots)
    query = episode_query(voc, episode, kind)
    assert isinstance(query, Query)
    assert list(query.hints) == ["bus", "car"]
    lacking = replace(episode, query=_shot(voc, 6, 1), supports={6: ("both",), 7: (_shot(voc, 7),)})
    only = episode_query(voc, lacking, kind)
    assert isinstance(only, Query)
    assert list(only.hints) == ["bus"]
    assert episode_query(voc, episode, None) == voc.image("both")
    assert all(shot.hint is None for shots in episode_supports(voc, episode, None).values() for shot in shots)


def test_without_rivals_each_class_is_cut_out_by_itself(voc: PascalVoc) -> None:
    embedder = tiny_embedder()
    episode = Episode(0, "both", (6, 7), {label: (_shot(voc, label),) for label in (6, 7)})
    found = build_method("class-by-class", Engine(embedder))(voc, episode)
    segmenter = Segmenter(embedder)
    alone = {
        label: segmenter.segment(voc.image("both"), {"x": [voc.image(_shot(voc, label))]}).objects[0]
        for label in (6, 7)
    }
    assert (found.labels > 0).tolist() == (alone[6].mask | alone[7].mask).tolist()
    mine = alone[6].mask & ~alone[7].mask
    assert (found.labels[mine] == 1).all()
    both = alone[6].mask & alone[7].mask
    stronger = np.where(alone[7].attention > alone[6].attention, 2, 1)
    assert (found.labels[both] == stronger[both]).all()
    assert found.scores == {"bus": alone[6].score, "car": alone[7].score}


def test_a_run_with_hints_says_so_and_is_another_system(tmp_path: Path) -> None:
    task = tiny_task(tmp_path, episodes=4, methods=("ours", "support-box", "query-points"))
    run_segmentation(task)
    assert [one.given for one in load_systems([task.out])] == ["nothing", "box", "nothing, query points"]
    other = replace(task, out=tmp_path / "other", support_hint="mask", methods=("ours",))
    run_segmentation(other)
    assert [one.given for one in load_systems([other.out])] == ["mask"]
    with pytest.raises(ConfigError, match='support_hint null, now "mask"'):
        run_segmentation(replace(task, support_hint="mask"))
    with pytest.raises(ConfigError, match="unknown hint 'line': choose mask, box"):
        replace(task, query_hint="line")


# Matchers


def test_a_matcher_is_held_out_only_if_its_file_says_so_of_every_class(
    voc: PascalVoc, embedder: Embedder, tmp_path: Path
) -> None:
    files = {
        "all": matcher_file(tmp_path / "all.safetensors", embedder, {"held_out": list(CLASSES[5:10])}),
        "one": matcher_file(tmp_path / "one.safetensors", embedder, {"held_out": ["bus"]}),
        "none": matcher_file(tmp_path / "none.safetensors", embedder, {}),
    }
    used = {name: choose_matcher(str(path), 1, voc, ("bus", "car"), embedder) for name, path in files.items()}
    assert {name: one.held_out for name, one in used.items()} == {"all": True, "one": False, "none": False}
    assert len({one.sha256 for one in used.values()}) == 3
    without = choose_matcher("none", 1, voc, ("bus",), embedder)
    assert (without.option, without.sha256) == ("none", "")
    assert choose_matcher("auto", 1, voc, ("bus",), tiny_embedder()).option == "none"
    with pytest.raises(CheckpointError, match="no such matcher"):
        choose_matcher("missing.safetensors", 1, voc, ("bus",), embedder)


def test_auto_takes_the_fold_s_own_matcher(
    voc: PascalVoc, embedder: Embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the package's folder elsewhere: which matchers it holds is not what is tested."""
    monkeypatch.setattr("fewshot_seg.matching.files._FOLDER", tmp_path)
    assert choose_matcher("auto", 1, voc, ("bus",), embedder).option == "none"
    matcher_file(tmp_path / "default.safetensors", embedder, {"held_out": []})
    default = choose_matcher("auto", 1, voc, ("bus",), embedder)
    assert (default.option, default.held_out) == ("default", False)
    matcher_file(tmp_path / "fold1.safetensors", embedder, {"held_out": list(CLASSES[5:10])})
    own = choose_matcher("auto", 1, voc, ("bus",), embedder)
    assert (own.choice, own.option, own.held_out) == ("auto", "fold1", True)
    assert choose_matcher("auto", 2, voc, ("dog",), embedder).option == "default"
    assert choose_matcher("auto", "all", voc, ("bus",), embedder).option == "default"


def test_tables_tell_what_the_matcher_knew(embedder: Embedder, tmp_path: Path) -> None:
    held = matcher_file(tmp_path / "held.safetensors", embedder, {"held_out": list(CLASSES[5:10])})
    known = matcher_file(tmp_path / "known.safetensors", embedder, {})
    task = tiny_task(tmp_path, episodes=2, weights="default", methods=("ours", "attention"))
    for name, path in (("a", held), ("b", known)):
        metrics = run_segmentation(replace(task, out=tmp_path / name, matcher=str(path)))
    assert metrics["matcher"] == {"ours": KNOWN, "attention": "none"}
    config = json.loads((tmp_path / "a" / "config.json").read_text())
    assert matcher_words(config, "ours") == HELD_OUT
    assert config["segmenter"]["ours"]["always"] is True
    table = figures_table(compare(load_systems([tmp_path / "a", tmp_path / "b"]), 0))
    place = table.columns.index("matcher")
    assert [row[place] for row in table.rows] == [HELD_OUT, "none", KNOWN, "none"]
    assert any(note.endswith("very classes that are looked for: b: ours.") for note in table.notes)
    assert matcher_words({}, "ours") == "none"


def _shot(dataset: PascalVoc, label: int, place: int = 0) -> str:
    """An image of one class alone."""
    own = [one.image for one in dataset.entries if one.label == label and one.image != "both"]
    return own[place]

"""Configurations: what is right is read back the same; what is wrong is said in one line, before any data is read."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from fewshot_seg.errors import ConfigError
from train_embed.config.load import (
    from_mapping,
    load_config,
    parse_override,
    preset_names,
    preset_text,
    to_mapping,
    to_yaml,
    valid_keys,
)
from train_embed.config.loss_schema import LOSS_DEFAULTS
from train_embed.config.run_config import RunConfig
from train_embed.config.yaml_text import parse_yaml, to_yaml_text

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=8)
WORDS = st.from_regex(r"[a-z_][a-z0-9_]*", fullmatch=True)


PCB = ("model.head=pcb", "model.neck=linear")


def refusal(*overrides: str, source: str | dict[str, Any] = "folder-quick") -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(source, overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


class TestPresets:
    def test_the_promised_ones_are_there(self) -> None:
        promised = {
            "paper-siamese",
            "paper-triplet",
            "paper-quadruplet",
            "paper-reid",
            "folder-quick",
            "retrieval-quick",
        }
        assert promised <= set(preset_names())

    @pytest.mark.parametrize("name", preset_names())
    def test_every_preset_validates_and_begins_with_what_it_is_for(self, name: str) -> None:
        assert isinstance(load_config(name), RunConfig)
        assert preset_text(name).startswith("# ")
        assert load_config(name).data.root is None

    @pytest.mark.parametrize("name", preset_names())
    def test_a_preset_survives_yaml_and_json_values(self, name: str, tmp_path: Path) -> None:
        config = load_config(name, ["data.root=somewhere/else"])
        path = tmp_path / "config.yaml"
        path.write_text(to_yaml(config), "utf-8")
        assert load_config(path) == from_mapping(to_mapping(config)) == config

    @pytest.mark.parametrize("name", ["paper-siamese", "paper-triplet", "paper-quadruplet"])
    @pytest.mark.parametrize("kind", ["cub", "cars", "sop", "folder"])
    def test_the_papers_serve_each_retrieval_set(self, name: str, kind: str) -> None:
        config = load_config(name, [f"data.kind={kind}"])
        assert (config.data.kind, config.model.backbone, config.mining.enabled) == (kind, "paper", True)

    @pytest.mark.parametrize("kind", ["market", "duke", "cuhk03"])
    def test_reid_is_the_papers(self, kind: str) -> None:
        config = load_config("paper-reid", [f"data.kind={kind}"])
        assert (config.model.head, config.mining.gamma) == ("pcb", 0.2)
        assert (config.run.epochs, config.optimizer.name) == (40, "adam")

    def test_an_unknown_one_names_the_nearest(self) -> None:
        assert "the nearest is folder-quick" in refusal(source="folder-quik")


class TestOverrides:
    @settings(max_examples=60, deadline=None)
    @example(["_"], {"\x85": "\u2028 \u2029"})
    @given(path=st.lists(WORDS, min_size=1, max_size=3), value=VALUES)
    def test_round_trip(self, path: list[str], value: Any) -> None:
        text = f"{'.'.join(path)}={to_yaml_text(value)}"
        assert parse_override(text) == (tuple(path), value)

    @settings(max_examples=60, deadline=None)
    @given(value=VALUES)
    def test_yaml_round_trip_keeps_types(self, value: Any) -> None:
        again = parse_yaml(to_yaml_text(value), "test")
        assert again == value
        assert type(again) is type(value)

    @settings(max_examples=60, deadline=None)
    @given(text=TEXT)
    def test_any_text_is_an_override_or_refused(self, text: str) -> None:
        with contextlib.suppress(ConfigError):
            assert all(parse_override(text)[0])

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("1e-4", 1e-4),
            ("1E3", 1000.0),
            ("010", 10),
            ("no", "no"),
            ("on", "on"),
            ("1:30", "1:30"),
            ("none", "none"),
            ("", None),
            ("null", None),
            ("[1, 10]", [1, 10]),
            ("a=b", "a=b"),
        ],
    )
    def test_values_are_yaml_1_2(self, text: str, value: object) -> None:
        got = parse_override(f"run.x={text}")[1]
        assert (got, type(got)) == (value, type(value))

    def test_they_change_a_preset_and_the_last_wins(self) -> None:
        config = load_config(
            "folder-quick", ["mining.gamma=1", "mining={alpha: 5}", "mining.gamma=0.7", "run.recall=[1,3]"]
        )
        assert (config.mining.gamma, config.mining.alpha, config.mining.enabled) == (0.7, 5.0, True)
        assert config.run.recall == (1, 3)

    @pytest.mark.parametrize("text", ["x", "=3", ".a=1", "a..b=1"])
    def test_no_key_and_value(self, text: str) -> None:
        assert "--set takes SECTION.KEY=VALUE" in refusal(text)

    def test_a_home_folder_is_found(self) -> None:
        assert load_config("folder-quick", ["data.root=~/birds"]).data.folder == Path.home() / "birds"


class TestRefusals:
    @pytest.mark.parametrize(
        ("override", "words"),
        [
            ("mining.gama=1", "unknown key 'mining.gama': the nearest is mining.gamma"),
            ("gamma=1", "unknown key 'gamma': the nearest is mining.gamma"),
            ("optimizer.epochs=1", "unknown key 'optimizer.epochs': the nearest is run.epochs"),
            ("mine.enabled=true", "unknown key 'mine': the nearest is mining"),
            ("zzz.qqq=1", "unknown key 'zzz'"),
            ("mining.gamma=much", "mining.gamma: input should be a valid number, got 'much'"),
            ("mining.gamma=-1", "mining.gamma: input should be greater than or equal to 0"),
            ("mining.gamma=.nan", "mining.gamma: input should be a finite number"),
            ("run.epochs=2.5", "run.epochs: input should be a valid integer"),
            ("run.epochs=true", "run.epochs: input should be a valid integer"),
            ("run.epochs='3'", "run.epochs: input should be a valid integer"),
            ("mining.enabled=1", "mining.enabled: input should be a valid boolean"),
            ("loss.name=tripplet", "'triplet'"),
            ("mining=3", "mining is a section"),
            ("run.recall=3", "run.recall"),
            ("run.device=gpu", "run.device"),
            ("data.train_classes=1.5", "data.train_classes must be a number of classes, a share"),
            ("loss.name=[1", "--set loss.name is no YAML"),
        ],
    )
    def test_keys_and_types(self, override: str, words: str) -> None:
        assert words in refusal(override)

    @pytest.mark.parametrize(
        ("overrides", "words"),
        [
            (["loss.name=multi-similarity"], "set mining.kind"),
            (["model.rpp_epoch=1"], "model.rpp_epoch is for model.head pcb, not pooled"),
            ([*PCB, "model.rpp_epoch=1"], "set identity.weight, or model.rpp_induction"),
            ([*PCB, "model.pooling=gem", "model.rpp_epoch=1"], "refined parts are means"),
            ([*PCB, "model.rpp_epoch=3", "model.rpp_induction=0"], "is after the end: run.epochs is 3"),
            (["data.vehicles=800"], "data.vehicles is for data.kind vehicleid, not folder"),
            (["data.pattern=x"], "data.pattern is for data.kind named, not folder"),
            (["identity.smoothing=0.1"], "needs an identity loss: set identity.weight"),
            (["loss.name=proxy-anchor"], "set mining.kind"),
            (["sampler.k=1"], "sampler.k"),
            (["sampler.p=1"], "sampler.p"),
            (["loss.name=quadruplet", "sampler.p=2"], "sampler.p"),
            (["mining.kind=quadruplet", "sampler.p=2"], "mining of quadruplets"),
            (["model.dim=64", "model.neck=none"], "model.neck"),
            (["model.dim=64", "model.neck=bn"], "model.neck"),
            (["model.head=pcb", "model.neck=bn", "model.dim=null"], "model.neck"),
            (["model.stripes=6"], "model.stripes"),
            (["run.precision=fp16", "run.device=cpu"], "run.precision"),
            (["loss.margin2=0.1"], "loss.margin2"),
            (["loss.alpha=2"], "mining.alpha"),
            (["model.width=64", "data.train_size=64"], "set one of them to null"),
            (["loss.base=2"], "loss.base"),
            (["loss.name=proxy-anchor", "mining.enabled=false", "loss.selection=hard"], "loss.selection"),
            (["loss.name=multi-similarity", "mining.enabled=false", "loss.margin=1"], "loss.margin"),
            (["mining.enabled=false", "mining.baseline=gradcam"], "mining.enabled"),
            (["mining.warmup_epochs=100"], "mining.warmup_epochs"),
            (["sampler.tuples=4"], "sampler.tuples"),
            (["sampler.name=pair", "sampler.tuples=1", "loss.name=quadruplet"], "sampler.tuples"),
            (["optimizer.schedule=step"], "optimizer.step_epochs"),
            (["optimizer.schedule=step", "optimizer.step_epochs=[3, 2]"], "must grow"),
            (["optimizer.schedule=cosine", "optimizer.step_epochs=[2]"], "optimizer.schedule"),
            (["optimizer.warmup_epochs=100"], "optimizer.warmup_epochs"),
            (["run.validate_every=100"], "run.validate_every"),
            (["run.recall=[2, 4]"], "run.recall"),
            (["data.kind=cub"], "data.train_classes"),
            (["data.boxes=labeled"], "data.boxes"),
            (["data.kind=cub", "data.train_classes=null", "data.split_file=df.csv"], "data.split_file"),
        ],
    )
    def test_impossible_combinations(self, overrides: list[str], words: str) -> None:
        assert words in refusal(*overrides)

    def test_mining_with_a_loss_without_tuples_where_the_kind_is_set(self) -> None:
        config = load_config("folder-quick", ["loss.name=multi-similarity", "mining.kind=pair"])
        assert config.tuple_kind == "pair"

    def test_several_errors_are_one_line(self) -> None:
        message = refusal("run.a=1", "run.b=1", "run.c=1", "run.d=1")
        assert message.count("unknown key") == 3
        assert "and 1 more" in message

    def test_a_dotted_key_in_a_file(self) -> None:
        assert "write gamma under a section mining" in refusal(source={"mining.gamma": 1})

    def test_no_root(self) -> None:
        with pytest.raises(ConfigError, match=r"--set data\.root=DIR"):
            _ = load_config("folder-quick").data.folder

    @settings(max_examples=60, deadline=None)
    @given(key=st.sampled_from(valid_keys()), value=VALUES)
    def test_any_value_anywhere_is_taken_or_refused(self, key: str, value: Any) -> None:
        section, _, leaf = key.partition(".")
        with contextlib.suppress(ConfigError):
            config = from_mapping({section: {leaf: value}})
            assert from_mapping(to_mapping(config)) == config


class TestFiles:
    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"", "sections of keys and values"),
            (b"- 1\n", "sections of keys and values"),
            (b"run:\n  epochs: 3\n  epochs: 4\n", "line"),
            (b"run: [\n", "no YAML"),
            (b"run: !!python/object/apply:os.system [ls]\n", "no YAML"),
            (b"\xff\xfe\x00", "no UTF-8 text"),
            (b"1: 2\n", "1"),
        ],
    )
    def test_what_is_no_configuration(self, content: bytes, words: str, tmp_path: Path) -> None:
        path = tmp_path / "c.yaml"
        path.write_bytes(content)
        message = refusal(source=str(path))
        assert words in message
        assert str(path) in message

    def test_missing_or_a_folder(self, tmp_path: Path) -> None:
        assert "no such file" in refusal(source=str(tmp_path / "c.yaml"))
        assert "cannot read" in refusal(source=str(tmp_path))


class TestDefaults:
    @pytest.mark.parametrize("name", LOSS_DEFAULTS)
    def test_each_loss_has_its_own_numbers(self, name: str) -> None:
        loss = from_mapping({"loss": {"name": name}}).loss
        assert {key: getattr(loss, key) for key in LOSS_DEFAULTS[name]} == LOSS_DEFAULTS[name]

    @pytest.mark.parametrize(
        ("loss", "kind"),
        [("contrastive", "pair"), ("triplet", "triplet"), ("quadruplet", "quadruplet"), ("proxy-anchor", "triplet")],
    )
    def test_the_tuples_follow_the_loss(self, loss: str, kind: str) -> None:
        assert from_mapping({"loss": {"name": loss}}).tuple_kind == kind

    def test_batch_sizes(self) -> None:
        assert from_mapping({"sampler": {"p": 5, "k": 3}}).sampler.batch_size == 15
        assert from_mapping({"sampler": {"name": "triplet"}}).sampler.batch_size == 48

    def test_frozen(self) -> None:
        with pytest.raises(ValidationError, match="frozen"):
            RunConfig().run.epochs = 3

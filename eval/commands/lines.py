"""A run's report, and the command line that stands in it: options that aren't the defaults of the subcommand."""

from __future__ import annotations

import inspect
import json
import shlex
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from eval.commands.common import COMMAND, track

Command = Callable[..., None]
"""A subcommand's function. Its signature has the options and their defaults."""


def write_report_of(
    command: Command,
    run: Path,
    root: Path | None = None,
    split_list: Path | None = None,
    examples: int = 8,
    weights: str | None = None,
    device: str | None = None,
) -> Path:
    """Write the report.html of a finished run of `command`; other arguments and errors as `ReportTask` and its writers.

    Raises:
        ConfigError: a split list for a kind of run that has none.
    """
    from eval.report.reid import write_reid_report
    from eval.report.retrieval import write_retrieval_report
    from eval.report.segmentation import write_report
    from eval.report.task import Network, ReportTask
    from fewshot_seg.errors import ConfigError

    kind = command.__name__
    if split_list is not None and kind != "segment":
        raise ConfigError(f"--split-list: a {kind} run has none; leave it out")
    kinds = {"reid": (write_reid_report, reid_line), "retrieval": (write_retrieval_report, retrieval_line)}
    write, line = kinds.get(kind, (write_report, segment_line))
    task = ReportTask(run, root, split_list, examples, Network(weights, device), partial(line, command))
    return write(task, track)


def segment_line(command: Command, config: Mapping[str, Any], metrics: Mapping[str, Any], out: Path) -> str:
    """The command that makes a run of this config and these metrics: options that aren't the defaults.

    What no option of `segment` can change, as a sweep does, is named in a comment behind it.
    """
    settings = {
        **config,
        "out": out,
        "method": None if config["methods"] == ["ours"] else config["methods"],
        "skip_small_classes": bool(config["classes_left_out"]),
        "boundary": "boundary_f" in metrics,
        "episodes": config["episodes"] // (2 if config.get("absent") else 1),
        "matcher": (config.get("matcher") or {}).get("choice"),
        "bootstrap": (metrics.get("bootstrap") or {}).get("samples"),
    }
    changed = _changed_options(config)
    return _line(command, settings) + (f"  # with {', '.join(changed)}" if changed else "")


def retrieval_line(command: Command, config: Mapping[str, Any], metrics: Mapping[str, Any], out: Path) -> str:
    """The command that makes a retrieval run of this config and these metrics: options that aren't the defaults."""
    from eval.retrieval.run import default_ks

    weights = [one["source"] for one in config["weights"]]
    settings = {
        **config,
        "out": out,
        "weights": None if weights == ["default"] else weights,
        "device": config["weights"][0]["device"],
        "size": config.get("size"),
        "k": None if tuple(config["ks"]) == default_ks(config["dataset"]) else config["ks"],
        "bootstrap": metrics["bootstrap"]["samples"],
    }
    return _line(command, settings) + (" --no-nmi" if metrics["nmi"] is None else "")


def reid_line(command: Command, config: Mapping[str, Any], metrics: Mapping[str, Any], out: Path) -> str:
    """The command that makes a re-identification run of this config and these metrics: options but the defaults."""
    protocol, weights = config["protocol"], [one["source"] for one in config["weights"]]
    reranking, expansion = (next((way[kind] for way in config["ways"] if way[kind]), None) for kind in _WAYS)
    settings = {
        **config,
        "out": out,
        "weights": None if weights == ["default"] else weights,
        "device": config["weights"][0]["device"],
        "size": config.get("size"),
        "rerank": reranking is not None,
        **({"k1": reranking["k1"], "k2": reranking["k2"]} if reranking else {}),
        "query_expansion": expansion is not None,
        **({"expand_by": expansion["number"], "alpha": expansion["alpha"]} if expansion else {}),
        "gallery_shot": None if protocol["single"] == (config["dataset"] == "vehicleid") else _shot(protocol["single"]),
        "repeats": protocol["repeats"],
        "seed": protocol["seed"],
        "same_camera": "drop" if protocol["cross"] else "keep",
        "bootstrap": metrics["bootstrap"]["samples"],
    }
    if isinstance(settings["train_classes"], list):
        settings["train_classes"] = ",".join(settings["train_classes"])
    own = None if reranking is None or reranking["own"] == _LAMBDA else reranking["own"]
    return _line(command, settings) + ("" if own is None else f" --lambda {own}")


_WAYS = ("rerank", "expansion")
_LAMBDA = 0.3


def _shot(single: bool) -> str:
    return "one" if single else "all"


def _line(command: Command, settings: Mapping[str, Any]) -> str:
    """A subcommand with the options of its function that were told other than their defaults."""
    words = [COMMAND, command.__name__]
    for option, parameter in inspect.signature(command).parameters.items():
        value = settings.get(option)
        flag = f"--{option.replace('_', '-')}" if len(option) > 1 else f"-{option}"
        if value is None or _plain(value) == _plain(parameter.default) or value is False:
            continue
        for one in value if isinstance(value, list) else [value]:
            words += [flag] if one is True else [flag, str(one)]
    return shlex.join(words)


def _changed_options(config: Mapping[str, Any]) -> list[str]:
    """The segmenter's options that a run has changed beyond what its methods do: "seeds.background=0.2"."""
    from dataclasses import asdict

    from eval.episodes.methods import CHANGES
    from fewshot_seg.segmentation.options import SegmenterOptions

    changed: dict[str, None] = {}
    for method, options in (config.get("segmenter") or {}).items():
        own = {"seed": config["seed"], **_given(config), **CHANGES.get(method, {})}
        usual = _flat(asdict(SegmenterOptions.from_dict(own)))
        changed |= {f"{name}={value}": None for name, value in _flat(options).items() if usual.get(name) != value}
    return list(changed)


def _given(config: Mapping[str, Any]) -> dict[str, Any]:
    """The segmenter's options that other options of the command stand for."""
    given: dict[str, Any] = {"always": config["way"] == 1 and not config.get("absent")}
    return given | ({"matcher": config["matcher"]["option"]} if config.get("matcher") else {})


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def _plain(value: object) -> str:
    return json.dumps(value, default=str).strip('"')

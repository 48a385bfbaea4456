"""Baseline against mining over seeds, for the paper's three losses or a configuration's own: the runs, and the table.

OUT/LOSS-VARIANT-SEED/ is a run's folder, OUT/LOSS-VARIANT-SEED/result.json stands there when it is finished, with the
configuration it had. What is finished isn't repeated, what was interrupted is resumed, and another configuration is
refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from fewshot_seg.errors import CheckpointError, ConfigError, DataError, FewShotError, ImageError, OutputError
from fewshot_seg.files import read_json
from fewshot_seg.imaging.export import write_json
from train_embed.config.load import from_mapping, load_config, parse_override, read_mapping, to_mapping
from train_embed.config.run_config import RunConfig
from train_embed.run.curves import MAP, SURVIVAL, kept_record, read_metrics, validations
from train_embed.run.folder import FREE
from train_embed.run.setup import Interrupted, check_ready
from train_embed.run.trainer import train
from train_embed.studies.ablation_table import LOSSES, Result, write_tables

RESERVED = ("loss.name", "mining.enabled", "run.seed", "data.root")
"""Keys that the ablation sets itself."""
HOPELESS = (CheckpointError, ConfigError, DataError, ImageError, Interrupted, OutputError)
"""What ends the ablation, for every other run would meet it, too. Else (a NaN loss) it is one run's result."""


@dataclass(frozen=True)
class Job:
    """One run of the ablation."""

    loss: str
    mining: bool
    seed: int
    config: RunConfig

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.loss}-{'mining' if self.mining else 'baseline'}-{self.seed}"


def run_ablation(
    root: Path,
    out: Path,
    *,
    seeds: Sequence[int],
    config: str = "folder-quick",
    overrides: Sequence[str] = (),
    own_loss: bool = False,
) -> list[str]:
    """Train what isn't finished, then write `out`/table.md and `out`/table.json.

    Args:
        root: data.root of all runs.
        out: folder of the runs and the table.
        seeds: one run of everything for each.
        config: a preset's name or YAML file: what all runs share. Of its loss section nothing is used, for its
            numbers belong to one loss, unless
        own_loss: its own loss, as it stands there, is the only one.
        overrides: "section.key=value", for all runs.

    Returns:
        A line for each run that failed by itself, such as by a NaN loss.

    Raises:
        FewShotError: a configuration that cannot be, data or a disk that would fail every run.
    """
    jobs = plan(root, seeds, config, overrides, own_loss)
    for job in jobs:
        check_same(job, out)
    check_ready(jobs[0].config)
    failed: list[str] = []
    results: list[Result] = []
    for number, job in enumerate(jobs, start=1):
        _say(f"{number} of {len(jobs)}: {job.name}")
        try:
            results.append(finish(job, out))
        except HOPELESS:
            raise
        except FewShotError as error:
            failed.append(f"{job.name}: {error}")
        if results:  # after every run, so that a person can look in
            write_tables(out, results, failed)
    if not results:
        raise FewShotError(f"every run failed; the first: {failed[0]}")
    return failed


def plan(root: Path, seeds: Sequence[int], config: str, overrides: Sequence[str], own_loss: bool = False) -> list[Job]:
    """The runs, seed by seed, so that an early look at the table compares like with like.

    Raises:
        ConfigError: a configuration that cannot be, or an override of what the ablation sets itself.
    """
    for text in overrides:
        path, _ = parse_override(text)
        reserved = [key for key in RESERVED if not (own_loss and key == "loss.name")]
        if ".".join(path) in reserved or path == ("data",) or len(path) < 2:
            raise ConfigError(
                f"--set {'.'.join(path)}: the ablation sets {', '.join(reserved)} itself; set single keys"
            )
    load_config(config)  # what is wrong with it by itself is said with its name
    base = read_mapping(config)
    base["data"] = {**(base.get("data") or {}), "root": str(root)}
    losses: dict[str, Any]
    if own_loss:
        name = Path(config).stem
        losses = {f"own-{name}" if name in LOSSES else name: base.get("loss") or {}}
    else:
        losses = {loss: {"name": entry.loss} for loss, entry in LOSSES.items()}
    jobs = []
    for seed in seeds:
        for loss, section in losses.items():
            for mining in (False, True):
                fixed = [f"mining.enabled={str(mining).lower()}", f"run.seed={seed}"]
                jobs.append(Job(loss, mining, seed, load_config({**base, "loss": section}, [*overrides, *fixed])))
    return jobs


def check_same(job: Job, out: Path) -> None:
    """Refuse to mix: ConfigError where a finished run of another configuration stands in this one's place."""
    stored = _stored(out / job.name)
    if stored is None:
        return
    before = to_mapping(from_mapping(stored["config"]))  # with the defaults of keys that it is too old to have
    for section, values in to_mapping(job.config).items():
        for key, value in values.items():
            old = before[section][key]
            if old != value and f"{section}.{key}" not in FREE:
                raise ConfigError(
                    f"{out / job.name} was made with {section}.{key} {old!r}, not {value!r}: choose another --out"
                )


def finish(job: Job, out: Path) -> Result:
    """The result of `job`, trained now if need be; FewShotError: the training failed."""
    run = out / job.name
    if (stored := _stored(run)) is not None:
        return _result(job, stored)

    train(job.config, run, resume=(run / "config.yaml").exists())
    records = read_metrics(run)
    kept = kept_record(records, job.config.run.keep)
    start = next((record for record in validations(records) if record["epoch"] == 0), None)
    content = {
        "config": to_mapping(job.config),
        "epoch": kept["epoch"],
        **_scores(kept),
        "untrained": None if start is None else _scores(start),
        "last": _scores(validations(records)[-1]),
    }
    write_json(run / "result.json", content)
    return _result(job, content)


def _scores(record: dict[str, float]) -> dict[str, Any]:
    recall = {key.partition("@")[2]: value for key, value in record.items() if key.startswith("recall@")}
    return {"recall": recall, "map": record.get(MAP), "survival": record.get(SURVIVAL)}


def _result(job: Job, content: dict[str, Any]) -> Result:
    untrained = content.get("untrained") or {}
    return Result(
        loss=job.loss,
        mining=job.mining,
        seed=job.seed,
        recall={int(k): float(value) for k, value in content["recall"].items()},
        survival=content["survival"],
        epoch=content["epoch"],
        untrained=untrained.get("recall", {}).get("1"),
        map=content.get("map"),
        untrained_map=untrained.get("map"),
        keep=job.config.run.keep,
    )


def _stored(run: Path) -> dict[str, Any] | None:
    path = run / "result.json"
    if not path.exists():
        return None
    try:
        content: dict[str, Any] = read_json(path)
        if {"config", "recall", "survival", "epoch"} - content.keys():
            raise ValueError("keys are missing")
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"{path} cannot be read ({error}): delete it to train this run again") from error
    return content


def _say(message: str) -> None:
    typer.echo(f"train-embed: ablation: {message}", err=True)

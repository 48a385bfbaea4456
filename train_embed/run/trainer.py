"""A training run from its configuration to its folder: epochs, checkpoints, validation, logs.

    train(load_config("folder-quick", ["data.root=photos"]), Path("runs/first"))
    export(Path("runs/first"), Path("birds.safetensors"))

A run that is interrupted at any moment and resumed ends, on a CPU, with the same weights to the last bit as one that
wasn't: see `train_embed.run.state`.
"""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch.distributed as dist

from fewshot_seg.commands.outputs import refuse_overwriting
from fewshot_seg.errors import CheckpointError
from fewshot_seg.imaging.export import atomic_file
from fewshot_seg.network.checkpoints import read_header, save_checkpoint
from train_embed.config.load import to_mapping
from train_embed.config.run_config import RunConfig
from train_embed.data.augment import Augment
from train_embed.data.loading import TrainingLoader, most_unreadable
from train_embed.run.curves import Board, score_text, write_curves
from train_embed.run.distributed import any_rank, barrier, every_rank, is_main, rank, reduce_mean, world_size
from train_embed.run.folder import RunFolder, sole_training
from train_embed.run.learner import Diverged, Learner
from train_embed.run.memory import keep_freed_memory
from train_embed.run.objective import mining_options
from train_embed.run.progress import losses_text, training_meter
from train_embed.run.setup import (
    Interrupted,
    StopSignal,
    build_sampler,
    check_ready,
    process_group,
    roles,
    run_device,
    seeded,
    stop_on_signals,
    training_and_validation,
)
from train_embed.run.sheets import write_sheet
from train_embed.run.state import Position, load_state, save_state
from train_embed.run.validation import Validator

LOGS = 10
"""Records of losses in an epoch."""


def train(config: RunConfig, out: Path, resume: bool = False) -> Path:
    """Trains in the folder `out` (`train_embed.run.folder`) and returns it; with `resume` goes on with a run there.

    Raises:
        ConfigError: impossible settings, or a folder that holds another run or lies in the data.
        DataError: images missing, too many unreadable ones, an empty split.
        OutputError: a file can't be written; the older state is kept.
        Diverged: a NaN loss; the last good state and the best weights are kept.
        Interrupted: SIGINT or SIGTERM came; the state is saved.
    """
    check_ready(config)
    refuse_overwriting([out], [config.data.folder])
    device = run_device(config)
    if device.type == "cpu":
        keep_freed_memory()
    with (
        process_group(device),
        seeded(config.run.seed, config.run.threads, device),
        stop_on_signals() as stop,
        sole_training(out) if is_main() else nullcontext(),
    ):
        folder = _open(out, config, resume)
        run = _Run(config, folder, stop)
        try:
            run.go()
        except Diverged as error:
            raise Diverged(
                f"{error} in epoch {run.at.epoch + 1}, step {run.at.step + 1}: training stopped. The last good state "
                f"and the best weights are kept in {out}; lower optimizer.trunk_lr and head_lr, or set optimizer.clip"
            ) from error
        barrier()
    return out


def export(run: Path, path: Path) -> None:
    """Writes the best weights of a run's folder as a checkpoint, its configuration inside.

    Raises:
        CheckpointError: no such run, no validated epoch yet, a damaged file, or a name that isn't .safetensors.
        OutputError: it can't be written.
    """
    source = run / "model.safetensors"
    if not source.exists():
        raise CheckpointError(f"{run} holds no weights yet: no epoch of a run there has been validated")
    if path.suffix != source.suffix:
        raise CheckpointError(f"a checkpoint's name must end in {source.suffix}, got {path}")
    refuse_overwriting([path], [run])
    read_header(source)
    path.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as old, atomic_file(path) as new:
        shutil.copyfileobj(old, new)


def _open(out: Path, config: RunConfig, resume: bool) -> RunFolder:
    """The folder: the first rank makes it, then the others look."""
    folder = RunFolder(out, config, resume) if is_main() else None
    barrier()
    return folder or RunFolder(out, config, resume=True)


class _Run:
    """One run. `at` says where it is."""

    def __init__(self, config: RunConfig, folder: RunFolder, stop: StopSignal) -> None:
        self.config, self.folder, self.stop = config, folder, stop
        run, data = config.run, config.data
        images, validation = training_and_validation(data)
        self.learner = Learner(config, len(images.present), run_device(config))
        options = mining_options(config)
        limit = most_unreadable(data.max_unreadable, len(validation))
        self.validator = Validator(
            validation, options, run.recall, run.eval_batch, run.workers, limit, roles(data, validation)
        )
        preprocessing = self.learner.embedder.preprocessing
        if data.train_size is not None:
            preprocessing = replace(preprocessing, size=data.train_size)
        self.loader = TrainingLoader(
            images,
            build_sampler(config.sampler, images.labels, run.seed),
            Augment(data.augment, preprocessing, data.erasing),
            seed=run.seed,
            rank=rank(),
            world=world_size(),
            workers=run.workers,
            max_unreadable=most_unreadable(data.max_unreadable, len(images)),
            pin_memory=self.learner.device.type == "cuda",
        )
        self.at = Position()
        if folder.state.exists():
            self.at, tensors = load_state(folder.state)
            self.learner.restore(tensors)
            self.learner.scaler.load_state_dict(self.at.scaler)
        if is_main():
            folder.cut_log(self.at.records)
        self.board = Board(folder.path, run.tensorboard and is_main())
        total = run.epochs * self._steps_an_epoch()
        self.progress = training_meter(total, self.at.step, quiet=not is_main())

    def _steps_an_epoch(self) -> int:
        return -(-len(self.loader) // self.config.optimizer.accumulate)

    def go(self) -> None:
        """All that is left to do."""
        with self.progress:
            if self.at.records == 0:
                self._before()
            while not self.at.finished:
                self._train_epoch()
                self._end_epoch()
        if is_main():
            write_curves(self.folder.path)

    def _before(self) -> None:
        """What the untrained backbone reaches, as record 0."""
        record: dict[str, float] = {}
        if is_main():
            record = self.validator.recall(self.learner.result, self._check, backbone=True)
            self.progress.say(f"untrained backbone: {score_text(record)}")
        self._name_unreadable()
        self._log({"epoch": 0.0, **record})
        self._save()

    def _train_epoch(self) -> None:
        """The batches of the epoch that aren't done yet."""
        self.learner.start(self.at.epoch)
        accumulate, batches, at = self.config.optimizer.accumulate, len(self.loader), self.at
        for batch in self.loader.epoch(at.epoch, start=at.batch) if at.batch < batches else ():
            first = at.batch - at.batch % accumulate
            share = 1 / (min(first + accumulate, batches) - first)
            progress = at.epoch + first / batches
            parts = self.learner.accumulate(batch, at.epoch * batches + at.batch, progress, share)
            for name, value in {**parts, "batches": 1.0, **{f"n_{name}": 1.0 for name in parts}}.items():
                at.sums[name] = at.sums.get(name, 0.0) + value
            at.batch += 1
            if at.batch % accumulate == 0 or at.batch == batches:
                self.learner.step(at.step, progress)
                at.step += 1
                at.rates = {group["name"]: group["lr"] for group in self.learner.optimizer.param_groups}
                self._after_step(parts, batches)
        self._save()  # before the validation, which may take long or be interrupted

    def _after_step(self, parts: dict[str, float], batches: int) -> None:
        self.progress.step(f"epoch {self.at.epoch + 1}/{self.config.run.epochs} {losses_text(parts)}")
        if self.at.batch < batches and self.at.sums["batches"] >= batches / LOGS:
            self._log_losses(self.at.epoch + self.at.batch / batches, {})
        if any_rank(self.stop.name is not None):
            self._save()
            raise self._interrupted()

    def _interrupted(self) -> Interrupted:
        name = self.stop.name or "a signal to another process"
        where = f"epoch {self.at.epoch + 1}, step {self.at.step}"
        return Interrupted(f"stopped by {name} in {where}: the state is saved, go on with --resume")

    def _check(self) -> None:
        """Between batches of a validation: the state was saved before it. Ranks that wait could not leave, too."""
        if self.stop.name is not None and world_size() == 1:
            raise self._interrupted()

    def _end_epoch(self) -> None:
        """Validation where it is due, the records, the best weights, and whether it is time to stop."""
        at, run = self.at, self.config.run
        done = at.epoch + 1
        due = done % run.validate_every == 0 or done == run.epochs
        scores = self._validate(done) if due else {}
        better = False
        if due:
            better = scores["recall@1"] > at.best
            at.stale = 0 if better else at.stale + 1
            if better:
                at.best, at.best_epoch = scores["recall@1"], done
        if is_main() and (better or (due and run.keep == "last")):
            self._save_kept(done, scores)
        at.epoch, at.batch = done, 0
        self._name_unreadable()
        at.finished = done >= run.epochs or (run.patience is not None and at.stale >= run.patience)
        self._log_losses(float(done), scores)
        self._save()
        if due:
            self._tell(scores, better)

    def _validate(self, done: int) -> dict[str, float]:
        """The scores; the first rank's on every rank."""
        scores: dict[str, float] = {}
        if is_main():
            embedder, run = self.learner.result, self.config.run
            scores = self.validator.recall(embedder, self._check)
            scores |= self.validator.survival(embedder, self._check)
            if run.sheet_every and (done % run.sheet_every == 0 or done == run.epochs):
                title = f"epoch {done}: {score_text(scores)}, survival {scores['survival']:.2f}"
                path = self.folder.path / "sheets" / f"epoch_{done:03d}.jpg"
                write_sheet(path, embedder, self.validator, run.sheet_tuples, title)
        if world_size() > 1:
            found: list[Any] = [scores]
            dist.broadcast_object_list(found, 0, device=self.learner.device)
            scores = found[0]
        return scores

    def _name_unreadable(self) -> None:
        """Files that could not be read, each once, on stderr and in the run's folder."""
        found = every_rank(self.loader.unreadable | self.validator.unreadable)
        if is_main():
            for reason in self.folder.keep_unreadable(found):
                self.progress.say(f"left out: {reason}")

    def _save_kept(self, done: int, scores: dict[str, float]) -> None:
        values = to_mapping(self.config)
        values["data"]["root"] = None  # where the images lay is nobody else's business
        training = {"config": values, "epoch": done, "recall@1": scores["recall@1"]}
        training |= {"map": scores["map"]} if "map" in scores else {}
        save_checkpoint(self.learner.result, self.folder.model, training)

    def _log_losses(self, epoch: float, scores: dict[str, float]) -> None:
        """The means since the last record, the rates, and scores if there are any."""
        sums = self.at.sums
        names = [name for name in sums if name.startswith("loss")]
        means = {name: reduce_mean(sums[name] / sums[f"n_{name}"]) for name in names}
        self.at.sums = {}
        rates = {f"lr_{name}": rate for name, rate in self.at.rates.items() if means}
        self._log({"epoch": epoch, "step": self.at.step, **means, **rates, **scores})

    def _log(self, record: dict[str, float]) -> None:
        self.at.records += 1
        if is_main():
            self.folder.log(record)
            self.board.log(record, self.at.step)

    def _save(self) -> None:
        self.at.scaler = self.learner.scaler.state_dict()
        if is_main():
            save_state(self.folder.state, self.at, self.learner.state())

    def _tell(self, scores: dict[str, float], better: bool) -> None:
        at, run = self.at, self.config.run
        text = f"epoch {at.epoch} of {run.epochs}: {score_text(scores)}{' (best)' if better else ''}"
        if at.finished and at.epoch < run.epochs:
            text += f"; no better for {at.stale} validations, stopping early"
        self.progress.say(f"{text}, similarity that survives erasing {scores['survival']:.2f}")

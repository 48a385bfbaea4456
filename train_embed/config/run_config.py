"""One training run's whole configuration, and settings that are right one by one and impossible together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Self

from pydantic import model_validator

from train_embed.config.loss_schema import (
    LOSS_DEFAULTS,
    TUPLE_OF_LOSS,
    IdentityConfig,
    LossConfig,
    MiningConfig,
    TupleKind,
)
from train_embed.config.schema import DataConfig, ModelConfig, OptimizerConfig, RunSection, SamplerConfig
from train_embed.config.section import Section

CLASSES_OF_TUPLE = {"pair": 1, "triplet": 2, "quadruplet": 3}
CLASSES_OF_LOSS = {"quadruplet": 3}  # the others want two
OPEN_KINDS = ("folder", "csv")


class RunConfig(Section):
    """One training run. `train_embed.config.load.load_config` makes it."""

    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    identity: IdentityConfig = IdentityConfig()
    mining: MiningConfig = MiningConfig()
    sampler: SamplerConfig = SamplerConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    run: RunSection = RunSection()

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for rule in RULES:
            for reason in rule(self):  # names the keys and the way out
                raise ValueError(reason)
        return self

    @property
    def tuple_kind(self) -> TupleKind:
        """The tuples of mining and of the sheets: `mining.kind`, else the loss's own, else triplets."""
        return self.mining.kind or TUPLE_OF_LOSS.get(self.loss.name, "triplet")


def _data(config: RunConfig) -> Iterator[str]:
    data = config.data
    if data.train_classes is not None and data.kind not in (*OPEN_KINDS, "named"):
        yield f"data.train_classes is for data.kind folder or csv; {data.kind} has a published split, so set it to null"
    if data.split_file is not None and data.kind not in OPEN_KINDS:
        yield f"data.split_file is for data.kind folder or csv, not {data.kind}"
    for key, kind in (("boxes", "cuhk03"), ("vehicles", "vehicleid"), ("pattern", "named")):
        if getattr(data, key) is not None and data.kind != kind:
            yield f"data.{key} is for data.kind {kind}, not {data.kind}"


def _model(config: RunConfig) -> Iterator[str]:
    model = config.model
    if model.width is not None and config.data.train_size is not None:
        yield "data.train_size is a square's side, and model.width makes a rectangle: set one of them to null"
    linear = model.neck in ("linear", "linear+bn")
    if model.dim is not None and not linear:
        yield f"model.dim {model.dim} needs a linear layer: set model.neck to linear or linear+bn, not {model.neck}"
    if model.head == "pcb" and not linear:
        yield f"model.head pcb has a linear layer a stripe: set model.neck to linear or linear+bn, not {model.neck}"
    if model.stripes is not None and model.head != "pcb":
        yield f"model.stripes is for model.head pcb, not {model.head}"
    if model.rpp_epoch is None:
        return
    if model.head != "pcb":
        yield f"model.rpp_epoch is for model.head pcb, not {model.head}"
    if model.pooling != "avg":
        yield f"model.rpp_epoch: refined parts are means, so set model.pooling to avg, not {model.pooling}"
    if config.identity.weight == 0 and model.rpp_induction:
        yield "model.rpp_induction learns the parts from identities: set identity.weight, or model.rpp_induction to 0"
    if model.rpp_epoch >= config.run.epochs:
        yield f"model.rpp_epoch {model.rpp_epoch} is after the end: run.epochs is {config.run.epochs}"


def _loss(config: RunConfig) -> Iterator[str]:
    loss = config.loss
    for key in ("selection", "margin", "margin2", "alpha", "beta", "base"):
        takers = [name for name, own in LOSS_DEFAULTS.items() if key in own]
        if getattr(loss, key) is not None and loss.name not in takers:
            more = " (the soft mask's is mining.alpha)" if key == "alpha" else ""
            yield f"loss.{key} is for {', '.join(takers)}, not {loss.name}{more}"
    if config.identity.smoothing and not config.identity.weight:
        yield "identity.smoothing needs an identity loss: set identity.weight"


def _mining(config: RunConfig) -> Iterator[str]:
    mining = config.mining
    if mining.baseline != "none" and not mining.enabled:
        yield f"mining.baseline {mining.baseline} needs mining.enabled: true"
    if mining.enabled and mining.kind is None and config.loss.name not in TUPLE_OF_LOSS:
        yield f"loss.name {config.loss.name} knows no tuples: set mining.kind to pair, triplet or quadruplet"
    if mining.enabled and mining.warmup_epochs > config.run.epochs:
        yield f"mining.warmup_epochs {mining.warmup_epochs:g} is longer than run.epochs {config.run.epochs}"


def _sampler(config: RunConfig) -> Iterator[str]:
    sampler, loss = config.sampler, config.loss.name
    if sampler.name != "pk":
        if loss in CLASSES_OF_LOSS and sampler.name != "quadruplet" and sampler.tuples == 1:
            yield f"sampler.tuples 1 holds too few classes for loss.name {loss}"
        return
    if sampler.tuples is not None:
        yield "sampler.tuples is for sampler.name pair, triplet or quadruplet; pk has sampler.p and sampler.k"
    if sampler.k < 2:
        yield "sampler.k 1 gives no two images of a class in a batch: it must be at least 2"
    needed = CLASSES_OF_LOSS.get(loss, 2)
    if sampler.p < needed:
        yield f"sampler.p {sampler.p}: loss.name {loss} needs at least {needed} classes in a batch"
    mined = CLASSES_OF_TUPLE[config.tuple_kind] if config.mining.enabled else 0
    if sampler.p < mined:
        yield f"sampler.p {sampler.p}: mining of {config.tuple_kind}s needs at least {mined} classes in a batch"


def _optimizer(config: RunConfig) -> Iterator[str]:
    optimizer, epochs = config.optimizer, config.run.epochs
    if (optimizer.schedule == "step") != bool(optimizer.step_epochs):
        yield "optimizer.schedule step and optimizer.step_epochs go together: set both or neither"
    if any(a >= b for a, b in zip(optimizer.step_epochs, optimizer.step_epochs[1:], strict=False)):
        yield f"optimizer.step_epochs must grow, got {list(optimizer.step_epochs)}"
    if optimizer.warmup_epochs > epochs:
        yield f"optimizer.warmup_epochs {optimizer.warmup_epochs:g} is longer than run.epochs {epochs}"


def _run(config: RunConfig) -> Iterator[str]:
    run = config.run
    if run.precision == "fp16" and run.device == "cpu":
        yield "run.precision fp16 needs a GPU: with run.device cpu choose fp32 or bf16"
    if run.validate_every > run.epochs:
        yield f"run.validate_every {run.validate_every} is longer than run.epochs {run.epochs}: no validation"
    if 1 not in run.recall:
        yield f"run.recall {list(run.recall)} must hold 1: R@1 picks the best checkpoint"


RULES: tuple[Callable[[RunConfig], Iterator[str]], ...] = (_data, _model, _loss, _mining, _sampler, _optimizer, _run)

"""The settings of a training run: the sections of a `RunConfig`. `train_embed.config.load` reads them from YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from fewshot_seg.errors import ConfigError
from train_embed.config.section import Count, Counts, Names, NotNegative, Positive, Section, Share, Whole

Side = Annotated[int, Field(ge=32, le=4096)]
# fmt: off
DataKind = Literal[
    "folder", "csv", "named", "cub", "cars", "sop", "inshop", "market", "duke", "cuhk03", "msmt17", "veri", "vehicleid",
]
# fmt: on


class DataConfig(Section):
    """The images. Training and validation never share a class.

    Attributes:
        kind: the layout on disk.
        root: its folder; of "csv", the table also does. Needed by every run, in no preset.
        train_classes: of "folder", "csv" and "named", the classes to train on: the first so many, in natural order;
            their share, or a list of names, patterns and ranges ("001..100"). The rest validates. Null: half of them.
        split_file: of "folder" and "csv", a table in `root`, see `fewshot_seg.datasets.labelled_csv`; where it has a
            column split, train_classes must be null. Null: of "csv" df.csv, of "folder" none.
        boxes: of "cuhk03", the people's boxes "detected" or "labeled".
        vehicles: of "vehicleid", how many its test list holds; null: 800.
        pattern: of "named", what a file's name says, see `fewshot_seg.datasets.class_folder`; null: its own.
        query_camera, gallery_camera: in validation only images of this camera ask, or are looked through; null: any.
        check_counts: whether a published set must be whole.
        holdout: share of the training classes kept back for validation. 0 validates on the test split, as the
            published tables do.
        max_unreadable: so many unreadable images, and at most a quarter of them all, are listed in RUN/unreadable.json
            and skipped; one more stops the run.
        augment: "retrieval", "reid" or "none".
        erasing: probability of random erasing (Zhong et al., 2017); null: 0.5 of "reid", 0 of the others.
        train_size: pixels a side of the images in training; null: model.size, as in validation and use. Crops show
            things larger than they will be in use, which a smaller size makes up for (Touvron et al., 2019), in
            less time.
    """

    kind: DataKind = "folder"
    root: Annotated[Path, Field(strict=False)] | None = None
    train_classes: Count | Share | Names | None = None
    split_file: str | None = None
    boxes: Literal["detected", "labeled"] | None = None
    vehicles: Count | None = None
    pattern: str | None = None
    query_camera: Whole | str | None = None
    gallery_camera: Whole | str | None = None
    check_counts: bool = True
    holdout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    max_unreadable: Whole = 20
    augment: Literal["retrieval", "reid", "none"] = "retrieval"
    erasing: Annotated[float, Field(ge=0, le=1)] | None = None
    train_size: Annotated[int, Field(ge=32, le=4096)] | None = None

    @field_validator("root")
    @classmethod
    def _home(cls, root: Path | None) -> Path | None:
        return None if root is None else root.expanduser()  # a shell leaves the ~ of --set data.root=~/x alone

    @property
    def folder(self) -> Path:
        """`root`, which a run needs; ConfigError where it isn't set."""
        if self.root is None:
            raise ConfigError("data.root is not set: say where the images are with --set data.root=DIR")
        return self.root


class ModelConfig(Section):
    """The embedder.

    Attributes:
        backbone: a name that `fewshot_seg.network.backbones.canonical_name` takes.
        weights: what the training starts from: "imagenet", "random", or a checkpoint of this project with the same
            backbone; its head is taken, too, where it has the same shape.
        head: "pooled" (pooling and neck), or "pcb" (stripes with a linear neck each, put end to end).
        pooling: of the map, or of each stripe.
        neck: what follows; "none", "linear", "bn" or "linear+bn".
        dim: length of the embedding, of "pcb" of each stripe's part; null: the backbone's channels.
        stripes: of "pcb"; null: 6.
        rpp_epoch: of "pcb", refined part pooling from this epoch on (the first is 0); null: never.
        rpp_induction: so many epochs from there on only the layer that refines the parts learns.
        size: pixels a side that images are brought to, or, with a width, their height.
        width: pixels in width; null: as many as in height.
        last_stride: 1: the trunk's last stage keeps the map's size, which gives four times the positions.
        freeze_bn: the trunk's batch norms keep their ImageNet statistics and scales.
        freeze_stages: so many of the trunk's first stages, and the stem before them, keep their weights; with
            mining.detach_maps no gradient goes through them, which is much of a step's time.
    """

    backbone: Annotated[str, Field(min_length=1)] = "default"
    weights: Annotated[str, Field(min_length=1)] = "imagenet"
    head: Literal["pooled", "pcb"] = "pooled"
    pooling: Literal["avg", "max", "avg+max", "gem"] = "avg"
    neck: Literal["none", "linear", "bn", "linear+bn"] = "linear"
    dim: Annotated[int, Field(ge=1, le=65_536)] | None = None
    stripes: Annotated[int, Field(ge=1, le=32)] | None = None
    rpp_epoch: Whole | None = None
    rpp_induction: Whole = 2
    size: Side = 224
    width: Side | None = None
    last_stride: Literal[1, 2] = 2
    freeze_bn: bool = True
    freeze_stages: Whole = 0

    @model_validator(mode="before")
    @classmethod
    def _stripes_of_pcb(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("head") == "pcb" and values.get("stripes") is None:
            return values | {"stripes": 6}
        return values


class SamplerConfig(Section):
    """The batches.

    Attributes:
        name: "pk": p classes with k images each; or tuples drawn on their own: "pair", "triplet", "quadruplet".
        p, k: of "pk".
        tuples: how many a batch, of the others; null: 16.
        batches: in an epoch; null: so many that every image could come once.
    """

    name: Literal["pk", "pair", "triplet", "quadruplet"] = "pk"
    p: Count = 8
    k: Count = 4
    tuples: Count | None = None
    batches: Count | None = None

    @model_validator(mode="before")
    @classmethod
    def _tuples(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("name", "pk") != "pk" and values.get("tuples") is None:
            return values | {"tuples": 16}
        return values

    @property
    def batch_size(self) -> int:
        """Images in the global batch."""
        each = {"pair": 2, "triplet": 3, "quadruplet": 4}
        return self.p * self.k if self.name == "pk" else each[self.name] * (self.tuples or 16)


class OptimizerConfig(Section):
    """Steps.

    Attributes:
        name: "adamw", "adam" or "sgd".
        trunk_lr, head_lr: rates of backbone and head; a trunk_lr of 0 freezes the trunk.
        layer_decay: each stage of the trunk (each block of a transformer) learns so many times as fast as the one
            after it; 1: all alike.
        loss_lr: of the loss's own parameters (proxies) and the baseline's classifier; null: head_lr.
        weight_decay: of all but biases, batch norms and GeM's exponent.
        momentum: of "sgd".
        schedule: after the warm-up: "constant", "cosine" to 0, or "step".
        step_epochs, step_factor: "step" multiplies the rates by the factor at each of these epochs.
        warmup_epochs: the rates grow linearly from 0 over so many.
        clip: largest norm of the gradient; null: any.
        accumulate: batches a step.
        ema: decay of the weights' moving average, which is what is validated and saved; null: none.
    """

    name: Literal["adamw", "adam", "sgd"] = "adamw"
    trunk_lr: NotNegative = 1e-4
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    head_lr: Positive = 1e-3
    loss_lr: Positive | None = None
    weight_decay: NotNegative = 1e-4
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    schedule: Literal["constant", "cosine", "step"] = "cosine"
    step_epochs: Counts = ()
    step_factor: Share = 0.1
    warmup_epochs: NotNegative = 0.0
    clip: Positive | None = None
    accumulate: Count = 1
    ema: Share | None = None


class RunSection(Section):
    """The run itself.

    Attributes:
        epochs: how many.
        seed: of everything random.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        precision: arithmetic of the trunk: "fp32", "bf16" or "fp16".
        workers: processes that read images; 0: none but the trainer.
        threads: torch's; null: its own choice.
        validate_every: epochs between validations.
        keep: whose weights are kept: of the validation with the "best" R@1, or the "last". Which one was best is
            itself learnt from the images that validate.
        patience: so many validations without a better R@1 end the run; null: never.
        recall: the K of R@K.
        eval_batch: images a batch in validation.
        sheet_every: epochs between sheets of attention maps; 0: none.
        sheet_tuples: tuples on a sheet.
        tensorboard: whether to log there, too.
    """

    epochs: Count = 20
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")] = "auto"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    workers: Whole = 2
    threads: Count | None = None
    validate_every: Count = 1
    keep: Literal["best", "last"] = "best"
    patience: Count | None = None
    recall: Counts = (1, 2, 4, 8)
    eval_batch: Count = 32
    sheet_every: Whole = 5
    sheet_tuples: Count = 6
    tensorboard: bool = False

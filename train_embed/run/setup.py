"""What a run stands on: a look at the machine, its images, processes and randomness, and how it is stopped."""

from __future__ import annotations

import importlib.util
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import torch
import torch.distributed as dist

from fewshot_seg.datasets.labelled import LabelledImages
from fewshot_seg.datasets.names import Camera, camera_numbers, camera_of_text, list_cameras
from fewshot_seg.datasets.registry import load_dataset
from fewshot_seg.errors import ConfigError, DataError, FewShotError
from fewshot_seg.network.backbones import canonical_name
from fewshot_seg.network.checkpoints import read_header
from fewshot_seg.network.devices import check_precision, resolve_device
from train_embed.config.run_config import RunConfig
from train_embed.config.schema import DataConfig, SamplerConfig
from train_embed.data.samplers import BatchSampler, PairSampler, PKSampler, QuadrupletSampler, TripletSampler
from train_embed.run.distributed import local_rank
from train_embed.run.validation import Roles

TUPLE_SAMPLERS = {"pair": PairSampler, "triplet": TripletSampler, "quadruplet": QuadrupletSampler}


def training_and_validation(data: DataConfig) -> tuple[LabelledImages, LabelledImages]:
    """The images to train on and to validate on, of different classes; DataError, ConfigError as `load_dataset`."""
    return _part(data, "train"), _part(data, "validation")


def roles(data: DataConfig, validation: LabelledImages) -> Roles | None:
    """Who asks and who is looked through among the validation images, where the data knows cameras; else None.

    The benchmark's own queries and gallery, or, where training identities were held out, all of them both; of either
    the images of the cameras that were chosen. DataError where no image is of them.
    """
    cameras = validation.cameras
    if cameras is None:
        return None
    place = {id_: index for index, id_ in enumerate(validation.ids)}

    def those(part: str, chosen: Camera | None) -> tuple[int, ...]:
        camera = None if chosen is None else camera_of_text(chosen)
        found = range(len(place)) if data.holdout else (place[id_] for id_ in _part(data, part).ids)
        kept = tuple(index for index in found if camera in (None, cameras[index]))
        if not kept:
            known = list_cameras(cameras)
            raise DataError(f"data.{part}_camera {camera}: no image that validates is of it; there are {known}")
        return kept

    return Roles(
        those("query", data.query_camera), those("gallery", data.gallery_camera), tuple(camera_numbers(cameras))
    )


def _part(data: DataConfig, split: str) -> LabelledImages:
    names = ("train_classes", "split_file", "boxes", "vehicles", "pattern", "holdout", "check_counts")
    return load_dataset(data.kind, data.folder, split, **{name: getattr(data, name) for name in names})


def build_sampler(config: SamplerConfig, labels: tuple[int, ...], seed: int) -> BatchSampler:
    """The sampler that the configuration names, over the training images' labels; DataError where they are too few."""
    if config.name == "pk":
        return PKSampler(labels, config.p, config.k, seed, config.batches)
    return TUPLE_SAMPLERS[config.name](labels, config.tuples or 16, seed, config.batches)


def run_device(config: RunConfig) -> torch.device:
    """The device of this rank: under torchrun the GPU of its place on the machine. ConfigError: there is none."""
    device = resolve_device(config.run.device)
    if device.type == "cuda" and "LOCAL_RANK" in os.environ:
        device = resolve_device(f"cuda:{local_rank()}")
    return device


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Under torchrun the group of its processes (nccl on GPUs, else gloo); ConfigError if it can't be formed."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or dist.is_initialized():
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    try:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    except (RuntimeError, ValueError) as error:
        raise ConfigError(f"the processes cannot find each other: {error}; start them with torchrun") from error
    try:
        yield
    finally:
        dist.destroy_process_group()


@contextmanager
def seeded(seed: int, threads: int | None, device: torch.device) -> Iterator[None]:
    """torch's generators seeded, its threads set; both as before afterwards."""
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(before)


def check_ready(config: RunConfig) -> None:
    """Check `config` against this machine: the images' place, device, arithmetic, backbone, optional libraries.

    Raises:
        ConfigError, DataError, CheckpointError: what isn't here.
    """
    root = config.data.folder
    if not root.exists():
        raise DataError(f"data.root: there is nothing at {root}")
    if config.data.kind != "csv" and not root.is_dir():
        raise DataError(f"data.root {root} is a file: data.kind {config.data.kind} wants a folder")
    check_precision(config.run.precision, resolve_device(config.run.device))
    canonical_name(config.model.backbone)
    if config.model.weights not in ("imagenet", "random"):
        read_header(config.model.weights)
    if config.loss.name == "multi-similarity":
        _need("pytorch_metric_learning", f"loss.name {config.loss.name}", "'fewshot-seg[metric]'")
    if config.run.tensorboard:
        _need("tensorboard", "run.tensorboard", "tensorboard")


def _need(library: str, setting: str, requirement: str) -> None:
    if importlib.util.find_spec(library) is None:
        raise ConfigError(f"{setting} needs {library.replace('_', '-')}: pip install {requirement}")


class Interrupted(FewShotError):  # noqa: N818 - as KeyboardInterrupt is none
    """A run that was stopped by a signal, its state saved."""


class StopSignal:
    """The name of the signal that came, or None so far."""

    name: str | None = None

    def _take(self, number: int, _: FrameType | None) -> None:
        if self.name is not None and number == signal.SIGINT:
            raise KeyboardInterrupt  # the second Ctrl-C: now
        self.name = signal.Signals(number).name


@contextmanager
def stop_on_signals() -> Iterator[StopSignal]:
    """Takes SIGINT and SIGTERM while the block runs; a second SIGINT interrupts at once.

    In a thread other than the main one Python lets nobody take signals: nothing is taken then.
    """
    stop = StopSignal()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    old = {number: signal.signal(number, stop._take) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)

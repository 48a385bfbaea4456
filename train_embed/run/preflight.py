"""What can be known to fail before any image is read."""

from __future__ import annotations

import importlib.util

from fewshot_seg.errors import ConfigError, DataError
from train_embed.config.run_config import RunConfig


def check_ready(config: RunConfig) -> None:
    """Check `config` against this machine: the images' place, device, arithmetic, backbone, optional libraries.

    Raises:
        ConfigError, DataError, CheckpointError: what isn't here.
    """
    from fewshot_seg.network.backbones import canonical_name
    from fewshot_seg.network.checkpoints import read_header
    from fewshot_seg.network.devices import check_precision, resolve_device

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

"""Embedders in files: safetensors with a JSON header, strict on load; nothing is ever unpickled.

The header, under the metadata key "fewshot_seg", is a JSON object: "format" (this layout's version),
"version" (of the project that wrote it), "embedder" (an `EmbedderSpec`: backbone, head, preprocessing) and
"training" (the training's configuration, or null).
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fewshot_seg.errors import CheckpointError, ConfigError, OutputError
from fewshot_seg.files import parse_json, regular
from fewshot_seg.imaging.export import temporary_path
from fewshot_seg.network.devices import resolve_device
from fewshot_seg.network.embedder import Embedder, build_embedder
from fewshot_seg.network.heads import PooledHead
from fewshot_seg.network.pcb import PCBHead
from fewshot_seg.network.spec import EmbedderSpec
from fewshot_seg.network.weights import first_line, load_strict, read_tensors, read_torch_state

HEADER_KEY = "fewshot_seg"
FORMAT = 1
SUFFIX = ".safetensors"
PICKLE_SUFFIXES = (".pth", ".pt", ".bin", ".ckpt", ".pkl", ".tar")

T = TypeVar("T")


@dataclass(frozen=True)
class CheckpointHeader:
    """What a checkpoint says of itself: how to build the embedder, how it was trained, which version wrote it."""

    spec: EmbedderSpec
    training: Mapping[str, Any] | None
    version: str


def save_checkpoint(
    embedder: Embedder, path: str | os.PathLike[str], training: Mapping[str, Any] | None = None
) -> None:
    """Writes the embedder's weights (types as they are) and header to `path`, whole or not at all.

    Args:
        embedder: its head must be a `PooledHead` or `PCBHead`: other heads can't be described in the header.
        path: ends in .safetensors; missing folders are made, an older file is replaced.
        training: JSON values that tell how it was trained.

    Raises:
        ConfigError: a head of another class. ConfigError, OutputError: as `write_tensors`.
    """
    if type(embedder.head) not in (PooledHead, PCBHead):
        kind = type(embedder.head).__name__
        raise ConfigError(f"cannot save a {kind}: a checkpoint can describe a PooledHead or PCBHead only")
    header = {"embedder": embedder.spec.to_dict(), "training": None if training is None else dict(training)}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in embedder.state_dict().items()}
    write_tensors(path, tensors, HEADER_KEY, header, "checkpoint")


def write_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, Tensor], key: str, header: Mapping[str, Any], what: str
) -> None:
    """Writes tensors and, under `key`, format, version and `header` to a file of `what`, whole or not at all.

    Raises:
        ConfigError: another suffix than .safetensors, or values that are no JSON.
        OutputError: the file can't be written.
    """
    path = Path(path)
    if path.suffix != SUFFIX:
        raise ConfigError(f"a {what}'s name must end in {SUFFIX}, got {path}")
    try:
        text = json.dumps({"format": FORMAT, "version": _project_version(), **header}, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"the training configuration holds values that are no JSON: {error}") from error
    temporary = temporary_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(dict(tensors), temporary, {key: text})
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, SafetensorError) as error:
        raise OutputError(f"cannot write {path}: {first_line(error)}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _project_version() -> str:
    try:
        return importlib.metadata.version("fewshot-seg")
    except importlib.metadata.PackageNotFoundError:  # run from a source tree
        return "unknown"


def read_header(path: str | os.PathLike[str]) -> CheckpointHeader:
    """The header of a checkpoint; no weights are read.

    Raises:
        CheckpointError: missing, damaged, no safetensors file, no header in it, or one of a newer format.
    """
    path = Path(path)
    _check_kind(path)
    return parsed_header(path, HEADER_KEY, "has no fewshot-seg header: it was not written by this project", _parse)


def parsed_header(path: Path, key: str, foreign: str, parse: Callable[[Mapping[str, Any]], T]) -> T:
    """What `parse` makes of a header that `write_tensors` wrote; `foreign` says what is wrong with a file without one.

    Raises:
        CheckpointError: damaged, no safetensors file, no header in it, or one of a newer format.
    """
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(key)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} is damaged or no safetensors file: {first_line(error)}") from error
    if text is None:
        raise CheckpointError(f"{path} {foreign}")
    try:
        header = parse_json(text)
        format_, version = header["format"], header.get("version")
        if not isinstance(format_, int) or format_ < 1:
            raise TypeError("impossible format")
        if format_ > FORMAT:
            raise CheckpointError(
                f"{path} has format {format_}, written by fewshot-seg {version}; this one reads up to format "
                f"{FORMAT}: upgrade fewshot-seg"
            )
        return parse(header)
    except (ValueError, KeyError, TypeError, AttributeError, ConfigError) as error:
        raise CheckpointError(f"{path} has a damaged header ({first_line(error)}): get the file again") from error


def _check_kind(path: Path) -> None:
    """Says what is wrong with files of another kind in words that help."""
    try:
        with regular(path).open("rb") as file:
            start = file.read(9)
    except FileNotFoundError as error:
        raise CheckpointError(f"no such checkpoint: {path}") from error
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}") from error
    # A header's length comes first, and its lowest byte is 0x80 once in 32 times; the header itself begins with "{".
    foreign = start.startswith((b"PK\x03\x04", b"\x80")) and start[8:] != b"{"
    if path.suffix in PICKLE_SUFFIXES or foreign:
        raise CheckpointError(
            f"{path} is a PyTorch file, which may carry code, and was not opened: "
            "convert weights that you trust with `train-embed import-weights`"
        )


def _parse(header: Mapping[str, Any]) -> CheckpointHeader:
    if not isinstance(training := header["training"], dict | None):
        raise TypeError("impossible training")
    return CheckpointHeader(EmbedderSpec.from_dict(header["embedder"]), training, str(header["version"]))


def load_checkpoint(path: str | os.PathLike[str], device: str | torch.device = "auto") -> Embedder:
    """The embedder in a checkpoint, in eval mode and frozen, its weights in float32.

    Raises:
        CheckpointError: see `read_header`; also a tensor missing, unexpected, mis-shaped or not finite.
        ConfigError: no such device.
    """
    path = Path(path)
    target = resolve_device(device)
    spec = read_header(path).spec
    try:
        embedder = build_embedder(spec, weights=False)
    except ConfigError as error:
        raise CheckpointError(f"{path} cannot be built here: {error}") from error
    load_strict(embedder, read_tensors(path), str(path))
    return embedder.requires_grad_(False).to(target)


def load_legacy_state_dict(
    path: str | os.PathLike[str], name_map: Mapping[str, str | None] | None = None
) -> dict[str, Tensor]:
    """A PyTorch state dict (.pth) under this project's names; only tensors are read, code in it is never run.

    A wrapping {"state_dict": ...} or {"model": ...} is opened; names lose what DataParallel and torch.compile add.

    Args:
        path: of the file.
        name_map: old prefix -> new prefix, the longest that fits a name is used once; None drops the tensor.
            {"backbone.": "trunk.", "fc.": None} for instance. Names that fit no prefix stay.

    Returns:
        Tensors on the CPU, to be loaded with `load_strict` or `load_state_dict`.

    Raises:
        CheckpointError: missing, damaged, more than tensors in it, or two tensors end under one name.
    """
    path = Path(path)
    renamed: dict[str, Tensor] = {}
    for name, tensor in read_torch_state(path, ("state_dict", "model")).items():
        new = _renamed(name, name_map or {})
        if new in renamed:
            raise CheckpointError(f"{path}: two tensors end under the name {new!r}; correct the name map")
        if new is not None:
            renamed[new] = tensor
    return renamed


def _renamed(name: str, name_map: Mapping[str, str | None]) -> str | None:
    old = max((prefix for prefix in name_map if name.startswith(prefix)), key=len, default=None)
    if old is None:
        return name
    new = name_map[old]
    return None if new is None else new + name[len(old) :]

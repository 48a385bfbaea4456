"""A run's state in one file: all that is needed to go on as if it had never stopped. Nothing is unpickled.

`state.safetensors` holds tensors (weights, optimiser's moments, moving average) and, under the metadata key
"train_embed", JSON (where in the run it was taken, the best score so far, running sums). It is written under
another name and moved over the older one: a full disk or a kill in between keeps the older one.

Randomness has no state: batches, augmentations, tuples and dropout are functions of (seed, epoch, step).
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field, TypeAdapter
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from fewshot_seg.errors import CheckpointError, OutputError
from fewshot_seg.files import parse_json
from fewshot_seg.imaging.export import temporary_path
from fewshot_seg.network.weights import first_line

KEY = "train_embed"
FORMAT = 1
UNREADABLE = (OSError, SafetensorError, KeyError, ValueError, TypeError, AttributeError)
"""What reading a state that is none, or is damaged, raises."""


Count = Annotated[int, Field(ge=0)]


@dataclass
class Position:
    """Where a run is. Plain values.

    Attributes:
        epoch: epochs done.
        batch: batches done of the next one; as many as it has: it still wants its validation.
        step: steps of the optimiser done.
        records: lines of metrics.jsonl that belong to all this.
        best: the best R@1 so far; -1 before the first.
        best_epoch: where it was reached.
        stale: validations since without a better one.
        finished: whether nothing is left to do.
        sums: since the last record, for the means in the next.
        rates: of the last step, by group.
        scaler: state of the gradient scaler (fp16).
    """

    epoch: Count = 0
    batch: Count = 0
    step: Count = 0
    records: Count = 0
    best: float = -1.0
    best_epoch: Count = 0
    stale: Count = 0
    finished: bool = False
    sums: dict[str, float] = field(default_factory=dict)
    rates: dict[str, float] = field(default_factory=dict)
    scaler: dict[str, Any] = field(default_factory=dict)


def save_state(path: Path, position: Position, tensors: Mapping[str, Tensor]) -> None:
    """Writes the state of a run; see `write_tensors`."""
    write_tensors(path, KEY, {"format": FORMAT, "position": asdict(position)}, tensors)


def load_state(path: Path) -> tuple[Position, dict[str, Tensor]]:
    """What `save_state` wrote; tensors on the CPU. CheckpointError: missing, damaged, or of another format."""
    try:
        header, tensors = read_tensors(path, KEY)
        if header["format"] != FORMAT:
            raise CheckpointError(f"{path} has format {header['format']}, this version reads {FORMAT}")
        known = {f.name for f in fields(Position)}
        values = {name: value for name, value in header["position"].items() if name in known}
        return TypeAdapter(Position).validate_python(values), tensors
    except UNREADABLE as error:
        raise CheckpointError(f"{path} is damaged or no state of a run: {first_line(error)}") from error


def write_tensors(
    path: Path, key: str, header: Mapping[str, Any], tensors: Mapping[str, Tensor], again: str = "go on with --resume"
) -> None:
    """Writes tensors, on any device, and JSON values under `key` of the metadata: whole or not at all.

    `again` says in an error what to do once there is room.

    Raises:
        OutputError: it can't be written; an older file is as it was.
    """
    # Copies: safetensors refuses tensors that share memory.
    copies = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    temporary = temporary_path(path)
    try:
        save_file(copies, temporary, {key: json.dumps(header)})
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, SafetensorError) as error:
        raise OutputError(
            f"cannot write {path}: {first_line(error)}; the older state is kept, make room and {again}"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def read_tensors(path: Path, key: str) -> tuple[Any, dict[str, Tensor]]:
    """The JSON values and the tensors, on the CPU, that `write_tensors` wrote; one of `UNREADABLE` where it can't."""
    with safe_open(path, framework="pt") as file:
        header = parse_json((file.metadata() or {})[key])
        return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's moments by "NUMBER OF THE PARAMETER/NAME"; rates are functions of the step."""
    state = optimizer.state_dict()["state"]
    return {
        f"{number}/{name}": value
        for number, entry in state.items()
        for name, value in entry.items()
        if isinstance(value, Tensor)
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Gives the optimiser the moments that `optimizer_tensors` took; CheckpointError if they are of others."""
    params = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, _, name = key.partition("/")
        index = int(number)
        if index >= len(params) or (value.ndim and value.shape != params[index].shape):
            raise CheckpointError("the state's moments are of another optimiser: this run's folder is damaged")
        state[index] = {**state.get(index, {}), name: value}
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose name begins with `prefix`, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def restore_module(module: nn.Module, tensors: Mapping[str, Tensor], prefix: str) -> None:
    """Loads the tensors under `prefix` strictly; CheckpointError if they don't fit."""
    try:
        module.load_state_dict(part(tensors, prefix))
    except RuntimeError as error:
        raise CheckpointError(f"the state doesn't fit this run's network: {first_line(error)}") from error

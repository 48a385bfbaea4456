"""Which device and which arithmetic to run on."""

from __future__ import annotations

from typing import Literal, cast, get_args

import torch

from fewshot_seg.errors import ConfigError

Precision = Literal["fp32", "bf16", "fp16"]

_UNKNOWN = "unknown device {!r}: choose auto, cpu, cuda, cuda:N or mps"
_AUTOCAST_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_device(name: str | torch.device = "auto") -> torch.device:
    """The torch device that `name` means on this machine; "cuda" stays without an index (torch's current one).

    Args:
        name: "auto" (CUDA if there is one, then Apple's MPS, then the CPU), "cpu", "cuda", "cuda:1" or "mps".

    Raises:
        ConfigError: the name is not a device, or this machine has no such device.
    """
    if str(name) == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise ConfigError(_UNKNOWN.format(str(name))) from error
    if device.type not in ("cpu", "cuda", "mps"):
        raise ConfigError(_UNKNOWN.format(str(name)))
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"no device {str(device)!r}: torch sees no CUDA GPU here; choose auto or cpu")
    if device.type == "cuda" and (device.index or 0) >= (count := torch.cuda.device_count()):
        raise ConfigError(f"no device {str(device)!r}: torch sees {count} CUDA device(s), numbered from 0")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("no device 'mps' here: choose auto or cpu")
    return torch.device("cpu") if device.type == "cpu" else device


def check_precision(precision: str, device: torch.device) -> Precision:
    """`precision` if it can be used on `device`.

    Raises:
        ConfigError: unknown, or fp16 on the CPU: its range overflows in some networks, and it is slower than fp32.
    """
    if precision not in get_args(Precision):
        raise ConfigError(f"unknown precision {precision!r}: choose fp32, bf16 or fp16")
    if precision == "fp16" and device.type == "cpu":
        raise ConfigError("precision 'fp16' needs a GPU: on the CPU choose fp32 or bf16")
    return cast(Precision, precision)


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """A context that runs convolutions in `precision` on `device`; for fp32 one that turns autocast off."""
    dtype = _AUTOCAST_DTYPES.get(precision)
    return torch.autocast(device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None)

from __future__ import annotations

import pytest
import torch

from fewshot_seg.errors import ConfigError
from fewshot_seg.network.devices import autocast, check_precision, resolve_device

CPU = torch.device("cpu")


def test_auto_takes_the_best_there_is() -> None:
    best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert resolve_device("auto").type == resolve_device().type == best


def test_devices_pass_through() -> None:
    assert resolve_device("cpu") == resolve_device(CPU) == CPU


@pytest.mark.parametrize("name", ["gpu", "", "cuda:x", "xpu", "meta", "cpu,cuda", None])
def test_unknown_devices(name: str | None) -> None:
    with pytest.raises(ConfigError, match=r"unknown device .*: choose auto, cpu, cuda, cuda:N or mps"):
        resolve_device(name)  # type: ignore[arg-type]


def test_absent_devices() -> None:
    with pytest.raises(ConfigError, match="no device 'cuda:99': torch sees"):
        resolve_device("cuda:99")
    if not torch.backends.mps.is_available():
        with pytest.raises(ConfigError, match="no device 'mps' here"):
            resolve_device("mps")


def test_precisions() -> None:
    assert check_precision("bf16", CPU) == "bf16"
    assert check_precision("fp16", torch.device("cuda")) == "fp16"
    with pytest.raises(ConfigError, match="needs a GPU: on the CPU choose fp32 or bf16"):
        check_precision("fp16", CPU)
    with pytest.raises(ConfigError, match="unknown precision 'half': choose fp32, bf16 or fp16"):
        check_precision("half", CPU)


def test_fp32_turns_an_outer_autocast_off() -> None:
    layer, x = torch.nn.Linear(2, 2), torch.ones(1, 2)
    with autocast("bf16", CPU):
        assert layer(x).dtype == torch.bfloat16
        with autocast("fp32", CPU):
            assert layer(x).dtype == torch.float32

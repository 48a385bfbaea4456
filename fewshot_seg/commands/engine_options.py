"""The options that every command shares: where results go, which network, where and how it runs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["Device", "Out", "Precise", "Precision", "Seed", "Threads", "Weights"]


class Precision(StrEnum):
    """Number format of the network's arithmetic."""

    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"


OUT = typer.Option("--out", "-o", metavar="DIR", help="Folder for the results; created if need be.")
WEIGHTS = typer.Option("--weights", "-w", help="A name from 'fewshot-seg models', or a checkpoint file.")
DEVICE = typer.Option("--device", "-d", help="auto, cpu, cuda, cuda:N or mps.")
PRECISION = typer.Option("--precision", help="Number format of the network.")
SEED = typer.Option("--seed", min=0, help="Same seed, same results.")
THREADS = typer.Option("--threads", min=1, max=1024, help="CPU threads; default: all cores.", show_default=False)

Out = Annotated[Path, OUT]
Weights = Annotated[str, WEIGHTS]
Device = Annotated[str, DEVICE]
Precise = Annotated[Precision, PRECISION]
Seed = Annotated[int, SEED]
Threads = Annotated[int | None, THREADS]

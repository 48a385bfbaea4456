"""What every test may lean on: where the real images are, and randomness that repeats."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

# Set before anything imports albumentations, which otherwise asks the network for a newer version.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent
THREADS = 2  # a small machine's cores; more of them gain nothing on images this small


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """Shells start background jobs with Ctrl-C ignored, and children inherit that; here it must mean something."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _threads() -> None:
    torch.set_num_threads(min(THREADS, os.cpu_count() or 1))


@pytest.fixture(autouse=True)
def _seed() -> None:
    """Unseeded draws repeat too, whatever order the tests run in."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - for libraries that draw from the old global generator
    torch.manual_seed(0)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images: FEWSHOT_SEG_DATA, or ../shared/data beside the repository."""
    folder = Path(os.environ.get("FEWSHOT_SEG_DATA") or ROOT.parent / "shared" / "data")
    if folder.is_dir():
        return folder
    reason = f"no real images in {folder}: set FEWSHOT_SEG_DATA to the folder that holds them"
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)  # CI without its data must not look green
    pytest.skip(reason)

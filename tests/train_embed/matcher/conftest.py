from __future__ import annotations

from pathlib import Path

import pytest

from tests.train_embed.matcher.tiny import make_all


@pytest.fixture(scope="session")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data sets and weights; nothing changes them."""
    return make_all(tmp_path_factory.mktemp("matcher"))

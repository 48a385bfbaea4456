"""The application in this process, with the default network, over a project of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from fewshot_seg.network.embedding import Embedder, load_embedder
from fewshot_seg.segmentation.options import SegmenterOptions
from fewshot_seg.web.app import make_app
from fewshot_seg.web.engine import Engine
from fewshot_seg.web.guard import Guard
from fewshot_seg.web.jobs import Jobs
from fewshot_seg.web.project import Project
from fewshot_seg.web.workbench import Workbench

MOST = 8 * 2**20


@pytest.fixture(scope="session")
def embedder() -> Embedder:
    return load_embedder("default")


@pytest.fixture
def client(embedder: Embedder, photos: Path, tmp_path: Path) -> Iterator[TestClient]:
    with open_client(embedder, tmp_path / "project", photos) as client:
        yield client


def open_client(embedder: Embedder, folder: Path, photos: Path) -> TestClient:
    options = SegmenterOptions(threads=2)
    bench = Workbench(Project(folder), embedder, options, [photos])
    app = make_app(Engine(embedder, options, {}), bench, Jobs(), "default")
    return TestClient(Guard(app, hosts=["localhost"], token=None, most_bytes=MOST), base_url="http://localhost")

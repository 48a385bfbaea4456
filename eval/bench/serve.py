"""Requests to `fewshot-seg serve` beside the segmenter that answers them; four clients at once; its memory."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Final

from eval.bench.findings import FASTER, SLOWER, Finding, Target, find
from eval.bench.machine import in_child, peak_mib
from eval.bench.setting import Setting, image_files
from eval.bench.timing import side_by_side
from fewshot_seg.errors import ConfigError
from fewshot_seg.network.embedding import load_embedder
from fewshot_seg.segmentation.options import SegmenterOptions

if TYPE_CHECKING:
    import httpx

    from fewshot_seg.web.engine import Engine as ServerEngine

LIBRARY, ONE, FOUR = "Segmenter.segment, one query at a time", "one client, a query a request", "four clients at once"
HTTP: Final = Target(SLOWER, 1.25)
CLIENTS: Final = Target(FASTER, 1.0)
_CLIENTS: Final = 4
_FEW, _MANY = 50, 500  # requests whose memory is compared


def compare_serve(setting: Setting, folder: Path) -> list[Finding]:
    """The first image is the support, registered once; the others are sent one by one.

    Raises:
        ConfigError: the packages of the server or of its client are missing. DataError: no images.
    """
    support, *queries = image_files(setting, min(setting.queries, _FEW) + 1, folder)
    with serving(setting.weights, setting.device, folder / "project") as (client, engine):
        name = _register(client, support)
        segmenter, prepared = engine.registered(name)

        def library() -> None:
            for query in queries:
                segmenter.segment(query, prepared)

        def one() -> None:
            for query in queries:
                _ask(client, name, query)

        def four() -> None:
            with ThreadPoolExecutor(_CLIENTS) as pool:
                list(pool.map(lambda query: _ask(client, name, query), queries))

        variants = {LIBRARY: library, ONE: one, FOUR: four}
        alone, asked, together = side_by_side(variants, len(queries), setting.few_rounds, setting.track)
    few, many = in_child(serve_memory, setting.weights, setting.device, [support, *queries], folder / "memory")
    items = f"{len(queries)} queries"
    peaks = {"peak_mib": {str(_FEW): few, str(_MANY): many}}
    note = f"peak memory {few:.0f} MiB after {_FEW} requests, {many:.0f} MiB after {_MANY}"
    return [
        find(ONE, LIBRARY, items, (alone, asked), HTTP),
        find(FOUR, ONE, items, (asked, together), CLIENTS, **peaks, note=note),
    ]


def serve_memory(weights: str, device: str, files: list[Path], folder: Path) -> tuple[float, float]:
    """The process's peak in MiB after few and after many requests of four clients; the first file is the support."""
    support, *queries = files
    with serving(weights, device, folder) as (client, _), ThreadPoolExecutor(_CLIENTS) as pool:
        name, peaks = _register(client, support), []
        for first, last in ((0, _FEW), (_FEW, _MANY)):
            list(pool.map(lambda n: _ask(client, name, queries[n % len(queries)]), range(first, last)))
            peaks.append(peak_mib())
    return peaks[0], peaks[1]


@contextmanager
def serving(weights: str, device: str, project: Path) -> Iterator[tuple[httpx.Client, ServerEngine]]:
    """A server in a thread of this process on a free port, a client of it, and its engine."""
    try:
        import httpx
        import uvicorn

        from fewshot_seg.web.app import make_app
        from fewshot_seg.web.engine import Engine
        from fewshot_seg.web.guard import Guard
        from fewshot_seg.web.jobs import Jobs
        from fewshot_seg.web.project import Project
        from fewshot_seg.web.workbench import Workbench
    except ImportError as error:
        raise ConfigError(f"a package is missing ({error}): pip install 'fewshot-seg[bench,web]'") from error
    options = SegmenterOptions()
    engine = Engine(load_embedder(weights, device), options, {})
    inner = make_app(engine, Workbench(Project(project), engine.embedder, options), Jobs(), weights)
    app = Guard(inner, hosts=["127.0.0.1"], token=None, most_bytes=2**30)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none"))
        thread = Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}", timeout=600) as client:
                yield client, engine
        finally:
            server.should_exit = True
            thread.join()


def _register(client: httpx.Client, support: Path) -> str:
    answer = client.post("/api/supports", files=[("support", (support.name, support.read_bytes()))])
    return str(answer.raise_for_status().json()["id"])


def _ask(client: httpx.Client, supports: str, query: Path) -> None:
    files = [("query", (query.name, query.read_bytes()))]
    client.post("/api/segment", files=files, data={"supports": supports}).raise_for_status()

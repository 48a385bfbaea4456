"""`fewshot-seg serve`: the server's start, its address, and its end."""

from __future__ import annotations

import ipaddress
import socket
import webbrowser
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, Any, Final

import typer

from fewshot_seg.commands.engine import Engine as EngineOptions
from fewshot_seg.commands.way import Way
from fewshot_seg.errors import ConfigError, DataError
from fewshot_seg.imaging.export import make_folder
from fewshot_seg.locks import sole_user

if TYPE_CHECKING:
    from fewshot_seg.web.jobs import Jobs

_GRACE: Final = 8  # seconds for what runs when the server is told to stop


@dataclass(frozen=True)
class ServeRequest:
    """What `fewshot-seg serve` was asked to do."""

    host: str = "127.0.0.1"
    port: int = 8000
    project: Path = Path("fewshot-seg-project")
    folders: list[Path] = field(default_factory=list)
    indexes: list[str] = field(default_factory=list)
    token: str | None = None
    most_mib: int = 512
    browser: bool = True
    engine: EngineOptions = field(default_factory=EngineOptions)
    way: Way = field(default_factory=Way)


def run_serve(request: ServeRequest) -> None:
    """Serve until SIGTERM or Ctrl-C; what runs then is finished, for at most 8 seconds.

    Raises:
        ConfigError: the extra isn't installed, an address that others can reach without a token, a port in use, or a
            project's folder that is in use or holds other files. DataError: no such folder or index.
    """
    try:
        import fastapi_swagger  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"the page's packages are missing ({error}): pip install 'fewshot-seg[web]'") from error
    if not _is_loopback(request.host) and not request.token:
        raise ConfigError(f"--host {request.host} can be reached by others: choose a --token that they must know")
    if request.token is not None and (len(request.token) < 8 or not request.token.isalnum()):
        raise ConfigError("--token: must be at least 8 letters and digits")
    folders = [_folder(path) for path in request.folders]
    indexes = dict(_named_index(text) for text in request.indexes)
    folder = make_folder(request.project)
    with _bound(request.host, request.port) as listening, sole_user(folder), suppress(KeyboardInterrupt):
        _serve(request, folder, folders, indexes, listening)


def _serve(
    request: ServeRequest, folder: Path, folders: list[Path], indexes: dict[str, Path], listening: socket.socket
) -> None:
    from fewshot_seg.web.app import make_app
    from fewshot_seg.web.engine import Engine
    from fewshot_seg.web.guard import Guard
    from fewshot_seg.web.jobs import Jobs
    from fewshot_seg.web.project import Project
    from fewshot_seg.web.workbench import Workbench

    project = Project(folder)
    try:
        segmenter = request.engine.segmenter(request.way)
        built = {path.name: path for path in sorted((folder / "indexes").iterdir()) if (path / "index.db").is_file()}
        engine = Engine(segmenter.embedder, segmenter.options, {**built, **indexes})
        bench = Workbench(project, segmenter.embedder, segmenter.options, folders)
        jobs = Jobs()
        app = make_app(engine, bench, jobs, request.engine.weights)
        hosts = () if request.token else ("127.0.0.1", "localhost", "::1", request.host)
        guard = Guard(app, hosts=hosts, token=request.token, most_bytes=request.most_mib * 2**20)
        address = _address(request, listening)
        typer.echo(f"Open {address}  (Ctrl-C ends; the project is in {folder})")
        if request.browser:
            Timer(0.5, webbrowser.open, [address]).start()
        _run(guard, listening, jobs)
    finally:
        project.close()


def _run(app: Any, listening: socket.socket, jobs: Jobs) -> None:
    import uvicorn

    class Server(uvicorn.Server):
        def handle_exit(self, sig: int, frame: Any) -> None:
            jobs.refuse_new()
            super().handle_exit(sig, frame)

    config = uvicorn.Config(
        app, log_level="warning", timeout_graceful_shutdown=_GRACE, ws="none", server_header=False, proxy_headers=False
    )
    Server(config).run(sockets=[listening])


def _bound(host: str, port: int) -> socket.socket:
    """A socket that listens there, or the reason why not."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{host} port {port}: cannot listen ({reason}); choose another --port") from error


def _address(request: ServeRequest, listening: socket.socket) -> str:
    host = f"[{request.host}]" if ":" in request.host else request.host
    address = f"http://{host}:{listening.getsockname()[1]}/"
    return address if request.token is None else f"{address}?token={request.token}"


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise DataError(f"{path}: no such folder; --folder names one with images")
    return path.resolve()


def _named_index(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    if not equals or not name or "/" in name:
        raise ConfigError(f"--index {text!r}: must be NAME=DIR")
    return name, Path(path)

"""The ASGI application: routes, the page's files, the interface's description, and errors as one line."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import fastapi_swagger
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from fewshot_seg import __version__
from fewshot_seg.errors import FewShotError
from fewshot_seg.web.engine import Engine
from fewshot_seg.web.jobs import Jobs
from fewshot_seg.web.project_routes import project_routes
from fewshot_seg.web.refusals import BAD_OPTIONS, status_of
from fewshot_seg.web.routes import engine_routes
from fewshot_seg.web.search_routes import search_routes
from fewshot_seg.web.workbench import Workbench

STATIC: Final = Path(str(files("fewshot_seg.web"))) / "static"
_DOCS: Final = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>fewshot-seg interface</title>
<link rel="icon" href="/static/icon.svg">
<link rel="stylesheet" href="/api/docs/swagger-ui.css"></head><body><div id="swagger-ui"></div>
<script src="/api/docs/swagger-ui-bundle.js"></script><script src="/api/docs/start.js"></script></body></html>"""
_START: Final = 'SwaggerUIBundle({url: "/api/openapi.json", dom_id: "#swagger-ui"});'
_DOCS_POLICY: Final = {
    "content-security-policy": "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'"
}


def make_app(engine: Engine, bench: Workbench, jobs: Jobs, weights: str) -> FastAPI:
    """The application; `guard.Guard` stands before it."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        jobs.refuse_new()

    app = FastAPI(
        title="fewshot-seg",
        version=__version__,
        summary="Cut the object of an example image out of other images, search, and show why.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        lifespan=lifespan,
    )
    app.include_router(engine_routes(engine, jobs, weights))
    app.include_router(search_routes(engine, jobs, bench.folders, bench.project.folder / "indexes"))
    app.include_router(project_routes(bench, jobs))
    _add_errors(app)
    _add_docs(app)

    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(STATIC / "index.html", headers={"cache-control": "no-cache"})

    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    return app


def _add_docs(app: FastAPI) -> None:
    assets = Path(str(files(fastapi_swagger))) / "resources"

    @app.get("/api/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        return HTMLResponse(_DOCS, headers=_DOCS_POLICY)

    @app.get("/api/docs/start.js", include_in_schema=False)
    def start() -> Response:
        return Response(_START, media_type="text/javascript")

    app.mount("/api/docs", StaticFiles(directory=assets), name="docs")


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(FewShotError)
    def ours(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, FewShotError)
        return _error(status_of(error), str(error))

    @app.exception_handler(HTTPException)
    def theirs(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return _error(error.status_code, str(error.detail), error.headers)

    @app.exception_handler(RequestValidationError)
    def invalid(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:]) or "the body"
        return _error(BAD_OPTIONS, f"{where[:200]}: {first['msg']}")


def _error(status: int, message: str, headers: Any = None) -> JSONResponse:
    line = " ".join(message.split()).encode("utf-8", "backslashreplace").decode()
    return JSONResponse({"error": line}, status, headers)

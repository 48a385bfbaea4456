"""The interface for search and explanation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from fewshot_seg.commands.hints import parse_box
from fewshot_seg.web.bodies import NewIndex
from fewshot_seg.web.engine import Engine
from fewshot_seg.web.forms import FILES, TEXTS, form_schema, renamed
from fewshot_seg.web.jobs import Jobs
from fewshot_seg.web.pictures import picture
from fewshot_seg.web.refusals import BAD, RefusalError
from fewshot_seg.web.replies import all_steps, streamed
from fewshot_seg.web.uploads import received

_SEARCH: Final = {
    "index": {"type": "string"},
    "query": {"type": "string", "format": "binary"},
    "k": {"type": "integer", "default": 20},
    "box": {"type": "string", "description": "x,y,w,h: what of the query is meant, in pixels."},
}
_EXPLAIN: Final = {
    "image": {**FILES, "description": "A pair; or an anchor, its positive, and one or two negatives."},
    "hit": {**TEXTS, "description": "INDEX/ROW: an image of an index, after those."},
}


def search_routes(engine: Engine, jobs: Jobs, folders: list[Path], indexes: Path) -> APIRouter:
    """The routes.

    Args:
        engine: that does the work.
        jobs: that takes turns.
        folders: of which an index may be built.
        indexes: the folder for indexes that are built here.
    """
    api = APIRouter(prefix="/api", tags=["search"])

    @api.get("/indexes")
    def list_indexes() -> dict[str, Any]:
        """The indexes that can be searched."""
        return {"indexes": engine.indexes()}

    @api.post("/indexes")
    async def build(body: NewIndex) -> Response:
        """Build an index of a folder; progress a line."""
        if not 0 <= body.folder < len(folders):
            raise RefusalError(BAD, f"the server was started without a folder number {body.folder}")
        return await streamed(jobs, engine.build(body.name, folders[body.folder], indexes / body.name))

    @api.post("/search", openapi_extra=form_schema(_SEARCH))
    async def search(request: Request) -> dict[str, Any]:
        """The images of an index that are most like the query."""
        async with received(request) as form:
            form.only("index", "query", "k", "box")
            (query,) = form.needed("query", 1)
            (index,), (k,) = form.fields.get("index", [""])[:1], form.fields.get("k", ["20"])[:1]
            (box,) = form.fields.get("box", [""])[:1]
            if not k.isdecimal() or len(k) > 4:
                raise RefusalError(BAD, f"k {k[:20]!r}: must be a whole number")
            part = parse_box("box", box, box) if box else None

            def work() -> Iterator[list[dict[str, Any]]]:
                yield engine.search(index, query.path, int(k), part)

            return {"hits": (await all_steps(request, jobs, renamed(work(), form)))[0]}

    @api.get("/indexes/{name}/images/{row}", response_class=Response)
    async def index_image(name: str, row: int, side: int | None = None) -> Response:
        """An image of an index, as JPEG; `side`: its longer side at most."""
        return await run_in_threadpool(lambda: picture(engine.image_of(name, row), side))

    @api.post("/explain", openapi_extra=form_schema(_EXPLAIN))
    async def explain(request: Request) -> dict[str, Any]:
        """Why 2 to 4 images are alike: their cosines, and a heat map of each."""
        async with received(request) as form:
            form.only("image", "hit")
            images: list[tuple[str, str | Path]] = [(one.name, one.path) for one in form.files.get("image", [])]
            index = None
            for hit in form.fields.get("hit", []):
                index, _, row = hit.rpartition("/")
                if not row.isdecimal() or len(row) > 12:
                    raise RefusalError(BAD, f"hit {hit[:50]!r}: must be INDEX/ROW")
                images.append((hit, engine.image_of(index, int(row))))

            def work() -> Iterator[dict[str, Any]]:
                yield engine.explain(images, index)

            explained: list[dict[str, Any]] = await all_steps(request, jobs, renamed(work(), form))
            return explained[0]

    return api

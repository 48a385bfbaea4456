"""The interface for programs: health, segment, supports, search, explain."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any, Final

from fastapi import APIRouter, Request

from fewshot_seg import __version__
from fewshot_seg.formats.writing import FORMATS
from fewshot_seg.prompts.supports import DEFAULT_NAME, Support
from fewshot_seg.segmentation.options import SegmenterOptions
from fewshot_seg.segmentation.prepared import Prepared
from fewshot_seg.segmentation.segmenter import Segmenter
from fewshot_seg.web.bodies import Health, Segmented
from fewshot_seg.web.engine import Engine, parsed_options
from fewshot_seg.web.forms import FILES, TEXTS, form_schema, renamed, status_of_image
from fewshot_seg.web.jobs import Jobs
from fewshot_seg.web.refusals import BAD, BAD_OPTIONS, RefusalError
from fewshot_seg.web.replies import NDJSON, all_steps, streamed
from fewshot_seg.web.uploads import Form, received

Ready = Callable[[], tuple[Segmenter, Prepared]]


def engine_routes(engine: Engine, jobs: Jobs, weights: str) -> APIRouter:
    """The routes.

    Args:
        engine: that does the work.
        jobs: that takes turns.
        weights: their name.
    """
    api = APIRouter(prefix="/api")

    @api.get("/health", tags=["engine"])
    def health() -> Health:
        """Whether the server runs, its version, and the network's name."""
        return Health(version=__version__, weights=weights)

    @api.get("/formats", tags=["project"])
    def formats() -> dict[str, Any]:
        """What masks can be exported as."""
        return {"formats": [{"name": name, "title": export.title} for name, export in FORMATS.items()]}

    @api.post("/segment", tags=["engine"], response_model=Segmented, openapi_extra=form_schema(_SEGMENT))
    async def segment(request: Request) -> Any:
        """Cut the supports' objects out of the queries. `Accept: application/x-ndjson` streams an image a line."""
        async with AsyncExitStack() as stack:
            form = await stack.enter_async_context(received(request))
            form.only("query", "support", "support_mask", "class", "options", "supports")
            queries = [(one.name, one.path) for one in form.needed("query")]
            work = engine.segment(queries, _ready(engine, form))
            if NDJSON in request.headers.get("accept", ""):
                later = stack.pop_all()
                return await streamed(jobs, renamed(work, form), later.aclose)
            (head, *images) = await all_steps(request, jobs, renamed(work, form))
        if images and all(one["error"] is not None for one in images):
            raise RefusalError(status_of_image(images[0]["error"]), images[0]["error"])
        return {**head, "images": images}

    @api.post("/supports", tags=["engine"], openapi_extra=form_schema(_SUPPORTS))
    async def register(request: Request) -> dict[str, str]:
        """Encode supports once: {"id"}, to be sent to `segment` as the field `supports`."""
        async with received(request) as form:
            form.only("support", "support_mask", "class", "options")

            def work() -> Iterator[str]:
                yield engine.register(_supports(form), _options(engine, form))

            return {"id": (await all_steps(request, jobs, renamed(work(), form)))[0]}

    @api.delete("/supports/{name}", tags=["engine"])
    def forget(name: str) -> dict[str, bool]:
        """Forget registered supports."""
        engine.forget(name)
        return {"removed": True}

    return api


def _ready(engine: Engine, form: Form) -> Ready:
    """The supports of a request: registered ones, or its own."""
    (name,) = form.fields.get("supports", [""])[:1]
    if name:
        if "support" in form.files or "options" in form.fields:
            raise RefusalError(BAD_OPTIONS, "registered supports have their own options: send `supports` alone")
        found = engine.registered(name)
        return lambda: found
    supports, options = _supports(form), _options(engine, form)

    def prepare() -> tuple[Segmenter, Prepared]:
        segmenter = engine.segmenter(options)
        return segmenter, segmenter.prepare(supports)

    return prepare


def _options(engine: Engine, form: Form) -> SegmenterOptions:
    (text,) = form.fields.get("options", ["{}"])[:1]
    try:
        return parsed_options(json.loads(text), engine.options)
    except (ValueError, RecursionError) as error:
        raise RefusalError(BAD_OPTIONS, f"options are no JSON: {error}") from error


def _supports(form: Form) -> dict[str, list[Support]]:
    """The supports of a request by class, with their masks."""
    files = form.needed("support")
    classes = form.fields.get("class", [DEFAULT_NAME] * len(files))
    if len(classes) != len(files):
        raise RefusalError(
            BAD, f"{len(files)} supports but {len(classes)} of `class`: send one for each, in order, or none"
        )
    masks = {one.name: one.path for one in form.files.get("support_mask", [])}
    if unknown := sorted(masks.keys() - {one.name for one in files}):
        raise RefusalError(BAD, f"support_mask {unknown[0]!r}: no support has this name; name it as its support")
    supports: dict[str, list[Support]] = {}
    for name, file in zip(classes, files, strict=True):
        supports.setdefault(name, []).append(Support(file.path, mask=masks.get(file.name)))
    return supports


_SUPPORTS: Final = {
    "support": {**FILES, "description": "Example images."},
    "class": {**TEXTS, "description": "Their classes, as many, in the same order; without: 'object'."},
    "support_mask": {**FILES, "description": "Masks, each named as the support that it belongs to."},
    "options": {"type": "string", "description": "JSON of SegmenterOptions; what is left out is as the server has it."},
}
_SEGMENT: Final = {
    "query": {**FILES, "description": "Images to look in."},
    **_SUPPORTS,
    "supports": {"type": "string", "description": "Instead of examples: the id of registered ones."},
}

"""The interface for the page: a project's images, examples, runs, corrections and decisions."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from starlette.background import BackgroundTask, BackgroundTasks
from starlette.concurrency import run_in_threadpool

from fewshot_seg.errors import FewShotError
from fewshot_seg.web.bodies import Accepted, ChangedExample, ClassName, Edits, NewExample, RunBody, Sliders, given
from fewshot_seg.web.exporting import write_zip
from fewshot_seg.web.jobs import Jobs
from fewshot_seg.web.pictures import encoded, grey_png, picture
from fewshot_seg.web.replies import streamed
from fewshot_seg.web.uploads import received
from fewshot_seg.web.workbench import Workbench

_KEPT = {"cache-control": "private, max-age=3600"}  # its address has a version in it


def project_routes(bench: Workbench, jobs: Jobs) -> APIRouter:
    """The routes."""
    api = APIRouter(prefix="/api/project", tags=["project"])
    _add_images(api, bench)
    _add_masks(api, bench)
    _add_examples(api, bench)
    project = bench.project

    @api.get("")
    def state() -> dict[str, Any]:
        """The whole project."""
        return bench.state()

    @api.put("/settings")
    def settings(body: Sliders) -> dict[str, Any]:
        """Change thresholds, or what is looked for."""
        bench.set(**{name: getattr(body, name) for name in body.model_fields_set})
        return bench.state()

    @api.post("/classes")
    def add_class(body: ClassName) -> dict[str, Any]:
        """Add a class."""
        project.add_class(body.name)
        return bench.state()

    @api.patch("/classes/{place}")
    def rename_class(place: int, body: ClassName) -> dict[str, Any]:
        """Give a class another name."""
        project.rename_class(place, body.name)
        return bench.state()

    @api.delete("/classes/{place}")
    def remove_class(place: int) -> dict[str, Any]:
        """Forget a class and its examples."""
        project.remove_class(place)
        return bench.state()

    @api.post("/run", response_class=Response)
    async def run(body: RunBody) -> Response:
        """Look for all classes; an image a line, as it is done. Closing the connection ends it."""
        return await streamed(jobs, bench.run(body.images))

    @api.get("/export", response_class=Response)
    async def export(request: Request, accepted: bool = True) -> Response:
        """All masks (`accepted=0`) or the accepted ones for another tool (`format=NAME`): a zip."""
        folder = TemporaryDirectory(prefix="fewshot-seg-", ignore_cleanup_errors=True)
        to = request.query_params.get("format", "coco")
        try:
            packed = await run_in_threadpool(write_zip, bench, to, accepted, Path(folder.name))
        except BaseException:
            folder.cleanup()
            raise
        headers = {"content-disposition": f'attachment; filename="{to}.zip"'}
        ended = BackgroundTasks([BackgroundTask(packed.close), BackgroundTask(folder.cleanup)])
        return StreamingResponse(packed, media_type="application/zip", headers=headers, background=ended)

    return api


def _add_images(api: APIRouter, bench: Workbench) -> None:
    project = bench.project

    @api.post("/images")
    async def add_images(request: Request, query: bool = True) -> dict[str, Any]:
        """Upload images: multipart, files `file`."""
        async with received(request) as form:
            form.only("file")
            answers = []
            for one in form.needed("file"):
                try:
                    answers.append(await run_in_threadpool(bench.add_upload, one.name, one.path, query=query))
                except FewShotError as error:
                    answers.append({"name": one.name, "error": form.named(str(error))})
            return {"images": answers}

    @api.post("/folders/{place}")
    def open_folder(place: int) -> dict[str, Any]:
        """Add all images of a folder that the server was started with."""
        return {"images": bench.open_folder(place)}

    @api.delete("/images/{number}")
    def remove_image(number: int) -> dict[str, Any]:
        """Forget an image."""
        project.remove_image(number)
        return bench.state()

    @api.get("/images/{number}/image", response_class=Response)
    def image(number: int, side: int | None = None) -> Response:
        """An image as JPEG, upright; `side`: its longer side at most."""
        return picture(project.path(project.image(number)), side)


def _add_masks(api: APIRouter, bench: Workbench) -> None:
    @api.get("/images/{number}/labels.png", response_class=Response)
    def labels(number: int) -> Response:
        """An image's label map: 8-bit grey PNG, 0 background, k the k-th class."""
        map_ = bench.labels(number).astype("uint8")
        return Response(encoded(map_, "PNG"), media_type="image/png", headers=_KEPT)

    @api.get("/images/{number}/heat.png", response_class=Response)
    def heat(request: Request, number: int) -> Response:
        """Where a class (`class=NAME`) was seen: small 8-bit grey PNG, 255 for 1."""
        map_ = bench.attention(number, request.query_params.get("class", ""))
        return Response(grey_png(map_), media_type="image/png", headers=_KEPT)

    @api.get("/images/{number}/result")
    def result(number: int) -> dict[str, Any]:
        """What was found in an image: areas, boxes, counts."""
        return bench.result(number)

    @api.put("/images/{number}/edits")
    def edit(number: int, body: Edits) -> dict[str, Any]:
        """Set all corrections of an image; undo is the list without its last."""
        return bench.edit(number, body.given())

    @api.post("/images/{number}/accept")
    def accept(number: int, body: Accepted) -> dict[str, Any]:
        """Accept an image's masks as they are now, or no longer."""
        return bench.accept(number, body.accepted)

    @api.post("/images/{number}/example")
    def make_examples(number: int) -> dict[str, Any]:
        """Make further examples of an image's accepted masks."""
        return {"examples": bench.make_examples(number)}


def _add_examples(api: APIRouter, bench: Workbench) -> None:
    @api.post("/examples")
    def add_example(body: NewExample) -> dict[str, Any]:
        """Add an example."""
        return bench.set_example(None, body.image, body.class_name, given(body.hint))

    @api.put("/examples/{number}")
    def change_example(number: int, body: ChangedExample) -> dict[str, Any]:
        """Change an example's class or mark."""
        return bench.set_example(number, None, body.class_name, given(body.hint))

    @api.delete("/examples/{number}")
    def remove_example(number: int) -> dict[str, Any]:
        """Forget an example."""
        bench.project.remove_example(number)
        return bench.state()

"""Files that a job wrote for a caller on another machine to fetch."""

from pathlib import Path

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, Response

from metier.domain.errors import NoSuchThing, Refusal
from metier.domain.job import JobState
from metier.operations.paths import ROOT
from metier.operations.registry import Controller
from metier.web.errors import responses
from metier.web.uploads import Uploads


def files_of(controller: Controller, uploads: Uploads, number: int) -> list[Path]:
    """Return what a job wrote to be fetched.

    Raises:
        NoSuchThing: There is no such job, it wrote nothing for this, or that is gone.
        Refusal: It is not done.
    """
    job = controller.view().fleet.jobs.get(number)
    target = Path(str(job.arguments.get("target", ""))) if job is not None else Path()
    if job is None or not uploads.is_to_be_fetched(target):
        raise NoSuchThing(f"job {number} has nothing to fetch", remedy="see `metier job list`")
    if job.state is not JobState.DONE:
        raise Refusal(f"cannot fetch what job {number} writes: it is {job.state}")
    found = job.result.get("files")
    paths = [Path(str(name)) for name in found] if isinstance(found, list | tuple) else []
    # The record is ours; still nothing but what lies beside the target is ever given away.
    paths = [path for path in paths if path.parent == target.parent and path.is_file()]
    if not paths:
        raise NoSuchThing(f"what job {number} wrote is gone: it is kept for a day", remedy="export it again")
    return paths


def add_download_routes(app: FastAPI, controller: Controller, uploads: Uploads) -> None:
    """Give `app` the routes that files are fetched from."""

    @app.get(
        f"{ROOT}/downloads/{{job}}",
        tags=["upload"],
        operation_id="download",
        summary="Fetch a file that a job wrote, whole or from a `Range` on.",
        response_class=FileResponse,
        responses=responses(400, 401, 404, 422),
    )
    async def download(job: int, number: int = 1) -> Response:
        paths = await run_in_threadpool(files_of, controller, uploads, job)
        if not 1 <= number <= len(paths):
            raise NoSuchThing(f"job {job} wrote {len(paths)} files, and no number {number}")
        path = paths[number - 1]
        return FileResponse(path, media_type="application/octet-stream", filename=path.name)

    @app.delete(
        f"{ROOT}/downloads/{{job}}",
        tags=["upload"],
        operation_id="drop_download",
        summary="Drop what a job wrote to be fetched.",
        status_code=204,
        response_model=None,
        responses=responses(401, 404),
    )
    async def drop(job: int) -> Response:
        paths = await run_in_threadpool(files_of, controller, uploads, job)
        await run_in_threadpool(uploads.discard, paths[0])
        return Response(status_code=204)

"""The API: one route for each operation, and the few that are not operations."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse, Response

from metier import __version__
from metier.domain.errors import Bug
from metier.operations.paths import ROOT, Location, location
from metier.operations.registry import OPERATIONS, Controller, Form, Operation
from metier.web import errors
from metier.web.changes import Changes
from metier.web.description import SECURITY, SUMMARY, describe, tags
from metier.web.downloads import add_download_routes
from metier.web.endpoints import Desk, Endpoint
from metier.web.events import EventsEndpoint
from metier.web.faults import Faults, add_fault_routes
from metier.web.gate import Gate
from metier.web.identity import Authenticate, TokenFile
from metier.web.metrics import CONTENT_TYPE, Figures, SiteMetrics
from metier.web.reading import Reader
from metier.web.tokens import add_token_routes
from metier.web.tus import add_tus_routes
from metier.web.uploads import Uploads, add_upload_route

_FASTAPI_ERROR = "HTTPValidationError"

OperationTable = Mapping[tuple[str, str], Operation]


def utc_now() -> datetime:
    """Return the present moment in UTC."""
    return datetime.now(UTC)


def no_figures() -> Mapping[str, float]:
    """Return nothing: the controller measured nothing."""
    return {}


@dataclass(frozen=True, slots=True)
class Parts:
    """What the API can do without, and does better with.

    Attributes:
        operations: What there is to be done; the registry must be loaded before.
        uploads: The folder for files that callers send ahead; None refuses them.
        tokens: Lets local callers make tokens; None hides them.
        faults: What can befall a simulated site; None for a real one.
        clock: The time that changes are made at: that of the controller.
        figures: What `/metrics` shows besides the snapshot.
        is_ready: What `/readyz` answers, such as whether the loop has finished a round.
    """

    operations: OperationTable
    uploads: Path | None = None
    tokens: TokenFile | None = None
    faults: Faults | None = None
    clock: Callable[[], datetime] = utc_now
    figures: Figures = no_figures
    is_ready: Callable[[], bool] = lambda: True


def build_app(controller: Controller, authenticate: Authenticate, parts: Parts | None = None) -> FastAPI:
    """Build the API of a running controller.

    Callers over the unix socket of `web.server` are admin; `authenticate` names the others.
    The app's `state.changes` must be stopped before the server ends.
    """
    parts = parts or Parts(OPERATIONS)
    app = FastAPI(
        title="Metier",
        version=__version__,
        summary=SUMMARY,
        openapi_url=f"{ROOT}/openapi.json",
        # The pages that FastAPI offers load their scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        openapi_tags=tags(parts.operations.values()),
        redirect_slashes=False,
    )
    uploads = None if parts.uploads is None else Uploads(parts.uploads)
    desk = Desk(controller, Reader(controller), Changes(controller), parts.clock, uploads)
    app.state.changes = desk.changes
    errors.install(app)
    app.add_middleware(Gate, authenticate=authenticate)
    _add_probes(app, controller, parts)
    if parts.tokens is not None:
        add_token_routes(app, parts.tokens, utc_now)
    if uploads is not None:
        _add_transfers(app, controller, uploads)
    add_fault_routes(app, parts.faults)
    for operation, where in _in_matching_order(parts.operations):
        _add_route(app, desk, operation, where)
    _describe_security(app)
    return app


def _add_transfers(app: FastAPI, controller: Controller, uploads: Uploads) -> None:
    def tidy() -> None:
        # Ages of files are told by the machine's clock.
        uploads.discard_old(utc_now(), controller.view().fleet.jobs.values())

    add_upload_route(app, uploads, tidy)
    add_tus_routes(app, uploads, tidy)
    add_download_routes(app, controller, uploads)


def _add_route(app: FastAPI, desk: Desk, operation: Operation, where: Location) -> None:
    endpoint = EventsEndpoint if operation.key == "event list" else Endpoint
    # Names of nodes have slashes in them; `%2F` arrives here as one.
    path = ROOT + where.path.replace("{name}", "{name:path}")
    about: dict[str, Any] = {"name": operation.key, "response_model": None}
    app.add_api_route(
        path, endpoint(desk, operation, where), methods=[where.method], **about, **describe(operation)
    )
    if where.method == "GET" and operation.form is Form.VERB:
        # Verbs are posted, also those that only read; the document shows them once.
        posted = Endpoint(desk, operation, where._replace(method="POST", has_body=True))
        app.add_api_route(path, posted, methods=["POST"], include_in_schema=False, **about)


def _in_matching_order(operations: OperationTable) -> list[tuple[Operation, Location]]:
    """Return the operations so that a path which another one's name would swallow comes first."""
    placed: dict[tuple[str, str], tuple[Operation, Location]] = {}
    for operation in operations.values():
        where = location(operation)
        taken = placed.setdefault((where.method, where.path), (operation, where))[0]
        if taken is not operation:
            raise Bug(f"{operation.key} and {taken.key} are both {where.method} {where.path}")
    return sorted(placed.values(), key=lambda item: item[1].path.endswith("{name}"))


def _add_probes(app: FastAPI, controller: Controller, parts: Parts) -> None:
    metrics = SiteMetrics(controller, parts.figures)

    @app.get("/healthz", tags=["probes"], summary="Whether the controller answers at all.")
    async def healthz() -> Response:
        return PlainTextResponse("ok\n")

    @app.get("/readyz", tags=["probes"], summary="Whether the controller has a finished round to show.")
    async def readyz() -> Response:
        ready = await run_in_threadpool(parts.is_ready)
        return PlainTextResponse("ready\n" if ready else "not ready\n", 200 if ready else 503)

    @app.get("/metrics", tags=["probes"], summary="The site in figures, in Prometheus' text form.")
    async def site_metrics(_: Request) -> Response:
        return Response(await run_in_threadpool(metrics.text), media_type=CONTENT_TYPE)


def _describe_security(app: FastAPI) -> None:
    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title,
                version=app.version,
                summary=app.summary,
                routes=app.routes,
                tags=app.openapi_tags,
            )
            components = document.setdefault("components", {})
            components["securitySchemes"] = dict(SECURITY)
            components.setdefault("schemas", {}).update(errors.error_schemas())
            document["security"] = [{"bearer": []}]
            _drop_what_is_never_answered(document)
            app.openapi_schema = document
        return app.openapi_schema

    # FastAPI's own way to extend the document is to put another function in its place.
    setattr(app, "openapi", openapi)  # noqa: B010 - mypy refuses to assign to a method


def _drop_what_is_never_answered(document: dict[str, Any]) -> None:
    """Remove FastAPI's own form of validation errors: ours are 400, in the one form."""
    for path in document["paths"].values():
        for method in path.values():
            unused = [
                status for status, answer in method["responses"].items() if _FASTAPI_ERROR in str(answer)
            ]
            for status in unused:
                del method["responses"][status]
    for name in (_FASTAPI_ERROR, "ValidationError"):
        document["components"]["schemas"].pop(name, None)

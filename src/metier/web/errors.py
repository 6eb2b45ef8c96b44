"""Errors as the API answers them: one JSON form, whatever went wrong."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from metier.domain.errors import MetierError, NeedsAcceptance, chain

_CODES = {404: "no-such-route", 405: "wrong-method", 413: "too-large"}
_REFERENCE = "#/components/schemas/{model}"
_WHERE = frozenset({"body", "header", "path", "query"})


class Unauthorized(MetierError):
    """Nobody we know is asking."""

    code = "unauthorized"
    http_status = 401


class Forbidden(MetierError):
    """Whoever is asking may not do this."""

    code = "forbidden"
    http_status = 403


class ErrorDetail(BaseModel):
    """What went wrong and what to do now."""

    code: str = Field(description="A stable word for programs.", examples=["no-such-thing"])
    message: str = Field(description="What was tried, on what, why not.", examples=["there is no tier web"])
    remedy: str = Field(
        description="What to do now; may be empty.", examples=["see `metier tier list`"], default=""
    )
    warnings: list[str] | None = Field(
        default=None, description="With 409: one sentence for each consequence that must be accepted."
    )


class ErrorBody(BaseModel):
    """The body of every answer that is an error."""

    error: ErrorDetail


DESCRIPTIONS = {
    400: "The request itself makes no sense.",
    401: "A token is missing or not known.",
    403: "The caller may not do this.",
    404: "There is no such thing.",
    409: "It has consequences that must be accepted first: repeat with `accept_warnings=true`.",
    412: "It was changed by somebody else since it was read.",
    422: "It was refused in the present state; nothing changed.",
    507: "A file system lacks the room for it.",
}


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI descriptions of the given error statuses."""
    schema = {"$ref": _REFERENCE.format(model=ErrorBody.__name__)}
    return {
        status: {"description": DESCRIPTIONS[status], "content": {"application/json": {"schema": schema}}}
        for status in statuses
    }


def error_schemas() -> dict[str, Any]:
    """Return the schemas that `responses` refers to.

    A `model` for each response would say the same, and make FastAPI build a checker
    for each of them that no answer ever passes.
    """
    schema = ErrorBody.model_json_schema(ref_template=_REFERENCE)
    return {**schema.pop("$defs"), ErrorBody.__name__: schema}


def error_response(error: MetierError, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return the answer for an error that an operator can meet."""
    detail: dict[str, Any] = {"code": error.code, "message": chain(error), "remedy": error.remedy}
    if isinstance(error, NeedsAcceptance):
        detail["warnings"] = list(error.warnings)
    return _answer(error.http_status, detail, headers)


def install(app: FastAPI) -> None:
    """Make `app` answer every error in the one form."""

    @app.exception_handler(MetierError)
    async def _(_: Request, error: MetierError) -> Response:
        return error_response(error)

    @app.exception_handler(RequestValidationError)
    async def _(_: Request, error: RequestValidationError) -> Response:
        detail = {"code": "wrong-usage", "message": validation_message(error.errors()), "remedy": ""}
        return _answer(400, detail)

    @app.exception_handler(HTTPException)
    async def _(request: Request, error: HTTPException) -> Response:
        message = str(error.detail)
        if error.status_code in (404, 405):
            message = f"there is no {request.method} {request.url.path}"
        code = _CODES.get(error.status_code, "wrong-usage")
        detail = {"code": code, "message": message, "remedy": "see /api/v1/openapi.json"}
        return _answer(error.status_code, detail, error.headers)

    @app.exception_handler(Exception)
    async def _(_: Request, __: Exception) -> Response:
        # The server logs it with its trace; a caller learns nothing about our insides.
        message = "the controller failed at this request through a fault of its own"
        return _answer(
            500, {"code": "internal", "message": message, "remedy": "look at the controller's log"}
        )


def validation_message(errors: Sequence[Any]) -> str:
    """Return one line for everything that was wrong with a request."""
    return "the request makes no sense: " + "; ".join(_sentence(error) for error in errors)


def _sentence(error: Mapping[str, Any]) -> str:
    where = ".".join(str(part) for part in error["loc"] if part not in _WHERE)
    if error["type"] == "json_invalid":
        return "its body is not JSON"
    if error["type"] == "extra_forbidden":
        return f"there is no field {where!r}"
    if error["type"] == "missing":
        return f"{where} is missing" if where else "its body is missing"
    text = str(error["msg"])
    said = text[:1].lower() + text[1:]
    return f"{where}: {said}" if where else said


def _answer(status: int, detail: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": dict(detail)}, status_code=status, headers=headers)

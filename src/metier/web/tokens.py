"""`/api/v1/tokens`: made, listed and forgotten by local callers alone."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from metier.operations.paths import ROOT
from metier.operations.registry import Row
from metier.web.errors import Forbidden, responses
from metier.web.identity import TokenFile

_COLLECTION = f"{ROOT}/tokens"
_ABOUT: dict[str, Any] = {"tags": ["token"], "responses": responses(400, 401, 403, 404, 422)}


class TokenRequest(BaseModel):
    """A token to be made."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(description="Who will use it.", examples=["ci"])


def add_token_routes(app: FastAPI, tokens: TokenFile, clock: Callable[[], datetime]) -> None:
    """Give `app` the routes for tokens."""

    @app.get(_COLLECTION, operation_id="token_list", summary="List the tokens, without themselves.", **_ABOUT)
    def list_tokens(request: Request) -> list[Row]:
        _refuse_from_afar(request)
        return tokens.rows()

    @app.post(
        _COLLECTION,
        operation_id="token_create",
        summary="Make a token for callers from other machines; it is shown this once.",
        status_code=201,
        **_ABOUT,
    )
    def create_token(request: Request, body: TokenRequest) -> Row:
        _refuse_from_afar(request)
        token = tokens.create(body.name, now=clock())
        return {"message": f"token {body.name} created", "object": {"name": body.name, "token": token}}

    @app.delete(f"{_COLLECTION}/{{name}}", operation_id="token_delete", summary="Forget a token.", **_ABOUT)
    def delete_token(request: Request, name: str) -> Row:
        _refuse_from_afar(request)
        tokens.delete(name)
        return {"message": f"token {name} deleted", "object": None}


def _refuse_from_afar(request: Request) -> None:
    if not request.state.identity.local:
        raise Forbidden(
            "tokens can only be made and seen on the controller's own machine",
            remedy="run `metier token …` there",
        )

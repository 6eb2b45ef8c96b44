"""`/api/v1/befall`: what can befall a simulated site, for whoever tries things on one."""

from collections.abc import Sequence
from typing import Any, Protocol

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field

from metier.domain.errors import Refusal
from metier.operations.paths import ROOT
from metier.operations.registry import Row
from metier.web.errors import responses

_PATH = f"{ROOT}/befall"
_ABOUT: dict[str, Any] = {"tags": ["befall"], "responses": responses(400, 401, 404, 422)}


class Faults(Protocol):
    """A simulated site, as far as accidents go."""

    def faults(self) -> Sequence[Row]:
        """Return the sentences that `befall` understands: `sentence`, `help`, `heals`."""

    def befall(self, sentence: str) -> str:
        """Let what a sentence says happen now; returns what that means.  Raises MetierError."""


class Accident(BaseModel):
    """What is to happen."""

    model_config = ConfigDict(extra="forbid")

    sentence: str = Field(
        description="What is to happen, as the list has it.", examples=["host-3 dies"], max_length=1000
    )


def add_fault_routes(app: FastAPI, faults: Faults | None) -> None:
    """Give `app` the routes for accidents; they refuse where `faults` is None, for the site is real."""

    @app.get(_PATH, operation_id="befall_list", summary="List what can befall the simulated site.", **_ABOUT)
    def list_faults() -> list[Row]:
        return list(_of_simulated(faults).faults())

    @app.post(_PATH, operation_id="befall", summary="Let something befall the simulated site, now.", **_ABOUT)
    def befall(body: Accident) -> Row:
        return {"message": _of_simulated(faults).befall(body.sentence), "object": None}


def _of_simulated(faults: Faults | None) -> Faults:
    if faults is None:
        raise Refusal(
            "this controller runs a real site; nothing was done",
            code="real-site",
            remedy="try it on a simulated one: `metier serve --simulated`",
        )
    return faults

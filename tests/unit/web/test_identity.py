"""Who is asking."""

import getpass
import json
import stat
from pathlib import Path

import httpx
import pytest
from starlette.requests import Request

from metier.domain.errors import NoSuchThing, Refusal, WrongUsage
from metier.web.identity import TokenFile
from tests.builders import NOW
from tests.unit.web.fake_controller import FakeController


def request(authorization: str) -> Request:
    headers = [(b"authorization", authorization.encode("latin-1"))]
    return Request({"type": "http", "headers": headers})


def test_a_caller_over_the_socket_is_known_by_user_name(
    local: httpx.Client, controller: FakeController
) -> None:
    local.post("/api/v1/nodes/host-1/disengage")
    assert controller.callers[-1].name == getpass.getuser()


def test_a_caller_over_tcp_is_known_by_token(client: httpx.Client, controller: FakeController) -> None:
    client.post("/api/v1/nodes/host-1/disengage")
    assert controller.callers[-1].name == "ann"


def test_a_token_proves_its_name_and_is_kept_as_a_digest_alone(tmp_path: Path) -> None:
    tokens = TokenFile(tmp_path / "tokens.json")
    token = tokens.create("ci", now=NOW)
    assert tokens.authenticate(request(f"Bearer {token}")) == "ci"
    assert tokens.authenticate(request(f"bearer {token} ")) == "ci"
    for other in (f"Bearer {token}x", f"Bearer {token[:-1]}", "Bearer", "Bearer \xe9", f"Basic {token}", ""):
        assert tokens.authenticate(request(other)) is None
    kept = tmp_path / "tokens.json"
    assert token not in kept.read_text()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert tokens.rows() == [{"name": "ci", "created": "2026-03-01T12:00:00Z"}]


def test_a_deleted_token_proves_nothing(tmp_path: Path) -> None:
    tokens = TokenFile(tmp_path / "tokens.json")
    token = tokens.create("ci", now=NOW)
    tokens.delete("ci")
    assert tokens.authenticate(request(f"Bearer {token}")) is None
    with pytest.raises(NoSuchThing):
        tokens.delete("ci")


def test_token_names_are_plain_and_single(tmp_path: Path) -> None:
    tokens = TokenFile(tmp_path / "tokens.json")
    tokens.create("ci", now=NOW)
    with pytest.raises(Refusal):
        tokens.create("ci", now=NOW)
    with pytest.raises(WrongUsage):
        tokens.create("../ci", now=NOW)
    assert list(json.loads((tmp_path / "tokens.json").read_text())) == ["ci"]


def test_tokens_are_for_local_callers(local: httpx.Client, client: httpx.Client) -> None:
    made = local.post("/api/v1/tokens", json={"name": "ci"})
    assert made.status_code == 201
    assert made.json()["object"]["token"].startswith("metier_")
    assert [row["name"] for row in local.get("/api/v1/tokens").json()] == ["ci"]
    for answer in (
        client.get("/api/v1/tokens"),
        client.post("/api/v1/tokens", json={"name": "x"}),
        client.delete("/api/v1/tokens/ci"),
    ):
        assert answer.status_code == 403
    assert local.delete("/api/v1/tokens/ci").json()["message"] == "token ci deleted"

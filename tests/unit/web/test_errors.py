"""Every error has the one form, and nothing hostile gets further than the edge."""

import json
from typing import Any

import httpx
import pytest

from tests.unit.web.fake_controller import FakeController


def error_of(answer: httpx.Response) -> dict[str, Any]:
    """Return the error in an answer, which holds nothing else."""
    body = answer.json()
    assert set(body) == {"error"}
    error: dict[str, Any] = body["error"]
    assert {"code", "message", "remedy"} <= set(error)
    return error


def test_an_unknown_name_is_404_with_a_remedy(client: httpx.Client) -> None:
    answer = client.get("/api/v1/tiers/nothing")
    assert answer.status_code == 404
    assert error_of(answer) == {
        "code": "no-such-thing",
        "message": "there is no tier nothing",
        "remedy": "see `metier tier list`",
    }


def test_an_unknown_route_or_method_is_told_from_an_unknown_name(client: httpx.Client) -> None:
    assert error_of(client.get("/api/v1/machines"))["code"] == "no-such-route"
    answer = client.put("/api/v1/tiers/web")
    assert (answer.status_code, error_of(answer)["code"]) == (405, "wrong-method")


def test_a_refusal_is_422(client: httpx.Client) -> None:
    answer = client.post("/api/v1/tiers", json={"name": "web"})
    assert answer.status_code == 422
    assert error_of(answer)["code"] == "refused"


def test_no_space_is_507(local: httpx.Client) -> None:
    answer = local.post("/api/v1/images/import", json={"name": "x", "file": "/tmp/huge.tgz"})
    assert (answer.status_code, error_of(answer)["code"]) == (507, "no-space")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"name": "x", "colour": "red"}, "there is no field 'colour'"),
        ({"name": "x", "target": "3"}, "target: input should be a valid integer"),
        ({"name": "x", "target": 3.5}, "target: "),
        ({"name": "x", "target": True}, "target: "),
        ({"name": "x", "harvesting": "yes"}, "harvesting: input should be a valid boolean"),
        ({"name": "x", "collector": "ping"}, "collector: "),
        ({"name": "x", "collector": [1]}, "collector.0: "),
        ({"name": "x", "spread": "wide"}, "'wide' is none of spread, pack"),
        ({"name": None}, "name: "),
        ({}, "name is missing"),
        ([], "input should be a valid dictionary"),
    ],
)
def test_a_body_that_makes_no_sense_is_400(client: httpx.Client, body: Any, words: str) -> None:
    answer = client.post("/api/v1/tiers", json=body)
    assert answer.status_code == 400
    error = error_of(answer)
    assert error["code"] == "wrong-usage"
    assert words in error["message"]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"null", b'{"name": "x", "weight": NaN}'])
def test_a_body_that_is_no_json_is_400(client: httpx.Client, content: bytes) -> None:
    headers = {"content-type": "application/json"}
    answer = client.post("/api/v1/tiers", content=content, headers=headers)
    assert answer.status_code == 400
    error_of(answer)


def test_numbers_that_json_has_not_are_refused_in_documents_too(client: httpx.Client) -> None:
    headers = {"content-type": "application/json"}
    answer = client.post("/api/v1/apply", content=b'{"site": {"a": [NaN]}}', headers=headers)
    assert answer.status_code == 400


@pytest.mark.parametrize("text", ["\\ud800", "\\uDFFF", "a\\u0000b"])
def test_text_that_is_none_is_refused(client: httpx.Client, text: str) -> None:
    headers = {"content-type": "application/json"}
    content = b'{"why": "%s"}' % text.encode()
    answer = client.post("/api/v1/nodes/host-1/disengage", content=content, headers=headers)
    assert answer.status_code == 400


@pytest.mark.parametrize("text", ["\\ud83d\\ude00", "\\\\u0000", "\\\\ud800", "é"])
def test_odd_text_that_is_some_is_taken(client: httpx.Client, text: str) -> None:
    headers = {"content-type": "application/json"}
    content = b'{"why": "%s"}' % text.encode()
    answer = client.post("/api/v1/nodes/host-1/disengage", content=content, headers=headers)
    assert answer.status_code == 200


def test_deep_json_is_400(client: httpx.Client) -> None:
    content = b'{"name": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    headers = {"content-type": "application/json"}
    answer = client.post("/api/v1/tiers", content=content, headers=headers)
    assert answer.status_code == 400


@pytest.mark.parametrize(
    "query",
    [
        "kind=paper",
        "engaged=perhaps",
        "limit=0",
        "limit=10001",
        "limit=x",
        "colour=red",
        "cursor=%00",
        "cursor=W10",
    ],
)
def test_a_query_that_makes_no_sense_is_400(client: httpx.Client, query: str) -> None:
    answer = client.get(f"/api/v1/nodes?{query}")
    assert (answer.status_code, error_of(answer)["code"]) == (400, "wrong-usage")


def test_a_number_in_a_path_must_be_one(client: httpx.Client) -> None:
    assert client.get("/api/v1/jobs/seven").status_code == 400


def test_a_body_that_is_too_large_is_413(client: httpx.Client) -> None:
    content = json.dumps({"name": "x" * (33 << 20)}).encode()
    headers = {"content-type": "application/json"}
    answer = client.post("/api/v1/tiers", content=content, headers=headers)
    assert (answer.status_code, error_of(answer)["code"]) == (413, "too-large")


def test_a_fault_of_ours_is_500_and_tells_nothing(
    client: httpx.Client, controller: FakeController, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(**_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(controller, "journal", break_down)
    answer = client.get("/api/v1/events")
    assert (answer.status_code, error_of(answer)["code"]) == (500, "internal")
    assert "secret" not in answer.text


@pytest.mark.parametrize("token", ["", "Bearer bad", "Basic good", "Bearer"])
@pytest.mark.parametrize(
    "path", ["/api/v1/nodes", "/api/v1/openapi.json", "/metrics", "/api/v1/nothing", "/"]
)
def test_without_a_known_token_everything_but_the_probes_is_401(
    client: httpx.Client, token: str, path: str
) -> None:
    answer = client.get(path, headers={"authorization": token})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert error_of(answer)["code"] == "unauthorized"


@pytest.mark.parametrize(
    "name", ["..", "a%2F..%2F..", "%00", "%0a", "a b", "x" * 5000, "%F0%9F%92%A9", "host-1%252FVM3"]
)
def test_odd_names_are_answered_as_errors(client: httpx.Client, name: str) -> None:
    answer = client.get(f"/api/v1/tiers/{name}")
    assert answer.status_code in (400, 404)
    error_of(answer)

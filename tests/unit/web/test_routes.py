"""Every operation has its route, and every form of operation its way of answering."""

import json

import httpx
import pytest

from metier.operations.paths import location, plural
from tests.unit.web.fake_controller import FakeController
from tests.unit.web.fake_operations import FAKE_OPERATIONS

NODE = "/api/v1/nodes/host-1%2FVM3"


def test_paths_are_those_of_the_interface() -> None:
    found = {
        key: (where.method, where.path)
        for key, where in ((key, location(operation)) for key, operation in FAKE_OPERATIONS.items())
    }
    assert found["node", "list"] == ("GET", "/nodes")
    assert found["node", "show"] == ("GET", "/nodes/{name}")
    assert found["node", "explain"] == ("GET", "/nodes/{name}/explain")
    assert found["node", "disengage"] == ("POST", "/nodes/{name}/disengage")
    assert found["tier", "create"] == ("POST", "/tiers")
    assert found["tier", "edit"] == ("PATCH", "/tiers/{name}")
    assert found["tier", "delete"] == ("DELETE", "/tiers/{name}")
    assert found["image", "import"] == ("POST", "/images/import")
    assert found["", "status"] == ("GET", "/status")
    assert found["", "apply"] == ("POST", "/apply")
    assert plural("policy") == "policies"


def test_a_list_is_an_array_of_objects(client: httpx.Client) -> None:
    answer = client.get("/api/v1/nodes")
    assert answer.status_code == 200
    assert [row["name"] for row in answer.json()] == ["host-1", "host-1/VM1", "host-1/VM3"]
    assert "x-next-cursor" not in answer.headers


def test_filters_are_the_arguments_of_the_operation(client: httpx.Client) -> None:
    assert [row["name"] for row in client.get("/api/v1/nodes?kind=physical").json()] == ["host-1"]
    assert client.get("/api/v1/nodes?engaged=false").json() == []


def test_a_node_with_a_slash_in_its_name_is_shown_escaped_or_not(client: httpx.Client) -> None:
    assert client.get(NODE).json()["name"] == "host-1/VM3"
    assert client.get("/api/v1/nodes/host-1/VM3").json()["name"] == "host-1/VM3"
    assert client.get(f"{NODE}/explain?tier=web").json() == {
        "name": "host-1/VM3",
        "tier": "web",
        "why": ["because"],
    }


def test_a_reading_verb_can_be_posted_as_well(client: httpx.Client) -> None:
    assert client.post(f"{NODE}/explain", json={"tier": "web"}).json()["tier"] == "web"


def test_a_verb_changes_and_says_what_it_did(client: httpx.Client, controller: FakeController) -> None:
    answer = client.post(f"{NODE}/disengage", json={"why": "new disk"})
    assert answer.status_code == 200
    assert answer.json() == {
        "message": "node host-1/VM3 disengaged",
        "warnings": [],
        "job": None,
        "object": {"name": "host-1/VM3", "engaged": False, "by": "ann"},
    }
    assert client.get(NODE).json()["engaged"] is False
    assert controller.callers[-1].name == "ann"


def test_a_verb_without_required_arguments_needs_no_body(client: httpx.Client) -> None:
    assert client.post(f"{NODE}/disengage").status_code == 200
    assert client.post("/api/v1/tiers/web/activate").json()["object"]["state"] == "active"


def test_creating_answers_201_and_where_it_is(client: httpx.Client) -> None:
    body = {"name": "db", "target": 3, "collector": ["tcp:80"], "slot": [1, 2], "spread": "pack", "weight": 2}
    answer = client.post("/api/v1/tiers", json=body)
    assert answer.status_code == 201
    assert answer.headers["location"] == "/api/v1/tiers/db"
    made = answer.json()["object"]
    assert (made["target"], made["collectors"], made["slots"], made["weight"]) == (3, ["tcp:80"], [1, 2], 2)
    assert client.get("/api/v1/tiers/db").json()["target"] == 3


def test_deleting_removes(client: httpx.Client) -> None:
    assert client.delete("/api/v1/tiers/web").json()["message"] == "tier web deleted"
    assert client.get("/api/v1/tiers/web").status_code == 404


def test_an_edit_is_refused_when_somebody_else_was_faster(client: httpx.Client) -> None:
    etag = client.get("/api/v1/tiers/web").headers["etag"]
    first = client.patch("/api/v1/tiers/web", json={"target": 2}, headers={"if-match": etag})
    assert first.status_code == 200
    second = client.patch("/api/v1/tiers/web", json={"target": 3}, headers={"if-match": etag})
    assert second.status_code == 412
    assert second.json()["error"]["code"] == "changed-meanwhile"
    assert client.patch("/api/v1/tiers/web", json={"target": 4}, headers={"if-match": "*"}).status_code == 200
    for answer in (
        client.delete("/api/v1/tiers/web", headers={"if-match": "nonsense"}),
        client.post("/api/v1/tiers/web/activate", headers={"if-match": "nonsense"}),
    ):
        assert answer.status_code == 400
    nonsense = client.patch("/api/v1/tiers/web", json={}, headers={"if-match": "nonsense"})
    assert nonsense.status_code == 400


def test_a_plan_changes_nothing_and_says_what_would_follow(
    client: httpx.Client, controller: FakeController
) -> None:
    answer = client.post("/api/v1/nodes/host-1/shutdown?plan=true")
    assert answer.status_code == 200
    said = answer.json()
    assert said["message"] == "shutdown of node host-1 ordered"
    assert said["warnings"] == ["web/1 is lost", "web/2 too", "it may take a while"]
    free = {"action": "free-node", "subject": "host-1", "why": "it is idle", "rule": "R-RELEASE-2"}
    assert said["actions"] == [{**free, "after_s": 35.0}]
    why = "node host-1 still hosts active guests VM1"
    assert said["waiting"] == [{"subject": "hosts", "why": why, "rule": "R-SHRINK-2"}]
    assert said["seconds"] == 35.0
    assert [dip["tier"] for dip in said["dips"]] == ["web"]
    assert [one["to"] for one in said["displaced"]] == ["host-2/VM1"]
    assert [one["subject"] for one in said["measured"]] == ["web@3"]
    assert [one["subject"] for one in said["assumed"]] == ["host-9"]
    assert not controller.callers


def test_warnings_are_answered_and_can_be_accepted(client: httpx.Client) -> None:
    refused = client.post("/api/v1/nodes/host-1/shutdown")
    assert refused.status_code == 409
    error = refused.json()["error"]
    assert error["code"] == "needs-acceptance"
    assert error["warnings"] == ["web/1 is lost", "web/2 too"]
    accepted = client.post("/api/v1/nodes/host-1/shutdown?accept_warnings=true")
    assert accepted.status_code == 200
    assert accepted.json()["warnings"] == ["it may take a while"]


def test_a_job_answers_202(client: httpx.Client, local: httpx.Client) -> None:
    answer = local.post("/api/v1/images/import", json={"name": "w2k", "file": "/tmp/filename.tgz"})
    assert (answer.status_code, answer.json()["job"]) == (202, 1)
    assert client.get("/api/v1/jobs/1").json()["state"] == "running"


def test_operations_without_a_noun_have_a_path_of_their_own(client: httpx.Client) -> None:
    assert client.get("/api/v1/status").json()["nodes"] == 3
    site = {"site": {"tiers": ["a", "b"]}}
    assert client.post("/api/v1/apply", json=site).json()["message"] == "2 tiers"


def test_json_is_compact_and_keeps_letters(client: httpx.Client) -> None:
    answer = client.post(f"{NODE}/disengage", json={"why": "é"})
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(answer.content) == answer.json()


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_probes_need_no_token(client: httpx.Client, path: str) -> None:
    assert client.get(path, headers={"authorization": ""}).status_code == 200

"""The OpenAPI document and the metrics are complete."""

import json
from typing import Any

import httpx
import pytest

from tests.unit.web.fake_controller import FakeController


@pytest.fixture
def document(client: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/api/v1/openapi.json").json()
    return found


def test_every_operation_is_described(document: dict[str, Any]) -> None:
    post = document["paths"]["/api/v1/nodes/{name}/disengage"]["post"]
    assert post["operationId"] == "node_disengage"
    assert post["summary"] == "Keep automation's hands off a node."
    assert "metier node disengage host-1/VM3" in post["description"]
    assert post["tags"] == ["node"]
    assert set(post["responses"]) == {
        *("200", "202", "400", "401", "403", "404", "409", "412", "422", "507"),
    }
    assert "plan" in {part["name"] for part in post["parameters"]}


def test_bodies_are_typed(document: dict[str, Any]) -> None:
    post = document["paths"]["/api/v1/tiers"]["post"]
    reference = post["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    schema = document["components"]["schemas"][reference.rsplit("/", 1)[1]]
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["name"]
    properties = schema["properties"]
    assert properties["target"] == {
        "type": "integer",
        "title": "Target",
        "description": "how many nodes",
        "default": 1,
        "examples": ["3"],
    }
    assert properties["spread"]["enum"] == ["spread", "pack"]
    assert properties["collector"]["items"] == {"type": "string"}


def test_lists_have_filters_examples_and_a_cursor(document: dict[str, Any]) -> None:
    get = document["paths"]["/api/v1/nodes"]["get"]
    assert {part["name"] for part in get["parameters"]} == {"kind", "engaged", "attribute", "limit", "cursor"}
    answer = get["responses"]["200"]
    assert set(answer["headers"]) == {"ETag", "X-Next-Cursor", "Link"}
    media = answer["content"]["application/json"]
    assert media["schema"]["type"] == "array"
    assert media["example"][0]["name"] == "host-1/VM3"


def test_names_are_one_part_of_the_path(document: dict[str, Any]) -> None:
    assert "/api/v1/nodes/{name}" in document["paths"]
    (name,) = document["paths"]["/api/v1/nodes/{name}"]["get"]["parameters"]
    assert (name["in"], name["description"]) == ("path", "the node")


def test_operation_ids_are_unique_and_references_hold(document: dict[str, Any]) -> None:
    found = [method["operationId"] for path in document["paths"].values() for method in path.values()]
    assert len(found) == len(set(found))
    text = json.dumps(document)
    for part in text.split('"#/components/schemas/')[1:]:
        assert part.partition('"')[0] in document["components"]["schemas"]
    assert "HTTPValidationError" not in text
    assert document["security"] == [{"bearer": []}]


def test_metrics_show_the_site(client: httpx.Client, controller: FakeController) -> None:
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    lines = answer.text.splitlines()
    assert 'metier_tier_target{tier="web"} 1.0' in lines
    assert 'metier_tier_allocated{tier="hosts"} 1.0' in lines
    assert 'metier_tier_state{state="inactive",tier="web"} 1.0' in lines
    assert 'metier_nodes{status="idle"} 2.0' in lines
    assert 'metier_placements{placement="tier"} 1.0' in lines
    assert "metier_round_seconds 0.25" in lines
    controller.wait_on("web", "one", "two")
    assert "metier_waiting 2.0" in client.get("/metrics").text.splitlines()

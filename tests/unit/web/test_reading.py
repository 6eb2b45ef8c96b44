"""Pages, and waiting for the next answer."""

import threading
from pathlib import Path

import httpx
import pytest

from metier.domain.errors import WrongUsage
from metier.domain.fleet import Draft
from metier.domain.ids import NodeId
from metier.web.reading import Answer, expected_generation
from tests.builders import a_node, a_tier
from tests.unit.web.fake_controller import FakeController
from tests.unit.web.running import remote_client


def add_nodes(draft: Draft) -> None:
    for number in range(10):
        draft.put_node(a_node(f"node-{number}"))


def test_pages_follow_each_other_without_gap(client: httpx.Client, controller: FakeController) -> None:
    controller.edit(add_nodes)
    names, cursor, pages = [], "", 0
    while True:
        answer = client.get("/api/v1/nodes", params={"limit": 5, **({"cursor": cursor} if cursor else {})})
        names += [row["name"] for row in answer.json()]
        pages += 1
        cursor = answer.headers.get("x-next-cursor", "")
        if not cursor:
            assert "link" not in answer.headers
            break
        assert 'rel="next"' in answer.headers["link"]
    assert pages == 3
    assert names == [row["name"] for row in client.get("/api/v1/nodes").json()]


def test_the_link_leads_to_the_next_page(client: httpx.Client, controller: FakeController) -> None:
    controller.edit(add_nodes)
    first = client.get("/api/v1/nodes?limit=12&engaged=true")
    following = client.get(first.links["next"]["url"])
    assert [row["name"] for row in following.json()] == ["node-9"]


def test_a_page_begins_behind_the_last_row_even_if_others_went(
    client: httpx.Client, controller: FakeController
) -> None:
    controller.edit(add_nodes)
    first = client.get("/api/v1/nodes?limit=6")
    assert first.json()[-1]["name"] == "node-2"
    controller.edit(lambda draft: draft.remove_node(NodeId("node-0")))
    cursor = first.headers["x-next-cursor"]
    second = client.get("/api/v1/nodes", params={"cursor": cursor, "limit": 2})
    assert [row["name"] for row in second.json()] == ["node-3", "node-4"]


def test_a_page_begins_at_the_old_place_if_its_last_row_went(
    client: httpx.Client, controller: FakeController
) -> None:
    controller.edit(add_nodes)
    first = client.get("/api/v1/nodes?limit=6")
    controller.edit(lambda draft: draft.remove_node(NodeId("node-2")))
    second = client.get("/api/v1/nodes", params={"cursor": first.headers["x-next-cursor"], "limit": 1})
    assert second.json()[0]["name"] == "node-4"


def test_an_answer_that_is_known_is_304(client: httpx.Client) -> None:
    etag = client.get("/api/v1/nodes").headers["etag"]
    answer = client.get("/api/v1/nodes", headers={"if-none-match": etag})
    assert (answer.status_code, answer.content) == (304, b"")


def test_a_held_request_is_answered_when_something_changes(
    site: tuple[Path, str], client: httpx.Client, controller: FakeController
) -> None:
    etag = client.get("/api/v1/tiers").headers["etag"]
    answers: list[httpx.Response] = []

    def wait() -> None:
        with remote_client(site[1], "good") as other:
            headers = {"if-none-match": etag, "prefer": "wait=30"}
            answers.append(other.get("/api/v1/tiers", headers=headers))

    waiting = threading.Thread(target=wait)
    waiting.start()
    controller.announce()  # changes nothing in this list, so that it must go on waiting
    controller.edit(lambda draft: draft.put_tier(a_tier("db")))
    waiting.join(25)
    assert not waiting.is_alive()
    assert [row["name"] for row in answers[0].json()] == ["hosts", "web", "db"]


def test_a_held_request_ends_with_304_in_time(client: httpx.Client) -> None:
    etag = client.get("/api/v1/tiers").headers["etag"]
    answer = client.get("/api/v1/tiers", headers={"if-none-match": etag, "prefer": "wait=1"})
    assert answer.status_code == 304


def test_settled_tells_what_is_waited_for_and_is_held_too(
    client: httpx.Client, controller: FakeController
) -> None:
    controller.wait_on("web", "web/1 waits for host-1/VM1 to boot")
    path = "/api/v1/tiers/web/activate?settled=true"
    first = client.post(path)
    assert first.json() == {"waiting_for": ["web/1 waits for host-1/VM1 to boot"]}
    controller.wait_on("web")
    second = client.post(path, headers={"if-none-match": first.headers["etag"], "prefer": "wait=30"})
    assert second.json() == {"waiting_for": []}
    assert not controller.callers


def test_what_is_done_at_once_is_settled(client: httpx.Client) -> None:
    answer = client.post("/api/v1/nodes/host-1/disengage?settled=true")
    assert answer.json() == {"waiting_for": []}


def test_an_etag_holds_the_generation_and_changes_with_anything() -> None:
    first, second = Answer.of({"generation": 7, "power": "on"}), Answer.of({"generation": 7, "power": "off"})
    assert first.etag != second.etag
    assert expected_generation(first.etag) == expected_generation(second.etag) == 7
    assert expected_generation('"g7"') == 7
    assert expected_generation(None) is expected_generation("*") is None


@pytest.mark.parametrize("text", ["7", '"7"', 'W/"g7"', '"g7", "g8"', '"g-7"', '"g' + "9" * 30 + '"'])
def test_other_etags_name_no_generation(text: str) -> None:
    with pytest.raises(WrongUsage):
        expected_generation(text)

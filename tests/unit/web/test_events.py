"""The journal as a stream."""

import json
from collections.abc import Iterator
from typing import Any

import httpx

from tests.unit.web.fake_controller import FakeController

FOLLOW = "/api/v1/events?follow=true"


def events(lines: Iterator[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the events of a stream with their ids."""
    number = 0
    for line in lines:
        key, _, value = line.partition(": ")
        if key == "id":
            number = int(value)
        elif key == "data":
            yield number, json.loads(value)


def test_the_stream_begins_with_the_newest_and_goes_on(
    client: httpx.Client, controller: FakeController
) -> None:
    for message in ("one", "two", "three"):
        controller.record(message)
    with client.stream("GET", f"{FOLLOW}&limit=2") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        found = events(answer.iter_lines())
        assert [next(found)[1]["message"] for _ in range(2)] == ["two", "three"]
        controller.record("four")
        controller.announce()
        assert next(found) == (4, {"id": 4, "subject": "web", "message": "four", "kind": "operation"})


def test_a_stream_resumes_behind_the_last_event(client: httpx.Client, controller: FakeController) -> None:
    for message in ("one", "two", "three"):
        controller.record(message)
    with client.stream("GET", FOLLOW, headers={"last-event-id": "1"}) as answer:
        found = events(answer.iter_lines())
        assert [next(found)[0] for _ in range(2)] == [2, 3]


def test_filters_hold_for_what_comes_later(client: httpx.Client, controller: FakeController) -> None:
    with client.stream("GET", f"{FOLLOW}&subject=db") as answer:
        found = events(answer.iter_lines())
        controller.record("not this one")
        controller.record("this one", subject="db")
        controller.announce()
        assert next(found)[1]["message"] == "this one"


def test_a_long_backlog_comes_whole(client: httpx.Client, controller: FakeController) -> None:
    for number in range(1200):
        controller.record(str(number))
    with client.stream("GET", FOLLOW, headers={"last-event-id": "0"}) as answer:
        found = events(answer.iter_lines())
        assert [next(found)[0] for _ in range(1200)] == list(range(1, 1201))


def test_a_last_event_id_must_be_one(client: httpx.Client) -> None:
    assert client.get(FOLLOW, headers={"last-event-id": "x"}).status_code == 400


def test_without_follow_it_is_a_list(client: httpx.Client, controller: FakeController) -> None:
    controller.record("one")
    assert [row["message"] for row in client.get("/api/v1/events").json()] == ["one"]

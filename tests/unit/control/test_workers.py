"""Threads for driver calls: answers, deadlines, endpoints; gates instead of clocks."""

import threading
from collections.abc import Callable, Hashable
from datetime import timedelta
from queue import Queue
from typing import Any

import pytest

from metier.control.workers import Task, Workers
from tests.builders import NOW

SOON, LATER = NOW + timedelta(seconds=10), NOW + timedelta(seconds=60)


class Bench:
    """Workers whose tasks wait at gates, and what they answered."""

    def __init__(self, **settings: int) -> None:
        self.answers: Queue[tuple[Hashable, Any]] = Queue()
        self.begun: Queue[Hashable] = Queue()
        self.gates: list[threading.Event] = []
        self.workers = Workers(lambda key, answer: self.answers.put((key, answer)), **settings)

    def submit(self, key: str, *, endpoint: str = "host-1", gated: bool = False) -> threading.Event:
        """Submit a task that answers with its key in capitals, once its gate is open."""
        gate = threading.Event()
        self.gates.append(gate)
        if not gated:
            gate.set()
        self.workers.submit(Task(key, endpoint, self._call(key, gate), SOON))
        return gate

    def _call(self, key: str, gate: threading.Event) -> Callable[[], str]:
        def call() -> str:
            self.begun.put(key)
            gate.wait()
            return key.upper()

        return call

    def began(self) -> Hashable:
        """Return what began next."""
        return self.begun.get(timeout=10)

    def answer(self) -> tuple[Hashable, Any]:
        """Return what was answered next."""
        return self.answers.get(timeout=10)

    def close(self) -> None:
        """Open all gates and end."""
        for gate in self.gates:
            gate.set()
        self.workers.close()


@pytest.fixture
def benches() -> Any:
    made: list[Bench] = []

    def make(**settings: int) -> Bench:
        made.append(Bench(**settings))
        return made[-1]

    yield make
    for bench in made:
        bench.close()


def test_a_task_s_answer_comes_back_under_its_key(benches: Callable[..., Bench]) -> None:
    bench = benches()
    bench.submit("one")
    assert bench.answer() == ("one", "ONE")
    assert bench.workers.in_flight() == 0


def test_a_call_past_its_deadline_is_given_up_once_and_its_answer_dropped(
    benches: Callable[..., Bench],
) -> None:
    bench = benches()
    gate = bench.submit("hangs", gated=True)
    bench.began()
    assert bench.workers.give_up(NOW) == []
    assert [task.key for task in bench.workers.give_up(LATER)] == ["hangs"]
    assert bench.workers.give_up(LATER) == []
    gate.set()
    bench.submit("next")
    assert bench.answer() == ("next", "NEXT")


def test_a_thread_that_hangs_is_replaced(benches: Callable[..., Bench]) -> None:
    bench = benches(threads=1)
    bench.submit("hangs", gated=True)
    bench.began()
    bench.workers.give_up(LATER)
    bench.submit("next")
    assert bench.answer() == ("next", "NEXT")


def test_what_waited_behind_a_hung_call_begins_when_that_is_given_up(benches: Callable[..., Bench]) -> None:
    bench = benches(threads=1)
    bench.submit("hangs", gated=True)
    bench.began()
    bench.workers.submit(Task("waits", "host-2", lambda: "DONE", LATER))
    assert [task.key for task in bench.workers.give_up(SOON)] == ["hangs"]
    assert bench.answer() == ("waits", "DONE")


def test_one_endpoint_gets_only_its_share_of_the_threads(benches: Callable[..., Bench]) -> None:
    bench = benches(threads=8, per_endpoint=2)
    gates = [bench.submit(f"a{number}", gated=True) for number in range(4)]
    bench.submit("b", endpoint="host-2")
    assert {bench.began() for _ in range(3)} == {"a0", "a1", "b"}
    assert bench.answer() == ("b", "B")
    assert bench.begun.empty()
    gates[0].set()
    assert bench.began() == "a2"


def test_two_tasks_at_once_do_not_wait_for_each_other_though_a_thread_is_idle(
    benches: Callable[..., Bench],
) -> None:
    bench = benches(threads=4)
    bench.submit("first")
    assert (bench.began(), bench.answer()[0]) == ("first", "first")
    gates = [bench.submit(f"long{number}", gated=True) for number in range(3)]
    assert {bench.began() for _ in range(3)} == {"long0", "long1", "long2"}
    for gate in gates:
        gate.set()


def test_a_task_given_up_before_it_began_never_begins(benches: Callable[..., Bench]) -> None:
    bench = benches(threads=4, per_endpoint=1)
    gate = bench.submit("first", gated=True)
    bench.began()
    bench.submit("second")
    assert [task.key for task in bench.workers.give_up(LATER)] == ["first"]
    assert [task.key for task in bench.workers.give_up(LATER)] == ["second"]
    gate.set()
    bench.submit("third")
    assert bench.answer() == ("third", "THIRD")
    assert bench.began() == "third"


def test_closed_workers_begin_nothing(benches: Callable[..., Bench]) -> None:
    bench = benches(threads=1)
    gate = bench.submit("first", gated=True)
    bench.began()
    bench.submit("second")
    bench.workers.close()
    gate.set()
    assert bench.answer() == ("first", "FIRST")
    assert bench.begun.empty()


def test_a_given_up_call_is_known_to_be_at_work_until_it_returns(benches: Callable[..., Bench]) -> None:
    bench = benches()
    gate, returned = threading.Event(), threading.Event()
    bench.gates.append(gate)

    def call() -> None:
        bench.begun.put("hangs")
        gate.wait()

    bench.workers.submit(Task("hangs", "host-1", call, SOON, subject="host-1/VM1"))
    bench.began()
    assert not bench.workers.is_stuck("host-1/VM1")
    bench.workers.give_up(LATER)
    assert bench.workers.is_stuck("host-1/VM1")
    assert not bench.workers.is_stuck("host-1/VM2")
    gate.set()
    for _ in range(1000):
        if not bench.workers.is_stuck("host-1/VM1"):
            returned.set()
            break
        returned.wait(0.01)
    assert returned.is_set()


def test_a_call_that_waits_for_its_turn_has_its_time_still_before_it(benches: Callable[..., Bench]) -> None:
    bench = benches(threads=1)
    gate = bench.submit("first", gated=True)
    bench.began()
    limit = SOON - NOW
    bench.workers.submit(Task("waits", "host-2", lambda: "DONE", SOON, limit=limit))
    assert [task.key for task in bench.workers.give_up(SOON)] == ["first"]
    gate.set()
    assert bench.answer() == ("waits", "DONE")


def test_a_call_that_waits_behind_hung_ones_of_its_endpoint_is_given_up_unbegun(
    benches: Callable[..., Bench],
) -> None:
    bench = benches(threads=4, per_endpoint=1)
    bench.submit("hangs", gated=True)
    bench.began()
    bench.submit("waits", gated=True)
    assert [task.key for task in bench.workers.give_up(SOON)] == ["hangs"]
    (waits,) = bench.workers.give_up(LATER)
    assert (waits.key, waits.running) == ("waits", False)

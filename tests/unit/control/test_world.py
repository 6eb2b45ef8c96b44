"""Clocks go on evenly, whatever is done to the machine's; and the inbox waits by them."""

import threading
from datetime import UTC, datetime, timedelta

import pytest

from metier.control.inbox import Inbox, Nudge
from metier.control.world import SteadyClock, SystemClock, wall_time
from metier.domain.ids import NodeId
from tests.builders import NOW


class Machine:
    """A machine whose clock can be set, and on which time passes all the same."""

    def __init__(self) -> None:
        self.passed_s = 1000.0
        self.wall = NOW

    def pass_s(self, seconds: float) -> None:
        self.passed_s += seconds
        self.wall += timedelta(seconds=seconds)


def system_clock(machine: Machine) -> SystemClock:
    return SystemClock(wall=lambda: machine.wall, steady=lambda: machine.passed_s)


def test_the_system_clock_shows_the_machines_time() -> None:
    machine = Machine()
    clock = system_clock(machine)
    assert clock.now() == NOW
    machine.pass_s(90.5)
    assert clock.now() == NOW + timedelta(seconds=90.5)
    assert clock.real_s(7.0) == 7.0


@pytest.mark.parametrize("step", [timedelta(hours=-1), timedelta(days=3)])
def test_a_step_of_the_machines_clock_neither_freezes_nor_rushes_it(step: timedelta) -> None:
    machine = Machine()
    clock = system_clock(machine)
    machine.wall += step
    machine.pass_s(2.0)
    assert clock.now() == NOW + timedelta(seconds=2)


def test_a_fast_clock_shows_more_time_and_waits_less() -> None:
    machine = Machine()
    clock = SteadyClock(NOW, 60.0, steady=lambda: machine.passed_s)
    machine.pass_s(2.0)
    assert clock.now() == NOW + timedelta(minutes=2)
    assert clock.real_s(60.0) == 1.0


def test_by_default_they_run_on_the_real_clocks() -> None:
    before = datetime.now(UTC)
    clock = SystemClock()
    assert before <= clock.now() <= wall_time() + timedelta(seconds=1)
    assert clock.now() <= clock.now()


def test_an_inbox_waits_as_long_as_its_clock_says() -> None:
    asked: list[float] = []

    def real_s(seconds: float) -> float:
        asked.append(seconds)
        return 0.0

    inbox = Inbox(real_s)
    assert inbox.take(NOW, NOW + timedelta(hours=1)) == []
    assert inbox.take(NOW, NOW - timedelta(hours=1)) == []
    assert asked == [3600.0, 0.0]


def test_a_message_ends_a_wait_without_end() -> None:
    inbox = Inbox()
    threading.Thread(target=inbox.put, args=(Nudge(NodeId("host-1")),)).start()
    assert inbox.take(NOW, None) == [Nudge(NodeId("host-1"))]

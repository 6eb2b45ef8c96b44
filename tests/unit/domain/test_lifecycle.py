"""The lifecycle is one table: every state met by every event, and the table's own soundness."""

import pytest

from metier.domain.errors import Bug
from metier.domain.lifecycle import MAY_RUN, TRANSITIONS, Event, Lifecycle, after, can

L, E = Lifecycle, Event

EXPECTED = {
    L.NEW: {E.INVENTORY: L.INVENTORYING, E.INVENTORIED: L.IDLE},
    L.INVENTORYING: {E.INVENTORIED: L.IDLE, E.FAULT: L.NEW},
    L.IDLE: {E.INVENTORY: L.INVENTORYING, E.PREPARE: L.PREPARING, E.BOOT: L.BOOTING, E.STOP: L.STOPPING},
    L.PREPARING: {E.PREPARED: L.PREPARED, E.FAULT: L.FAILED, E.STOP: L.STOPPING},
    L.PREPARED: {E.BOOT: L.BOOTING, E.FAULT: L.FAILED, E.STOP: L.STOPPING},
    L.BOOTING: {
        E.BOOTED: L.STARTING,
        E.TIMED_OUT: L.FAILED,
        E.FAULT: L.FAILED,
        E.UNSURE: L.PREPARED,
        E.STOP: L.STOPPING,
    },
    L.STARTING: {E.ANSWERED: L.RUNNING, E.TIMED_OUT: L.FAILED, E.FAULT: L.FAILED, E.STOP: L.STOPPING},
    L.RUNNING: {E.FAULT: L.FAILED, E.STOP: L.STOPPING},
    L.STOPPING: {E.STOPPED: L.IDLE, E.FAULT: L.STOPPING},
    L.FAILED: {E.STOP: L.STOPPING, E.ANSWERED: L.RUNNING},
}


@pytest.mark.parametrize("event", list(Event))
@pytest.mark.parametrize("state", list(Lifecycle))
def test_every_state_met_by_every_event(state: Lifecycle, event: Event) -> None:
    target = EXPECTED[state].get(event)
    assert can(state, event) == (target is not None)
    if target is not None:
        assert after(state, event) is target
        return
    with pytest.raises(Bug, match=f"a node that is {state} cannot take") as caught:
        after(state, event)
    for allowed in EXPECTED[state]:
        assert str(allowed) in str(caught.value), "it says what it can take"


def test_every_row_says_why() -> None:
    assert all(row.why.endswith(".") for row in TRANSITIONS)


def test_every_state_can_be_reached_and_left() -> None:
    targets = {row.target for row in TRANSITIONS}
    assert targets | {L.NEW} == set(Lifecycle)
    assert {row.source for row in TRANSITIONS} == set(Lifecycle)


def test_whatever_may_run_can_be_stopped() -> None:
    for state in MAY_RUN - {L.STOPPING}:
        assert can(state, E.STOP)

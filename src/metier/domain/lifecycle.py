"""The life of a node between two tiers, as one table.

Placement, engagement, power and health are axes of their own; this one says how
far the node is with running what its placement asks for.
"""

from enum import StrEnum
from typing import NamedTuple

from metier.domain.errors import Bug


class Lifecycle(StrEnum):
    """How far a node is."""

    NEW = "new"
    INVENTORYING = "inventorying"
    IDLE = "idle"
    PREPARING = "preparing"
    PREPARED = "prepared"
    BOOTING = "booting"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    FAILED = "failed"


class Event(StrEnum):
    """What can happen to a node's lifecycle."""

    INVENTORY = "inventory"
    INVENTORIED = "inventoried"
    PREPARE = "prepare"
    PREPARED = "prepared"
    BOOT = "boot"
    BOOTED = "booted"
    ANSWERED = "answered"
    TIMED_OUT = "timed out"
    FAULT = "fault"
    STOP = "stop"
    STOPPED = "stopped"
    UNSURE = "unsure"


class Transition(NamedTuple):
    """One arrow: in `source`, `event` leads to `target`, because of `why`."""

    source: Lifecycle
    event: Event
    target: Lifecycle
    why: str


_L, _E = Lifecycle, Event

TRANSITIONS = (
    Transition(_L.NEW, _E.INVENTORY, _L.INVENTORYING, "What it has is asked for."),
    Transition(_L.NEW, _E.INVENTORIED, _L.IDLE, "What it has was already observed."),
    Transition(_L.INVENTORYING, _E.INVENTORIED, _L.IDLE, "What it has is known."),
    Transition(_L.INVENTORYING, _E.FAULT, _L.NEW, "It could not be asked; asked again after a pause."),
    Transition(_L.IDLE, _E.INVENTORY, _L.INVENTORYING, "An operator asked for a new inventory."),
    Transition(_L.IDLE, _E.PREPARE, _L.PREPARING, "Its slot's instance is being put in place."),
    Transition(_L.IDLE, _E.BOOT, _L.BOOTING, "A host needs no instance: it is switched on."),
    Transition(_L.IDLE, _E.STOP, _L.STOPPING, "It runs although nothing should run on it."),
    Transition(_L.PREPARING, _E.PREPARED, _L.PREPARED, "The instance is in place."),
    Transition(_L.PREPARING, _E.FAULT, _L.FAILED, "The instance could not be put in place."),
    Transition(_L.PREPARING, _E.STOP, _L.STOPPING, "It left its slot before it was started."),
    Transition(_L.PREPARED, _E.BOOT, _L.BOOTING, "It is started: nothing else runs its slot's identity."),
    Transition(_L.PREPARED, _E.FAULT, _L.FAILED, "It could not be started."),
    Transition(_L.PREPARED, _E.STOP, _L.STOPPING, "It left its slot before it was started."),
    Transition(_L.BOOTING, _E.BOOTED, _L.STARTING, "It is seen on; its services have their startup time."),
    Transition(_L.BOOTING, _E.TIMED_OUT, _L.FAILED, "It was not seen on within the boot time."),
    Transition(_L.BOOTING, _E.FAULT, _L.FAILED, "It refused to start."),
    Transition(
        _L.BOOTING, _E.UNSURE, _L.PREPARED, "Whether it was started is not known; starting is repeated."
    ),
    Transition(_L.BOOTING, _E.STOP, _L.STOPPING, "It is no longer wanted."),
    Transition(_L.STARTING, _E.ANSWERED, _L.RUNNING, "Its services answered within the startup time."),
    Transition(_L.STARTING, _E.TIMED_OUT, _L.FAILED, "They did not."),
    Transition(_L.STARTING, _E.FAULT, _L.FAILED, "It went off while starting."),
    Transition(_L.STARTING, _E.STOP, _L.STOPPING, "It is no longer wanted."),
    Transition(_L.RUNNING, _E.FAULT, _L.FAILED, "It went off, or its services stopped answering."),
    Transition(_L.RUNNING, _E.STOP, _L.STOPPING, "It is no longer wanted."),
    Transition(_L.STOPPING, _E.STOPPED, _L.IDLE, "It is seen off and its VM is clean."),
    Transition(_L.STOPPING, _E.FAULT, _L.STOPPING, "It would not stop; tried again after a pause."),
    Transition(_L.FAILED, _E.STOP, _L.STOPPING, "What is left of it is switched off."),
    Transition(_L.FAILED, _E.ANSWERED, _L.RUNNING, "It came back by itself or by somebody's hand."),
)


def _table() -> dict[tuple[Lifecycle, Event], Lifecycle]:
    table: dict[tuple[Lifecycle, Event], Lifecycle] = {}
    for row in TRANSITIONS:
        if (row.source, row.event) in table:
            raise Bug(f"two transitions for {row.event} in {row.source}")
        table[row.source, row.event] = row.target
    return table


_NEXT = _table()


def can(state: Lifecycle, event: Event) -> bool:
    """Say whether `event` has an arrow from `state`."""
    return (state, event) in _NEXT


def after(state: Lifecycle, event: Event) -> Lifecycle:
    """Return the state that `event` leads to.

    Raises:
        Bug: The table has no such arrow; the message lists the events it has.
    """
    try:
        return _NEXT[state, event]
    except KeyError:
        allowed = ", ".join(row.event for row in TRANSITIONS if row.source == state)
        raise Bug(f"a node that is {state} cannot take {event!r}; it can take: {allowed}") from None


MAY_RUN = frozenset({_L.PREPARED, _L.BOOTING, _L.STARTING, _L.RUNNING, _L.STOPPING, _L.FAILED})
"""States in which the node's instance may be running somewhere: no other node may start it."""

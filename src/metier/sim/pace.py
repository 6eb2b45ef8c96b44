"""How fast a simulated data centre is, so that what is foreseen takes as long as it was measured.

A timing runs from an order until its effect is seen (see `domain/timing.py`). In a
simulation the order's call and the look that sees it take their own time, so that the
machine itself gets what is left.
"""

from collections.abc import Iterable, Mapping

from metier.domain.effective import startup_s
from metier.domain.fleet import Fleet
from metier.domain.forecast import Duration
from metier.domain.ids import ImageRef, NodeId
from metier.domain.node import Node
from metier.domain.tier import TierKind
from metier.domain.timing import Activity, expected_s, measured_s, subject_of
from metier.sim.controller import USUAL_S, Pace

LOOK_S = 0.5
"""What is looked at every second is seen so much later than it happens, on average."""

HOST_LOOKS_S = 3 * LOOK_S
"""A host is seen on by one look, and called running after another one."""

SHORTEST_S = 0.05
"""No call and no boot takes less."""

CALLS: Mapping[str, Activity] = {
    "InventoryNode": Activity.INVENTORY,
    "StageVms": Activity.STAGE,
    "RemoveVms": Activity.REMOVE_VMS,
    "PrepareGuest": Activity.PREPARE,
    "RetireGuest": Activity.RETIRE,
    "DiagnoseNode": Activity.DIAGNOSE,
    # What these bring about is there when their call returns, and is then to be seen.
    "PowerOff": Activity.POWER_OFF,
    "StopGuest": Activity.GUEST_STOP,
}
"""Work whose call takes about as long as its activity; other calls are orders that return at once."""

_SEEN_LATER = frozenset({Activity.POWER_OFF, Activity.GUEST_STOP})


def pace_of(fleet: Fleet) -> Pace:
    """Return the pace of a site: each kind of call takes what is usual there, or what is assumed.

    Calls differ by host and by image; `call_s` knows that of each, and this its usual value.
    """
    usual = {word: _seconds(fleet, activity, "") for word, activity in CALLS.items()}
    return Pace(call_s={**USUAL_S, **usual})


def call_s(fleet: Fleet, word: str, node: Node) -> float | None:
    """Return how many seconds a call of `word` on `node` takes; None if that is not measured."""
    activity = CALLS.get(word)
    return None if activity is None else _seconds(fleet, activity, subject_of(activity, node) or "")


def host_boot_s(fleet: Fleet, host: NodeId) -> float:
    """Return how many seconds a machine needs from power to its VM manager's first answer."""
    whole_s = whole(fleet, Activity.POWER_ON, host).seconds
    return max(SHORTEST_S, whole_s - USUAL_S["PowerOn"] - HOST_LOOKS_S)


def guest_boot_s(fleet: Fleet, image: ImageRef) -> float:
    """Return how many seconds a guest of `image` needs from its VM's start to its services' first answer."""
    whole_s = whole(fleet, Activity.GUEST_BOOT, str(image)).seconds
    return max(SHORTEST_S, whole_s - USUAL_S["StartGuest"] - LOOK_S)


def guest_boots_s(fleet: Fleet) -> dict[str, float]:
    """Return the same for every guest image, by its name: `DataCentre.guest_boot_s`."""
    return {str(image): guest_boot_s(fleet, image) for image in fleet.images}


def guest_stop_s(fleet: Fleet) -> float:
    """Return how many seconds a guest OS takes to shut down: what is usual among all images."""
    whole_s = whole(fleet, Activity.GUEST_SHUTDOWN, "").seconds
    return max(SHORTEST_S, whole_s - USUAL_S["ShutdownGuest"] - LOOK_S)


def whole(fleet: Fleet, activity: Activity, subject: str) -> Duration:
    """Return how long an activity takes a subject from its order until it is seen, and how that is known.

    What is assumed of the boot of an image that was never measured is at most half of the
    startup time that its tiers grant: who set that knows the guest.
    """
    expected = expected_s(fleet, activity, subject)
    is_own = measured_s(fleet, activity, subject) is not None
    seconds = expected.seconds
    if activity is Activity.GUEST_BOOT and not is_own:
        seconds = min([seconds, *(limit_s / 2 for limit_s in _granted_s(fleet, subject))])
    return Duration(activity, subject, seconds, expected.samples, is_own)


def _seconds(fleet: Fleet, activity: Activity, subject: str) -> float:
    whole_s = whole(fleet, activity, subject).seconds
    return max(SHORTEST_S, whole_s - LOOK_S if activity in _SEEN_LATER else whole_s)


def _granted_s(fleet: Fleet, image: str) -> Iterable[int]:
    for tier in fleet.tiers.values():
        for version in tier.versions if tier.kind is TierKind.GUEST else ():
            if str(version) == image:
                yield startup_s(fleet, tier, version)

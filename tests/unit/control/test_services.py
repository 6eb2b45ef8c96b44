"""What readers may ask beyond the snapshot: the journal, consoles, and what a death would cost."""

from collections.abc import Sequence
from datetime import datetime

import pytest

from metier.control.services import FORESEEN_FOR, GOOD_FOR, LoopServices
from metier.domain.actions import FreeNode
from metier.domain.errors import DriverError, MetierError, Refusal
from metier.domain.fleet import Fleet
from metier.domain.forecast import Forecast, Foreseen
from metier.domain.ids import NodeId
from metier.domain.image import OfferedVm
from metier.sim.hypervisor import SimHypervisor
from metier.sim.machines import CallFault
from metier.store.api import Entry
from metier.store.memory import MemoryStore
from tests.builders import NOW, a_fleet, a_host, a_node, a_virtual_node
from tests.unit.control.site import NotedDrivers, a_datacentre, tools_of

FLEET = a_fleet(a_host(), a_virtual_node(), a_virtual_node(number=2), a_node("metal"))


class Drivers(NotedDrivers):
    """Drivers whose VM manager can be without consoles."""

    has_consoles = True

    def hypervisor(self, host: object) -> object:
        """Return a VM manager, or something that is less than one."""
        return SimHypervisor(self.datacentre, "host-1") if self.has_consoles else object()


def services(
    fleet: Fleet = FLEET, *, has_consoles: bool = True, entries: Sequence[Entry] = ()
) -> LoopServices:
    drivers = Drivers(a_datacentre())
    drivers.has_consoles = has_consoles
    SimHypervisor(drivers.datacentre, "host-1").define_vm(OfferedVm(1, memory_mib=512), timeout_s=1)
    store = MemoryStore()
    store.hold("the test")
    store.save({}, 1, entries)
    return LoopServices(store, tools_of(drivers), lambda: fleet)


def test_a_console_is_where_the_driver_says() -> None:
    assert services().console("host-1/VM1") == "simulated://host-1/VM1"


@pytest.mark.parametrize(
    ("node", "code", "words"),
    [
        ("host-9", "no-such-thing", "there is no node host-9"),
        ("metal", "refused", "metal has no console that Metier knows"),
        ("host-1", "refused", "host-1 has no console that Metier knows"),
        ("host-1/VM2", "driver-refused", "host-1 has no VM2 of Metier's"),
    ],
)
def test_what_has_no_console_is_refused(node: str, code: str, words: str) -> None:
    with pytest.raises(MetierError) as refusal:
        services().console(node)
    assert (refusal.value.code, str(refusal.value)) == (code, words)


def test_a_name_that_cannot_be_one_is_refused() -> None:
    with pytest.raises(MetierError):
        services().console("../etc")


def test_a_vm_manager_without_consoles_says_so() -> None:
    with pytest.raises(MetierError, match="the VM manager of host-1 offers no console"):
        services(has_consoles=False).console("host-1/VM1")


def test_a_host_that_does_not_answer_is_the_driver_s_error() -> None:
    datacentre = a_datacentre()
    datacentre.plant("host-1", "console", CallFault.UNAVAILABLE)
    asked = LoopServices(MemoryStore(), tools_of(Drivers(datacentre)), lambda: FLEET)
    with pytest.raises(DriverError):
        asked.console("host-1/VM1")


def test_journal_entries_are_rows() -> None:
    entries = [Entry(NOW, "action", f"node-{n}", "StartGuest: why", by="R-ALLOC-1") for n in (1, 2, 3)]
    found = services(entries=entries)
    assert found.journal(after=1, limit=1, subject=None, newest=False) == [
        {
            "id": 2,
            "at": "2026-03-01T12:00:00Z",
            "kind": "action",
            "subject": "node-2",
            "message": "StartGuest: why",
            "by": "R-ALLOC-1",
            "data": {},
        }
    ]
    assert [row["id"] for row in found.journal(after=0, limit=2, subject=None, newest=True)] == [2, 3]
    assert [row["id"] for row in found.journal(after=0, limit=9, subject="node-3", newest=False)] == [3]


def test_what_a_death_would_cost_is_worked_out_once_for_one_fleet() -> None:
    asked = services()
    row = asked.resilience(FLEET, NOW, "")
    assert (row["answer"], row["failure_domains"]) == (
        "any one host can be lost, and no tier falls below its minimum",
        1,
    )
    assert asked.resilience(FLEET, NOW + GOOD_FOR / 2, "") is row
    assert asked.resilience(FLEET, NOW + GOOD_FOR, "") is not row
    other = a_fleet(a_node("metal"))
    assert asked.resilience(other, NOW, "")["answer"] == "no host is in use"
    assert asked.resilience(FLEET, NOW, "rack")["by"] == "rack"


def test_what_is_under_way_is_foreseen_once_in_a_while() -> None:
    asked: list[datetime] = []

    def foresee(fleet: Fleet, now: datetime) -> Forecast:
        asked.append(now)
        action = FreeNode(node=NodeId("metal"), why="it is idle", rule="R-RELEASE-2")
        return Forecast((Foreseen(action, 0.0),) if fleet is FLEET else ())

    store = MemoryStore()
    told = LoopServices(store, tools_of(Drivers(a_datacentre())), lambda: FLEET, foresee=foresee)
    first = told.forecast(FLEET, NOW)
    assert told.forecast(FLEET, NOW + FORESEEN_FOR / 2) is first
    assert told.forecast(FLEET, NOW + FORESEEN_FOR) is not first
    draft = FLEET.edit()
    draft.put_pool(draft.pool)
    calm = draft.freeze()
    still = told.forecast(calm, NOW)
    assert told.forecast(calm, NOW + GOOD_FOR / 2) is still
    assert len(asked) == 3


def test_a_controller_without_foresight_says_so() -> None:
    with pytest.raises(Refusal, match="this controller cannot look ahead"):
        services().forecast(FLEET, NOW)

"""What readers may ask beyond the snapshot: the journal and consoles."""

from collections.abc import Sequence

import pytest

from metier.control.services import LoopServices
from metier.domain.errors import DriverError, MetierError
from metier.domain.fleet import Fleet
from metier.domain.image import OfferedVm
from metier.drivers.hypervisor.fake import FakeHypervisor, FakeSite, Fault
from metier.store.api import Entry
from tests.builders import NOW, a_fleet, a_host, a_node, a_virtual_node
from tests.scenarios.records import MemoryStore
from tests.unit.control.site import FakeDrivers, tools_of

FLEET = a_fleet(a_host(), a_virtual_node(), a_virtual_node(number=2), a_node("metal"))


class Drivers(FakeDrivers):
    """Drivers whose VM manager can be without consoles."""

    has_consoles = True

    def hypervisor(self, host: object) -> object:
        """Return a VM manager, or something that is less than one."""
        driver = FakeHypervisor(self.site, "host-1")
        return driver if self.has_consoles else object()


def services(
    fleet: Fleet = FLEET, *, has_consoles: bool = True, entries: Sequence[Entry] = ()
) -> LoopServices:
    site = FakeSite()
    drivers = Drivers(site)
    drivers.has_consoles = has_consoles
    FakeHypervisor(site, "host-1").define_vm(OfferedVm(1, memory_mib=512), timeout_s=1)
    store = MemoryStore()
    store.save({}, 1, entries)
    return LoopServices(store, tools_of(drivers), lambda: fleet)


def test_a_console_is_where_the_driver_says() -> None:
    assert services().console("host-1/VM1") == "fake://host-1/VM1"


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
    site = FakeSite()
    site.plant("host-1", "console", Fault.UNAVAILABLE)
    asked = LoopServices(MemoryStore(), tools_of(Drivers(site)), lambda: FLEET)
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

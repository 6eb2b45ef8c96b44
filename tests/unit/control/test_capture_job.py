"""Captures carried out: what reaches the matrix, and what is refused though it was ordered."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from metier.control.capture_job import capture
from metier.control.tools import Drivers
from metier.domain.errors import NoSpace, NoSuchThing, Refusal, Refused
from metier.domain.fleet import Fleet
from metier.domain.ids import image_ref
from metier.domain.image import Image, OfferedVm
from metier.domain.image_use import host_key
from metier.domain.node import Engagement, Node
from metier.drivers.hypervisor.api import Ended, GuestSpec, ImageSource, TakenDisks
from metier.matrix.api import Cancelled, CaptureOrder, Fetch, Report
from metier.sim.clock import VirtualClock
from metier.sim.datacentre import DataCentre
from metier.sim.drivers import SimDrivers
from metier.sim.hypervisor import INSTANCE_BYTES, SimHypervisor
from metier.sim.matrix import NoDisk, SimMatrix
from tests.builders import NOW, a_fleet, a_host, a_job, a_tier, a_virtual_node, an_image, an_instance

ARGUMENTS = {
    "name": "web",
    "version": "2",
    "node": "host-1/VM1",
    "instance": "web-1-1",
    "parent": {"name": "web", "version": "1"},
    "accept_unclean": False,
    "type": "windows",
    "minimum_memory_mib": 512,
    "requirements": {"cpus": 2, "attributes": ["ssd"]},
    "startup_s": 60,
    "collectors": [{"collector": "tcp", "port": 80}],
}


class NotedMatrix(SimMatrix):
    """A matrix that remembers what it was asked for."""

    def __init__(self) -> None:
        super().__init__(published=[image_ref("web@1")])
        self.orders: list[CaptureOrder] = []

    def capture_image(self, order: CaptureOrder, fetch: Fetch, report: Report) -> Image:
        """Note the order, and capture."""
        self.orders.append(order)
        return super().capture_image(order, fetch, report)


@dataclass(frozen=True)
class Both:
    """What a capture works with."""

    drivers: Drivers
    matrix: NotedMatrix


class Bench:
    """A host with a guest that shut itself down, and a job that captures it."""

    def __init__(self) -> None:
        self.datacentre = DataCentre(VirtualClock(NOW))
        self.host = self.datacentre.add("host-1", is_on=True, boot_s=0)
        driver = SimHypervisor(self.datacentre, "host-1")
        driver.define_vm(OfferedVm(1, memory_mib=512), timeout_s=1)
        image = an_image()
        assert image.machine is not None
        source = ImageSource(host_key(image), image.machine, (NoDisk(),))
        guest = GuestSpec("web-1-1", source, "web1", b"", {"tier": "web", "slot": "1", "image": "web@1"})
        driver.prepare(1, guest, lambda _done, _total: None, timeout_s=1)
        self.vm = self.host.vms[1]
        self.ends(Ended.BY_GUEST)
        self.matrix = NotedMatrix()
        self.drivers: SimDrivers = SimDrivers(self.datacentre)
        self.told: list[tuple[str, int, int | None]] = []

    def ends(self, ended: Ended) -> None:
        """Let the guest run, and end."""
        self.datacentre.start_vm(self.host, self.vm)
        self.datacentre.stop_vm(self.host, self.vm, ended)

    def capture(self, fleet: Fleet | None = None, **arguments: Any) -> Image:
        job = a_job(kind="image-capture", subject="web@2", arguments={**ARGUMENTS, **arguments})
        return capture(job, fleet or a_site(), Both(self.drivers, self.matrix), self._report)

    def _report(self, step: str, done: int, total: int | None) -> None:
        self.told.append((step, done, total))


def a_site(**fields: Any) -> Fleet:
    node: dict[str, Any] = {"engagement": Engagement(False), "instance": an_instance()} | fields
    return a_fleet(a_tier("web"), an_image(), a_host(), a_virtual_node(tier="web", slot=1, **node))


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_what_was_ordered_reaches_the_matrix(bench: Bench) -> None:
    image = bench.capture()
    (order,) = bench.matrix.orders
    assert (order.ref, order.parent.ref) == (image_ref("web@2"), image_ref("web@1"))
    assert order.source == "captured from host-1/VM1, which ran web@1"
    assert (order.answers.type, order.answers.minimum_memory_mib, order.answers.startup_s) == (
        "windows",
        512,
        60,
    )
    assert (order.answers.requirements.cpus, order.answers.requirements.attributes) == (2, frozenset({"ssd"}))
    assert (image.ref, image.machine) == (order.ref, order.parent.machine)
    assert bench.matrix.published == {image_ref("web@1"), image_ref("web@2")}
    assert ("copying from host-1", INSTANCE_BYTES, INSTANCE_BYTES) in bench.told
    assert not bench.vm.is_on
    assert bench.vm.instance == "web-1-1"


@pytest.mark.parametrize(
    ("ended", "words"), [(Ended.CUT, "its power was cut"), (Ended.UNKNOWN, "how it went off is not known")]
)
def test_a_guest_that_did_not_shut_down_by_itself_needs_acceptance(
    bench: Bench, ended: Ended, words: str
) -> None:
    bench.ends(ended)
    with pytest.raises(Refusal, match=f"{words}, so its file systems may not be clean") as caught:
        bench.capture()
    assert caught.value.code == "needs-acceptance"
    assert "--accept-warnings" in caught.value.remedy
    assert bench.matrix.orders == []
    assert bench.capture(accept_unclean=True).ref == image_ref("web@2")


def test_a_guest_that_runs_by_now_is_refused(bench: Bench) -> None:
    """R-CAPTURE-1."""
    bench.datacentre.start_vm(bench.host, bench.vm)
    with pytest.raises(Refused, match="running"):
        bench.capture()


def test_a_guest_that_is_started_meanwhile_is_refused_and_leaves_nothing(bench: Bench) -> None:
    bench.matrix.passed = lambda stage: (
        bench.datacentre.start_vm(bench.host, bench.vm) if stage == "copying" else None
    )
    with pytest.raises(Refused):
        bench.capture()
    assert (bench.matrix.staged, bench.matrix.published) == ({}, {image_ref("web@1")})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"instance": None}, "is not on it any more"),
        ({"instance": an_instance(id="web-1-9")}, "web-1-1, is not on it any more"),
        ({"engagement": Engagement()}, "it was engaged meanwhile"),
    ],
)
def test_what_changed_since_it_was_ordered_is_refused(
    bench: Bench, fields: dict[str, Any], words: str
) -> None:
    with pytest.raises(Refusal, match=words):
        bench.capture(a_site(**fields))


def test_a_node_that_is_gone_by_now_is_no_such_thing(bench: Bench) -> None:
    with pytest.raises(NoSuchThing, match="there is no node host-1/VM1"):
        bench.capture(a_fleet(an_image(), a_host()))


class OtherHypervisor(SimHypervisor):
    """A driver whose answer is not what it was."""

    def __init__(self, datacentre: DataCentre, taken: TakenDisks) -> None:
        super().__init__(datacentre, "host-1")
        self.taken = taken

    def take_disks(self, *_: Any, **__: Any) -> TakenDisks:
        """Return what the test says."""
        return self.taken


class OneDriver(SimDrivers):
    """Drivers of one kind for all hosts."""

    def __init__(self, datacentre: DataCentre, driver: Any) -> None:
        super().__init__(datacentre)
        self._driver = driver

    def hypervisor(self, _host: Node) -> Any:
        """Return the only one there is."""
        return self._driver


@pytest.mark.parametrize(
    ("taken", "words"),
    [
        (TakenDisks("db-1-1", (), "web-1"), "db-1-1 is on it by now, and not web-1-1"),
        (TakenDisks("web-1-1", (), "web@1-other"), "stand on web@1-other, whose content is not that of"),
    ],
)
def test_other_disks_than_were_ordered_are_refused(bench: Bench, taken: TakenDisks, words: str) -> None:
    bench.drivers = OneDriver(bench.datacentre, OtherHypervisor(bench.datacentre, taken))
    with pytest.raises(Refusal, match=words):
        bench.capture()
    assert bench.matrix.staged == {}


def test_a_host_that_does_not_let_disks_be_copied_is_refused(bench: Bench) -> None:
    bench.drivers = OneDriver(bench.datacentre, object())
    with pytest.raises(Refusal, match="does not let disks be copied") as caught:
        bench.capture()
    assert "metier image import" in caught.value.remedy


def _cancel(_stage: str) -> None:
    raise Cancelled


@pytest.mark.parametrize("passed", [_cancel])
def test_a_cancelled_capture_leaves_nothing(bench: Bench, passed: Callable[[str], None]) -> None:
    bench.matrix.passed = passed
    with pytest.raises(Cancelled):
        bench.capture()
    assert (bench.matrix.staged, bench.matrix.published) == ({}, {image_ref("web@1")})


def test_without_room_nothing_is_copied(bench: Bench) -> None:
    bench.matrix.free_bytes = INSTANCE_BYTES - 1
    with pytest.raises(NoSpace):
        bench.capture()
    assert bench.matrix.staged == {}
    assert bench.matrix.free_bytes == INSTANCE_BYTES - 1
    assert Path("web@2").exists() is False


def test_it_can_be_done_again_after_a_crash(bench: Bench) -> None:
    class Killed(BaseException):
        pass

    def die(stage: str) -> None:
        if stage == "publishing":
            raise Killed

    bench.matrix.passed = die
    with pytest.raises(Killed):
        bench.capture()
    bench.matrix.passed = lambda _stage: None
    assert bench.matrix.sweep([image_ref("web@1")]) == ["staged web@2"]
    assert bench.capture().ref == image_ref("web@2")
    assert replace(bench.matrix.orders[0]) == bench.matrix.orders[1]

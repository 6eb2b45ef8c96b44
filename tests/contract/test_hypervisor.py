"""The hypervisor contract over simulated and over real libvirt hosts."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from metier.domain.image import Disk, Machine
from metier.drivers.hypervisor.api import Ended, GuestSpec, Hypervisor, ImageSource
from metier.lab.datacentre import LabDatacentre
from metier.lab.state import LabHost
from metier.sim.clock import VirtualClock
from metier.sim.datacentre import DataCentre
from metier.sim.hypervisor import SimHypervisor
from metier.sim.matrix import NoDisk
from tests.builders import NOW
from tests.contract.capture_suite import CaptureSuite
from tests.contract.hypervisor_suite import OFFER, HostTestbed, nothing
from tests.contract.libvirt_testbed import LibvirtTestbed
from tests.contract.tcp_door import TcpDoor


class SimTestbed:
    """One host of a data centre of its own, in which no time passes."""

    NODE = "host-1"

    def __init__(self, store: str | None = None) -> None:
        self.datacentre = DataCentre(VirtualClock(NOW))
        self._host = self.datacentre.add(self.NODE, is_on=True, boot_s=0, store=store)

    def open(self) -> Hypervisor:
        return SimHypervisor(self.datacentre, self.NODE)

    def image(self, key: str) -> ImageSource:
        disk = Disk("disk-0.qcow2", capacity_bytes=1 << 20, stored_bytes=4096, digest="sha256:0")
        return ImageSource(key, Machine((disk,)), (NoDisk(),))

    def add_foreign(self, name: str, *, running: bool) -> None:
        self._host.foreign[name] = running

    def move_in(self) -> tuple[str, int]:
        origin = self.datacentre.add("host-9", is_on=True, boot_s=0)
        SimHypervisor(self.datacentre, origin.name).define_vm(OFFER, timeout_s=1)
        vm = origin.vms[OFFER.number]
        self.datacentre.start_vm(origin, vm)
        self.datacentre.move_vm(origin, vm, self._host)
        return origin.name, vm.number

    def foreign(self) -> dict[str, bool]:
        return dict(self._host.foreign)

    def name_of(self, number: int) -> str:
        return f"metier-{self.NODE}-VM{number}"

    def set_memory(self, number: int, memory_mib: int) -> None:
        self._host.vms[number].set_memory(memory_mib)

    def kill(self, number: int) -> None:
        self.datacentre.stop_vm(self._host, self._host.vms[number])

    def end_by_guest(self, number: int) -> bool:
        self.datacentre.stop_vm(self._host, self._host.vms[number], Ended.BY_GUEST)
        return True

    def content(self, file: Path) -> bytes:
        return file.read_bytes()

    def vanish(self) -> None:
        self.datacentre.switch(self.NODE, on=False)

    def come_back(self) -> None:
        self.datacentre.switch(self.NODE, on=True)

    def write(self, instance: str, text: bytes) -> None:
        self._host.store.instances[instance].written = text

    def written(self, instance: str) -> bytes | None:
        found = self._host.store.instances.get(instance)
        return None if found is None else found.written

    def copy_of(self, key: str) -> object | None:
        store = self._host.store
        return (store.copies, store.images[key]) if key in store.images else None


class SharingTestbed(SimTestbed):
    """One host of two that share a store."""

    def __init__(self) -> None:
        super().__init__("shared")
        self.datacentre.add("host-2", is_on=True, store="shared")
        other = SimHypervisor(self.datacentre, "host-2")
        other.define_vm(OFFER, timeout_s=1)
        guest = GuestSpec("db-1-1", self.image("db-1"), "db1", b"seed", {})
        other.prepare(1, guest, nothing, timeout_s=1)
        other.start(1, timeout_s=1)


class TestSimHypervisor(CaptureSuite):
    @pytest.fixture
    def testbed(self) -> HostTestbed:
        return SimTestbed()


class TestSimHypervisorOfSharedStore(CaptureSuite):
    """The same on a host whose store another host uses too, with a guest of its own in it."""

    @pytest.fixture
    def testbed(self) -> HostTestbed:
        return SharingTestbed()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabDatacentre]:
    """Bring up one real host for all tests here; each has its own node, pool and folder on it."""
    # The path of the host's socket must stay short, so no test's name may be in it.
    with LabDatacentre(tmp_path_factory.mktemp("lab"), [LabHost("host-1")]) as lab:
        yield lab


@pytest.mark.e2e
class TestLibvirt(CaptureSuite):
    @pytest.fixture
    def testbed(self, lab: LabDatacentre, tmp_path: Path) -> Iterator[HostTestbed]:
        testbed = LibvirtTestbed(lab, tmp_path)
        yield testbed
        testbed.clean_up()


@pytest.mark.e2e
class TestRemoteLibvirt(CaptureSuite):
    """The same, through a remote URL: images cross the connection too."""

    @pytest.fixture
    def testbed(self, lab: LabDatacentre, tmp_path: Path) -> Iterator[HostTestbed]:
        with TcpDoor(lab.hosts[0].folder / "run/libvirt-sock") as door:
            testbed = LibvirtTestbed(lab, tmp_path)
            testbed.settings["url"] = f"qemu+tcp://127.0.0.1:{door.port}/system"
            yield testbed
            testbed.clean_up()

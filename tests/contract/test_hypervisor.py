"""The hypervisor contract over the fake and over real libvirt hosts."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from metier.domain.image import Disk, Machine
from metier.drivers.hypervisor.api import Hypervisor, ImageSource
from metier.drivers.hypervisor.fake import FakeHypervisor, FakeSite
from metier.lab.datacentre import LabDatacentre
from metier.lab.state import LabHost
from tests.contract.hypervisor_suite import HostTestbed, HypervisorSuite
from tests.contract.libvirt_testbed import LibvirtTestbed
from tests.contract.tcp_door import TcpDoor


class FakeTestbed:
    """One host of a site of its own."""

    NODE = "host-1"

    def __init__(self) -> None:
        self.site = FakeSite()
        self._host = self.site.host(self.NODE)

    def open(self) -> Hypervisor:
        return FakeHypervisor(self.site, self.NODE)

    def image(self, key: str) -> ImageSource:
        disk = Disk("disk-0.qcow2", capacity_bytes=1 << 20, stored_bytes=4096, digest="sha256:0")
        return ImageSource(key, Path(), Machine((disk,)))

    def add_foreign(self, name: str, *, running: bool) -> None:
        self._host.foreign[name] = running

    def foreign(self) -> dict[str, bool]:
        return dict(self._host.foreign)

    def name_of(self, number: int) -> str:
        return f"metier-{self.NODE}-VM{number}"

    def set_memory(self, number: int, memory_mib: int) -> None:
        self._host.set_memory(number, memory_mib)

    def kill(self, number: int) -> None:
        self.site.power_off_vm(self.NODE, number)

    def vanish(self) -> None:
        self.site.switch(self.NODE, on=False)

    def come_back(self) -> None:
        self.site.switch(self.NODE, on=True)

    def write(self, instance: str, text: bytes) -> None:
        self._host.instances[instance].written = text

    def written(self, instance: str) -> bytes | None:
        found = self._host.instances.get(instance)
        return None if found is None else found.written

    def copy_of(self, key: str) -> object | None:
        return (self._host.copies, self._host.images[key]) if key in self._host.images else None


class TestFakeHypervisor(HypervisorSuite):
    @pytest.fixture
    def testbed(self) -> HostTestbed:
        return FakeTestbed()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabDatacentre]:
    """Bring up one real host for all tests here; each has its own node, pool and folder on it."""
    # The path of the host's socket must stay short, so no test's name may be in it.
    with LabDatacentre(tmp_path_factory.mktemp("lab"), [LabHost("host-1")]) as lab:
        yield lab


@pytest.mark.e2e
class TestLibvirt(HypervisorSuite):
    @pytest.fixture
    def testbed(self, lab: LabDatacentre, tmp_path: Path) -> Iterator[HostTestbed]:
        testbed = LibvirtTestbed(lab, tmp_path)
        yield testbed
        testbed.clean_up()


@pytest.mark.e2e
class TestRemoteLibvirt(HypervisorSuite):
    """The same, through a remote URL: images cross the connection too."""

    @pytest.fixture
    def testbed(self, lab: LabDatacentre, tmp_path: Path) -> Iterator[HostTestbed]:
        with TcpDoor(lab.hosts[0].folder / "run/libvirt-sock") as door:
            testbed = LibvirtTestbed(lab, tmp_path)
            testbed.settings["url"] = f"qemu+tcp://127.0.0.1:{door.port}/system"
            yield testbed
            testbed.clean_up()

"""A real libvirt host in namespaces of its own, and what people and accidents do there."""

import hashlib
import itertools
import subprocess
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from metier.domain.image import Disk, Machine, OfferedVm
from metier.drivers.formats.api import BlockReader, Part
from metier.drivers.formats.qcow2.reader import Qcow2Disk
from metier.drivers.hypervisor.api import Hypervisor, ImageSource
from metier.drivers.hypervisor.libvirt import Libvirt
from metier.lab.datacentre import LabDatacentre
from metier.lab.host import HostFolder, read_init

CAPACITY_BYTES = 1 << 20
TIMEOUT_S = 60.0

# What an administrator would write by hand: no mark of Metier's.
FOREIGN = """
<domain type='qemu'>
  <name>{name}</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
</domain>
"""
_nodes = itertools.count(1)


@dataclass(frozen=True, slots=True)
class FileContent:
    """A file as the content of a disk."""

    path: Path

    @property
    def size_bytes(self) -> int:
        return self.path.stat().st_size

    def open(self) -> BinaryIO:
        return self.path.open("rb")

    def reader(self) -> AbstractContextManager[BlockReader]:
        return closing(Qcow2Disk(Part.whole(self.path).open(), self.path.name))


def make_image(folder: Path, key: str, machine: Machine | None = None) -> ImageSource:
    """Make an image of one small, empty disk, the same bytes every time."""
    folder = folder / key
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "disk-0.qcow2"
    if not file.exists():
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", file, str(CAPACITY_BYTES)], check=True)
    disk = Disk(file.name, CAPACITY_BYTES, file.stat().st_size, "sha256:0")
    machine = machine or Machine((disk,))
    return ImageSource(key, machine, tuple(FileContent(file) for _ in machine.disks))


class LibvirtTestbed:
    """One host node of its own on the lab's host: its VMs, its pool and its folder."""

    def __init__(self, lab: LabDatacentre, folder: Path) -> None:
        self.node = f"node-{next(_nodes)}"
        self._lab = lab
        self._host = lab.hosts[0]
        self._folder = folder
        self._opened: list[Libvirt] = []
        self._foreign: list[str] = []
        self.store = self._host.store / self.node
        self.settings = {
            "url": self._host.url,
            "store": str(self.store),
            "networks": f"default=bridge:{self._host.bridge}",
        }

    def open(self) -> Hypervisor:
        driver = Libvirt.open(self.node, self.settings)
        self._opened.append(driver)
        return driver

    def image(self, key: str) -> ImageSource:
        return make_image(self._folder, key)

    def virsh(self, *words: str) -> str:
        """Run virsh on the host, as an administrator does."""
        command = ["virsh", "-q", "-c", self._host.url, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=TIMEOUT_S).stdout

    def add_foreign(self, name: str, *, running: bool) -> None:
        file = self._folder / f"{name}.xml"
        file.write_text(FOREIGN.format(name=name))
        self.adopt_foreign(name, file)
        if running:
            self.virsh("start", name)

    def adopt_foreign(self, name: str, file: Path) -> None:
        """Define a VM that is not Metier's from an XML file."""
        self.virsh("define", str(file))
        self._foreign.append(name)

    def daemon(self) -> int:
        """Return the number of the host's libvirt daemon, as this machine counts."""
        init = read_init(HostFolder(self._host.folder))
        assert init is not None
        children = Path(f"/proc/{init.pid}/task/{init.pid}/children").read_text().split()
        names = {int(child): Path(f"/proc/{child}/comm").read_text().strip() for child in children}
        return next(child for child, name in names.items() if name == "libvirtd")

    def move_in(self) -> tuple[str, int]:
        """Make a running VM of another node here: what a move of it leaves, but for its disks."""
        node = f"{self.node}-neighbour"
        neighbour = Libvirt.open(node, self.settings)
        self._opened.append(neighbour)
        neighbour.define_vm(OfferedVm(1, memory_mib=32), timeout_s=TIMEOUT_S)
        neighbour.start(1, timeout_s=TIMEOUT_S)
        self._foreign.append(f"metier-{node}-VM1")
        return node, 1

    def foreign(self) -> dict[str, bool]:
        running = self.virsh("list", "--name").split()
        names = self.virsh("list", "--all", "--name").split()
        return {name: name in running for name in names if name in self._foreign}

    def name_of(self, number: int) -> str:
        return f"metier-{self.node}-VM{number}"

    def set_memory(self, number: int, memory_mib: int) -> None:
        self.virsh("setmaxmem", self.name_of(number), f"{memory_mib}MiB", "--config")
        self.virsh("setmem", self.name_of(number), f"{memory_mib}MiB", "--config")

    def kill(self, number: int) -> None:
        self.virsh("destroy", self.name_of(number))

    def end_by_guest(self, number: int) -> bool:
        return False

    def content(self, file: Path) -> bytes:
        return self._read(file)

    def vanish(self) -> None:
        self._lab.power_off(self._host.name)

    def come_back(self) -> None:
        self._lab.power_on(self._host.name)

    def write(self, instance: str, text: bytes) -> None:
        raw = self._folder / "written"
        raw.write_bytes(text.ljust(512, b"\0"))
        self._qemu_io(self._disk(instance), f"write -s {raw} 0 512")

    def written(self, instance: str) -> bytes | None:
        disk = self._disk(instance)
        if not disk.exists():
            return None
        return self._read(disk)

    def _read(self, disk: Path) -> bytes:
        raw = self._folder / "read"
        subprocess.run(["qemu-img", "convert", "-U", "-O", "raw", disk, raw], check=True)
        return raw.read_bytes()[:512].rstrip(b"\0")

    def copy_of(self, key: str) -> object | None:
        file = self.store / f"images/{key}.0.qcow2"
        if not file.exists():
            return None
        state = file.stat()
        return (state.st_ino, state.st_mtime_ns, hashlib.sha256(file.read_bytes()).hexdigest())

    def clean_up(self) -> None:
        """Remove what the test left on the host."""
        self.come_back()
        for name in self.foreign():
            subprocess.run(
                ["virsh", "-q", "-c", self._host.url, "destroy", name], check=False, capture_output=True
            )
            self.virsh("undefine", name)
        driver = Libvirt.open(self.node, self.settings)
        for vm in driver.report(timeout_s=TIMEOUT_S).vms:
            driver.stop(vm.number, timeout_s=TIMEOUT_S)
            driver.remove_vm(vm.number, timeout_s=TIMEOUT_S)
        for opened in (driver, *self._opened):
            opened.close()

    def _disk(self, instance: str) -> Path:
        return self.store / f"instances/{instance}.0.qcow2"

    def _qemu_io(self, disk: Path, command: str) -> None:
        subprocess.run(["qemu-io", "-c", command, disk], check=True, capture_output=True, timeout=TIMEOUT_S)

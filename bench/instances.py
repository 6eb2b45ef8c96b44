"""Copy-on-write instances on a real libvirt host, against `qemu-img create -b` in a loop.

The floor makes a disk and nothing else.  Ours is all that is done before a guest can start: the
image's presence is checked, the disk made, the personality written, the VM defined anew.
"""

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.disks import convert, write_disk
from metier.control.crew import HANDS_PER_ENDPOINT
from metier.domain.errors import MetierError
from metier.domain.image import Disk, Machine, OfferedVm
from metier.drivers.hypervisor.api import GuestSpec, ImageSource
from metier.drivers.hypervisor.libvirt import Libvirt
from metier.lab.datacentre import LabDatacentre
from metier.lab.state import LabHost
from tests.contract.libvirt_testbed import FileContent

_COUNT = 100
_TIMEOUT_S = 120.0
_DATA_MIB, _DISK_MIB = 32, 256
_SEED_BYTES = 64 << 10


def run(count: int = _COUNT) -> list[dict[str, Any]]:
    """Return a row for instances made one after another, and one for as many at once as the loop makes."""
    if os.geteuid() != 0:
        return [{"case": f"{count} instances", "skipped": "a lab needs root"}]
    with tempfile.TemporaryDirectory(prefix="mb-") as name:
        folder = Path(name)
        image = _image(folder)
        try:
            with _driver(folder) as driver:
                return [_row(folder, driver, image, count, at_once) for at_once in (1, HANDS_PER_ENDPOINT)]
        except MetierError as error:
            return [{"case": f"{count} instances", "skipped": error.message}]


def _row(folder: Path, driver: Libvirt, image: ImageSource, count: int, at_once: int) -> dict[str, Any]:
    peer = _timed(lambda: _floor(folder, count))
    for number in range(1, count + 1):
        driver.define_vm(OfferedVm(number, memory_mib=64), timeout_s=_TIMEOUT_S)
    # The image's one copy to the host is another matter.
    _prepare(driver, image, count + 1, f"warm-{at_once}")
    ours = _timed(lambda: _prepare_all(driver, image, count, at_once))
    for number in range(1, count + 2):
        driver.remove_vm(number, timeout_s=_TIMEOUT_S)
    return {
        "case": f"{count} instances, {at_once} at a time",
        "peer": "qemu-img create -b in a loop",
        "peer_s": round(peer, 2),
        "ours_s": round(ours, 2),
        "ratio": round(ours / peer, 2),
        "ms_each": round(1000 * ours / count, 1),
    }


def _timed(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _floor(folder: Path, count: int) -> None:
    into = folder / "floor"
    into.mkdir()
    for number in range(count):
        words = ["-F", "qcow2", "-b", str(folder / "disk.qcow2"), str(into / f"{number}.qcow2")]
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *words], check=True)
    for path in into.iterdir():
        path.unlink()
    into.rmdir()


def _prepare_all(driver: Libvirt, image: ImageSource, count: int, at_once: int) -> None:
    with ThreadPoolExecutor(at_once) as pool:
        numbers = range(1, count + 1)
        list(pool.map(lambda number: _prepare(driver, image, number, f"bench-{number}-{at_once}"), numbers))


def _prepare(driver: Libvirt, image: ImageSource, number: int, instance: str) -> None:
    driver.define_vm(OfferedVm(number, memory_mib=64), timeout_s=_TIMEOUT_S)
    guest = GuestSpec(instance, image, f"bench-{number}", bytes(_SEED_BYTES), {})
    driver.prepare(number, guest, lambda *_: None, timeout_s=_TIMEOUT_S)


def _image(folder: Path) -> ImageSource:
    raw, file = folder / "disk.raw", folder / "disk.qcow2"
    write_disk(raw, _DATA_MIB, _DISK_MIB)
    convert(raw, file, "qcow2")
    raw.unlink()
    disk = Disk(file.name, _DISK_MIB << 20, file.stat().st_size, "sha256:0")
    return ImageSource("bench-1", Machine((disk,)), (FileContent(file),))


@contextmanager
def _driver(folder: Path) -> Iterator[Libvirt]:
    with LabDatacentre(folder / "lab", [LabHost("host-1")]) as lab:
        host = lab.hosts[0]
        settings = {
            "url": host.url,
            "store": str(host.store),
            "networks": f"default=bridge:{host.bridge}",
        }
        driver = Libvirt.open("host-1", settings)
        try:
            yield driver
        finally:
            driver.close()

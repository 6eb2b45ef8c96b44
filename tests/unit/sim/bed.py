"""A small data centre, and what is done on it in tests of the simulated drivers."""

from datetime import timedelta

from metier.domain.image import CollectorSpec, Disk, Machine, OfferedVm
from metier.domain.observation import Power
from metier.drivers.hypervisor.api import GuestSpec, ImageSource
from metier.sim.clock import VirtualClock
from metier.sim.hypervisor import SimHypervisor, personality
from metier.sim.matrix import NoDisk

OFFER = OfferedVm(1, memory_mib=256)
HOST = "host-1"
TCP = CollectorSpec("tcp", 80)


def guest(address: str | None = None, *, image: Machine | None = None) -> GuestSpec:
    """Return what is to run as slot 1 of tier web."""
    machine = image or Machine((Disk("d", 100, 11, "sha256:0"),))
    source = ImageSource("web-1", machine, tuple(NoDisk() for _ in machine.disks))
    seed = personality("web1", "web-1-1", address, None, mac="")
    return GuestSpec("web-1-1", source, "web1", seed, {"tier": "web", "slot": "1", "image": "web@1"})


def prepare(driver: SimHypervisor, spec: GuestSpec | None = None) -> None:
    """Put a guest on VM1."""
    driver.prepare(1, spec or guest(), lambda _done, _total: None, timeout_s=1)


def power_of(driver: SimHypervisor) -> Power:
    """Return what the host reports of VM1."""
    return next(vm.power for vm in driver.report(timeout_s=1).vms if vm.number == 1)


def later(clock: VirtualClock, seconds: float) -> None:
    """Let time pass."""
    clock.move(clock.now() + timedelta(seconds=seconds))

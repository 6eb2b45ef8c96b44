"""A data centre in memory whose hosts keep the hypervisor protocol; deterministic, without clock or chance.

A `FakeSite` is the truth of that world; a `FakeHypervisor` is one driver's view of one
host in it.  Tests and the simulator change the site behind the driver's back, as people
and faults do, and plant faults for the next calls.
"""

# ruff: noqa: ARG002 - nothing here takes time, so no deadline is looked at

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import ClassVar

from metier.domain.errors import DriverError, OutcomeUnknown, Refused, Unavailable
from metier.domain.hardware import Hardware
from metier.domain.image import OfferedVm
from metier.domain.observation import Power, VmFacts
from metier.drivers.hypervisor.api import Capability, GuestSpec, HostFacts, ImageSource, Progress, VmReport
from metier.drivers.settings import parse_settings, setting

_FORMS = frozenset(("qcow2", "raw", "vmdk"))


class Fault(StrEnum):
    """What can go wrong with one call."""

    REFUSED = "refused"
    UNAVAILABLE = "unavailable"
    LOST_REQUEST = "lost-request"
    """The outcome is unknown, and nothing was done."""
    LOST_ANSWER = "lost-answer"
    """The outcome is unknown, and it was done."""


@dataclass(slots=True)
class FakeVm:
    """One of Metier's VMs.

    Attributes:
        deaf: Its guest OS does not hear requests to shut down.
        address: What the host would say; cleared when it goes off.
        facts: What Metier wrote next to its mark.
    """

    offer: OfferedVm
    power: Power = Power.OFF
    instance: str | None = None
    seed: bytes | None = None
    hostname: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    deaf: bool = False
    shutdown_asked: bool = False
    address: str | None = None


@dataclass(slots=True)
class FakeInstance:
    """A private child of an image; `written` is what its guest wrote."""

    image: str
    written: bytes = b""


@dataclass(slots=True)
class FakeHost:
    """One host node.

    Attributes:
        is_on: It has power; without it nothing answers and its guests are off.
        is_reachable: Its VM manager answers.
        foreign: VMs that others made, by name, and whether each is running.
        images: Bytes of the images in its store, by key; `copies` counts how often one was copied.
        networks: What it can plug its VMs into.
        faults: What the next calls of a verb meet, first to last.
    """

    memory_mib: int = 16384
    cpus: int = 8
    free_bytes: int = 500 << 30
    is_on: bool = True
    is_reachable: bool = True
    accelerated: bool = True
    has_uefi: bool = True
    networks: frozenset[str] = frozenset(("default",))
    vms: dict[int, FakeVm] = field(default_factory=dict)
    foreign: dict[str, bool] = field(default_factory=dict)
    images: dict[str, int] = field(default_factory=dict)
    instances: dict[str, FakeInstance] = field(default_factory=dict)
    copies: int = 0
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    watchers: list[Callable[[], None]] = field(default_factory=list)

    def set_memory(self, number: int, memory_mib: int) -> None:
        """Change a VM's configuration, as an administrator of the host may."""
        vm = self.vms[number]
        vm.offer = replace(vm.offer, memory_mib=memory_mib)


class FakeSite:
    """All hosts of a data centre, by node name; safe to use from many threads.

    Watchers are called by whoever makes the change, after it is complete.
    """

    def __init__(self) -> None:
        self.hosts: dict[str, FakeHost] = {}
        self.lock = threading.RLock()

    def host(self, node: str) -> FakeHost:
        """Return the host of this name; one comes into being when it is first named."""
        with self.lock:
            return self.hosts.setdefault(node, FakeHost())

    def plant(self, node: str, verb: str, *faults: Fault) -> None:
        """Let the next calls of `verb` (`start`, `report`, …) on a host go wrong in this order."""
        with self.lock:
            self.host(node).faults.setdefault(verb, []).extend(faults)

    def switch(self, node: str, on: bool) -> None:
        """Give a host power or cut it, and its guests' with it."""
        with self.lock:
            host = self.host(node)
            host.is_on = on
            if not on:
                for vm in host.vms.values():
                    _switch_off(vm)
                host.foreign = dict.fromkeys(host.foreign, False)
        self.notify(node)

    def is_on(self, node: str) -> bool:
        """Whether a host has power."""
        return self.host(node).is_on

    def power_off_vm(self, node: str, number: int) -> None:
        """Switch a VM off behind the driver's back, as a crash or a person would."""
        with self.lock:
            _switch_off(self.host(node).vms[number])
        self.notify(node)

    def notify(self, node: str) -> None:
        """Tell those who watch a host that something changed."""
        for changed in list(self.host(node).watchers):
            changed()


def _switch_off(vm: FakeVm) -> None:
    vm.power, vm.shutdown_asked, vm.address = Power.OFF, False, None


_sites: dict[str, FakeSite] = {}


def named_site(name: str) -> FakeSite:
    """Return the site that drivers opened with `site=name` share in this process."""
    return _sites.setdefault(name, FakeSite())


@dataclass(frozen=True, slots=True)
class Settings:
    """Which fake data centre a host stands in."""

    site: str = setting("Name of the data centre in memory that the host stands in.", default="fake")


class FakeHypervisor:
    """One host of a fake site; keeps `Hypervisor`, `Watching` and `Consoles`."""

    CAPABILITIES: ClassVar[frozenset[Capability]] = frozenset(Capability)
    SETTINGS: ClassVar[type[Settings]] = Settings

    def __init__(self, site: FakeSite, node: str) -> None:
        self._site = site
        self._node = node
        self._closed = False

    @classmethod
    def open(cls, node: str, settings: Mapping[str, str]) -> "FakeHypervisor":
        """Return the driver for one host of the site that the settings name."""
        return cls(named_site(parse_settings(Settings, "fake", settings).site), node)

    @classmethod
    def check_settings(cls, settings: Mapping[str, str]) -> None:
        """Raise WrongUsage if a setting is unknown."""
        parse_settings(Settings, "fake", settings)

    # --- what there is ------------------------------------------------------

    def facts(self, *, timeout_s: float) -> HostFacts:
        with self._call("facts") as host:
            hardware = Hardware(
                memory_mib=host.memory_mib,
                cpus=host.cpus,
                disk_gib=host.free_bytes >> 30,
                nics=len(host.networks),
                networks=host.networks,
                image_forms=frozenset(("vmm-host",)),
            )
            return HostFacts(hardware, "fake 1.0", host.accelerated)

    def report(self, *, timeout_s: float) -> VmReport:
        with self._call("report") as host:
            vms = tuple(_facts(vm) for _, vm in sorted(host.vms.items()))
            return VmReport(vms, sum(host.foreign.values()))

    def watch(self, changed: Callable[[], None]) -> None:
        self._site.host(self._node).watchers.append(changed)

    def console(self, number: int, *, timeout_s: float) -> str:
        with self._call("console") as host:
            self._vm(host, number)
            return f"fake://{self._node}/VM{number}"

    # --- VMs ----------------------------------------------------------------

    def define_vm(self, offer: OfferedVm, *, timeout_s: float) -> None:
        with self._call("define_vm") as host:
            if f"metier-{self._node}-VM{offer.number}" in host.foreign:
                raise Refused(f"VM{offer.number} on {self._node} does not carry this Metier's mark")
            missing = sorted(set(offer.networks) - host.networks)
            if missing:
                raise Refused(f"{self._node} has no network {missing[0]}")
            host.vms.setdefault(offer.number, FakeVm(offer))

    def remove_vm(self, number: int, *, timeout_s: float) -> None:
        with self._call("remove_vm") as host:
            vm = host.vms.get(number)
            if vm is None:
                return
            self._require_off(vm, "remove")
            del host.vms[number]
            still_used = {other.instance for other in host.vms.values()}
            if vm.instance is not None and vm.instance not in still_used:
                del host.instances[vm.instance]

    def prepare(
        self, number: int, guest: GuestSpec, progress: Progress, *, timeout_s: float
    ) -> tuple[str, ...]:
        with self._call("prepare") as host:
            vm = self._vm(host, number)
            self._require_off(vm, "prepare")
            self._require_alone(host, vm, guest.instance)
            if guest.image.machine.firmware == "uefi" and not host.has_uefi:
                raise Refused(f"the image starts by UEFI and {self._node} has no UEFI firmware for guests")
            if guest.image.key not in host.images:
                _copy_image(host, guest.image, progress)
            host.instances.setdefault(guest.instance, FakeInstance(guest.image.key))
            vm.instance, vm.seed = guest.instance, guest.seed
            vm.hostname, vm.facts = guest.hostname, dict(guest.metadata)
            return guest.image.machine.remarks

    def retire(self, number: int, discard: str | None, *, timeout_s: float) -> None:
        with self._call("retire") as host:
            vm = self._vm(host, number)
            self._require_off(vm, "retire")
            if discard is not None:
                self._require_alone(host, vm, discard)
                host.instances.pop(discard, None)
            vm.instance, vm.seed, vm.hostname, vm.facts = None, None, "", {}

    # --- power --------------------------------------------------------------

    def start(self, number: int, *, timeout_s: float) -> None:
        with self._call("start") as host:
            vm = self._vm(host, number)
            was_on = vm.power is Power.ON
            vm.power = Power.ON
        if not was_on:
            self._site.notify(self._node)

    def shutdown(self, number: int, *, timeout_s: float) -> None:
        with self._call("shutdown") as host:
            vm = self._vm(host, number)
            goes_off = vm.power is Power.ON and not vm.deaf
            vm.shutdown_asked = vm.power is Power.ON
            if goes_off:
                _switch_off(vm)
        if goes_off:
            self._site.notify(self._node)

    def stop(self, number: int, *, timeout_s: float) -> None:
        with self._call("stop") as host:
            vm = self._vm(host, number)
            was_off = vm.power is Power.OFF
            _switch_off(vm)
        if not was_off:
            self._site.notify(self._node)

    # --- images -------------------------------------------------------------

    def drop_image(self, key: str, *, timeout_s: float) -> None:
        with self._call("drop_image") as host:
            if key in host.images and not any(one.image == key for one in host.instances.values()):
                host.free_bytes += host.images.pop(key)

    def close(self) -> None:
        self._closed = True

    @contextmanager
    def _call(self, verb: str) -> Iterator[FakeHost]:
        """Give the host to one call, as far as it is there and no fault was planted."""
        with self._site.lock:
            host = self._site.host(self._node)
            if self._closed or not (host.is_on and host.is_reachable):
                raise Unavailable(f"cannot {verb} on {self._node}: the host does not answer")
            planted = host.faults.get(verb)
            fault = planted.pop(0) if planted else None
            if fault is not None and fault is not Fault.LOST_ANSWER:
                raise self._error(fault, verb)
            yield host
            if fault is Fault.LOST_ANSWER:
                raise self._error(fault, verb)

    def _error(self, fault: Fault, verb: str) -> DriverError:
        match fault:
            case Fault.REFUSED:
                return Refused(f"cannot {verb} on {self._node}: a planted fault refuses it")
            case Fault.UNAVAILABLE:
                return Unavailable(f"cannot {verb} on {self._node}: a planted fault hides the host")
            case Fault.LOST_REQUEST | Fault.LOST_ANSWER:
                return OutcomeUnknown(f"cannot tell whether to {verb} on {self._node} worked")

    def _vm(self, host: FakeHost, number: int) -> FakeVm:
        try:
            return host.vms[number]
        except KeyError:
            raise Refused(f"{self._node} has no VM{number} of Metier's") from None

    def _require_off(self, vm: FakeVm, verb: str) -> None:
        if vm.power is not Power.OFF:
            raise Refused(f"cannot {verb} VM{vm.offer.number} of {self._node}: it is running")

    def _require_alone(self, host: FakeHost, vm: FakeVm, instance: str) -> None:
        for other in host.vms.values():
            if other.instance == instance and other is not vm:
                raise Refused(f"instance {instance} is on VM{other.offer.number} of {self._node} as well")


def _copy_image(host: FakeHost, image: ImageSource, progress: Progress) -> None:
    size = sum(disk.stored_bytes for disk in image.machine.disks)
    if size > host.free_bytes:
        raise Refused(f"image {image.key} takes {size} bytes, and {host.free_bytes} are free")
    host.images[image.key] = size
    host.free_bytes -= size
    host.copies += 1
    progress(size, size)


def _facts(vm: FakeVm) -> VmFacts:
    hardware = Hardware(
        memory_mib=vm.offer.memory_mib,
        cpus=vm.offer.cpus,
        disk_gib=vm.offer.disk_gib,
        nics=len(vm.offer.networks),
        networks=frozenset(vm.offer.networks),
        image_forms=_FORMS,
    )
    return VmFacts(vm.offer.number, vm.power, hardware, vm.instance, vm.address)

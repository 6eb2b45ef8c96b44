"""The VM manager of a simulated machine: keeps the protocol that every hypervisor driver keeps."""

# ruff: noqa: ARG002 - a call takes as long as whoever makes it lets it take; no deadline is looked at here

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import ClassVar

from metier.domain.errors import Refused, Unavailable
from metier.domain.host_details import HostDetails
from metier.domain.ids import NodeId
from metier.domain.image import OfferedVm
from metier.domain.personality import Carried, Seed
from metier.drivers.hypervisor.api import (
    Capability,
    Ended,
    GuestSpec,
    HostFacts,
    ImageSource,
    MakeRoom,
    Progress,
    TakenDisks,
    VmReport,
)
from metier.sim.datacentre import DataCentre
from metier.sim.machines import Instance, Machine, Store, Vm, hardware_of

PRODUCT = "simulated 1.0"

INSTANCE_BYTES = 1 << 26
"""What every instance here holds."""


class SimHypervisor:
    """One host of a simulated data centre; keeps every protocol but that which copies others' VMs."""

    CAPABILITIES: ClassVar[frozenset[Capability]] = frozenset(Capability) - {Capability.FOREIGN_VMS}

    def __init__(self, datacentre: DataCentre, node: str) -> None:
        self._datacentre = datacentre
        self._node = node
        self._closed = False
        self._watching: list[tuple[Machine, Callable[[], None]]] = []

    # --- what there is ------------------------------------------------------

    def facts(self, *, timeout_s: float) -> HostFacts:
        with self._call("facts") as host:
            hardware = replace(
                host.hardware,
                disk_gib=host.store.free_bytes >> 30,
                nics=len(host.hardware.networks),
                image_forms=frozenset({"vmm-host"}),
            )
            details = HostDetails(product=PRODUCT, patch_level=host.patch_level)
            return HostFacts(hardware, PRODUCT, host.accelerated, details)

    def report(self, *, timeout_s: float) -> VmReport:
        with self._call("report") as host:
            vms = tuple(vm.facts() for _, vm in sorted(host.vms.items()))
            strays = tuple(stray.facts() for stray in host.strays)
            running = sum(stray.vm.is_on for stray in host.strays)
            return VmReport(vms, sum(host.foreign.values()) + running, strays, host.patch_level)

    def watch(self, changed: Callable[[], None]) -> None:
        with self._datacentre.lock:
            host = self._datacentre.machine(self._node)
            host.watchers.append(changed)
            self._watching.append((host, changed))

    def console(self, number: int, *, timeout_s: float) -> str:
        with self._call("console") as host:
            self._vm(host, number)
            return f"simulated://{self._node}/VM{number}"

    # --- VMs ----------------------------------------------------------------

    def define_vm(self, offer: OfferedVm, *, timeout_s: float) -> None:
        with self._call("define_vm") as host:
            if f"metier-{self._node}-VM{offer.number}" in host.foreign:
                raise Refused(f"VM{offer.number} on {self._node} does not carry this Metier's mark")
            missing = sorted(set(offer.networks) - host.hardware.networks)
            if missing:
                raise Refused(f"{self._node} has no network {missing[0]}")
            host.vms.setdefault(offer.number, Vm(offer.number, hardware_of(offer)))

    def remove_vm(self, number: int, *, timeout_s: float) -> None:
        with self._call("remove_vm") as host:
            vm = host.vms.get(number)
            if vm is None:
                return
            self._require_off(vm, "remove")
            del host.vms[number]
            if vm.staged_as:
                host.foreign[vm.staged_as] = False
            if vm.instance is not None and self._holder(host.store, vm.instance) is None:
                host.store.instances.pop(vm.instance, None)

    def adopt_vms(self, offered: Collection[int], *, timeout_s: float) -> tuple[str, ...]:
        with self._call("adopt_vms") as host:
            remarks = []
            for name, hardware in sorted(host.staged.items()):
                if host.foreign.get(name):
                    remarks.append(f"{name} on {self._node} cannot be taken over: it is running")
                elif name in host.foreign:
                    number = next(free for free in count(1) if free not in {*offered, *host.vms})
                    host.vms[number] = Vm(number, hardware, staged_as=name)
                    del host.foreign[name]
            return tuple(remarks)

    def prepare(
        self, number: int, guest: GuestSpec, progress: Progress, *, timeout_s: float
    ) -> tuple[str, ...]:
        with self._call("prepare") as host:
            vm = self._vm(host, number)
            self._require_off(vm, "prepare")
            self._require_alone(host, vm, guest.instance)
            if guest.image.machine.firmware == "uefi" and not host.has_uefi:
                raise Refused(f"the image starts by UEFI and {self._node} has no UEFI firmware for guests")
            if guest.image.key not in host.store.images:
                _copy_image(host.store, guest.image, progress)
            host.store.instances.setdefault(guest.instance, Instance(guest.image.key))
            vm.instance, vm.seed, vm.fixed_address = guest.instance, guest.seed, address_in(guest.seed)
            vm.hostname, vm.metadata, vm.is_aside = guest.hostname, dict(guest.metadata), False
            return guest.image.machine.remarks

    def retire(self, number: int, discard: str | None, *, timeout_s: float) -> None:
        with self._call("retire") as host:
            vm = self._vm(host, number)
            self._require_off(vm, "retire")
            if discard is not None:
                self._require_alone(host, vm, discard)
                host.store.instances.pop(discard, None)
            vm.instance, vm.seed, vm.fixed_address, vm.hostname, vm.metadata = None, None, None, "", {}
            vm.is_aside = host.puts_aside

    # --- power --------------------------------------------------------------

    def start(self, number: int, *, timeout_s: float) -> None:
        with self._call("start") as host:
            self._datacentre.start_vm(host, self._vm(host, number))

    def shutdown(self, number: int, *, timeout_s: float) -> None:
        with self._call("shutdown") as host:
            self._datacentre.shut_down_vm(host, self._vm(host, number))

    def stop(self, number: int, *, timeout_s: float) -> None:
        with self._call("stop") as host:
            self._datacentre.stop_vm(host, self._vm(host, number))

    # --- images -------------------------------------------------------------

    def drop_image(self, key: str, *, timeout_s: float) -> None:
        with self._call("drop_image") as host:
            store = host.store
            if key in store.images and not any(one.image == key for one in store.instances.values()):
                store.free_bytes += store.images.pop(key)

    # --- capture ------------------------------------------------------------

    def ended(self, number: int, *, timeout_s: float) -> Ended:
        with self._call("ended") as host:
            vm = self._vm(host, number)
            self._require_off(vm, "capture")
            return vm.ended

    def take_disks(
        self, number: int, into: Path, make_room: MakeRoom, progress: Progress, *, timeout_s: float
    ) -> TakenDisks:
        """Copy what the guest wrote; where `into` is no folder, as in virtual time, no file is made."""
        with self._call("take_disks") as host:
            vm = self._vm(host, number)
            self._require_off(vm, "capture")
            if vm.instance is None:
                raise Refused(f"cannot capture VM{number} of {self._node}: there is no instance on it")
            taken, stored = vm.instance, host.store.instances[vm.instance]
        make_room(INSTANCE_BYTES)
        progress(INSTANCE_BYTES, INSTANCE_BYTES)
        file = into / "disk0.qcow2"
        if into.is_dir():
            file.write_bytes(stored.written)
        with self._call("take_disks") as host:
            vm = self._vm(host, number)
            if vm.is_on or vm.instance != taken:
                raise Refused(f"cannot capture VM{number} of {self._node}: it was started meanwhile")
        return TakenDisks(taken, (file,), stored.image)

    def close(self) -> None:
        with self._datacentre.lock:
            self._closed = True
            for host, changed in self._watching:
                host.watchers.remove(changed)
            self._watching.clear()

    @contextmanager
    def _call(self, verb: str) -> Iterator[Machine]:
        """Give the host to one call, as far as it is there and no fault was planted."""
        with self._datacentre.lock:
            host = self._datacentre.machine(self._node)
            if self._closed or not host.vmm_answers(self._datacentre.clock.now()):
                raise Unavailable(f"cannot {verb} on {self._node}: the host does not answer")
            with host.meet_fault(verb, f"{verb} on {self._node}"):
                yield host
                if verb not in _ASKING:
                    self._datacentre.changed(host)

    def _vm(self, host: Machine, number: int) -> Vm:
        try:
            return host.vms[number]
        except KeyError:
            raise Refused(f"{self._node} has no VM{number} of Metier's") from None

    def _require_off(self, vm: Vm, verb: str) -> None:
        if vm.is_on:
            raise Refused(f"cannot {verb} VM{vm.number} of {self._node}: it is running")

    def _require_alone(self, host: Machine, vm: Vm, instance: str) -> None:
        holder = self._holder(host.store, instance, but=vm)
        if holder is not None:
            raise Refused(f"instance {instance} is on VM{holder[1]} of {holder[0]} as well")

    def _holder(self, store: Store, instance: str, but: Vm | None = None) -> tuple[NodeId, int] | None:
        """Return which VM on a store has an instance attached."""
        for machine in self._sharing(store):
            for vm in machine.vms.values():
                if vm.instance == instance and vm is not but:
                    return machine.name, vm.number
        return None

    def _sharing(self, store: Store) -> Sequence[Machine]:
        return [machine for machine in self._datacentre.machines.values() if machine.store is store]


_ASKING = frozenset({"facts", "report", "console", "ended", "take_disks"})


def personality(
    hostname: str, instance: str, address: str | None, gateway: str | None, /, *, mac: str
) -> bytes:
    """Return a slot's seed as simulated guests read it."""
    text = {"hostname": hostname, "instance": instance, "address": address, "gateway": gateway, "mac": mac}
    return json.dumps(text).encode()


def seed_for(carried: Carried) -> Seed:
    """Return a slot's seed as simulated guests read it; keeps `control.tools.Personality`."""
    return Seed(
        personality(carried.hostname, carried.instance, carried.address, carried.gateway, mac=carried.mac)
    )


def address_in(seed: bytes) -> str | None:
    """Return the fixed address in a seed, without its prefix length; None if the guest asks DHCP."""
    try:
        address = json.loads(seed).get("address")
    except (ValueError, AttributeError):
        return None  # another personaliser's seed: its guests ask DHCP
    return address.partition("/")[0] if isinstance(address, str) else None


def _copy_image(store: Store, image: ImageSource, progress: Progress) -> None:
    size = sum(disk.stored_bytes for disk in image.machine.disks)
    if size > store.free_bytes:
        raise Refused(f"image {image.key} takes {size} bytes, and {store.free_bytes} are free")
    store.images[image.key] = size
    store.free_bytes -= size
    store.copies += 1
    progress(size, size)

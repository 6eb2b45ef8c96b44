"""The libvirt driver: every verb of the protocol, as steps of the other modules."""

import shlex
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import libvirt

from metier.domain.errors import Refused
from metier.domain.image import OfferedVm
from metier.domain.observation import Power
from metier.drivers.hypervisor.api import (
    Capability,
    Ended,
    GuestSpec,
    HostFacts,
    MakeRoom,
    Progress,
    TakenDisks,
    VmReport,
)
from metier.drivers.hypervisor.libvirt import vms
from metier.drivers.hypervisor.libvirt.attempt import Attempt
from metier.drivers.hypervisor.libvirt.capturing import Capture, ended
from metier.drivers.hypervisor.libvirt.configuration import Attachment, Place, Settings, place_of
from metier.drivers.hypervisor.libvirt.connection import Connection
from metier.drivers.hypervisor.libvirt.domain_xml import Frame, Media, Nic, domain_xml, new_size
from metier.drivers.hypervisor.libvirt.events import Line
from metier.drivers.hypervisor.libvirt.faults import code
from metier.drivers.hypervisor.libvirt.host import Host
from metier.drivers.hypervisor.libvirt.mark import Mark
from metier.drivers.hypervisor.libvirt.shape import shape_for
from metier.drivers.hypervisor.libvirt.store import Store
from metier.drivers.settings import parse_settings

T = TypeVar("T")

# What goes with a VM when it is removed; a VM that has one of these could not be removed otherwise.
_UNDEFINE = (
    libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
)


class Session:
    """What the steps of one call work with."""

    def __init__(
        self, host: Host, dialler: Connection, place: Place, settings: Settings, attempt: Attempt
    ) -> None:
        self.host = host
        self.connection = host.line.connection
        self.place = place
        self.settings = settings
        self.attempt = attempt
        self._dialler = dialler

    def vm(self, number: int) -> vms.Vm:
        """Return Metier's VM `number`; raises Refused."""
        return vms.get(self.connection, self.place, number)

    def store(self) -> Store:
        """Return the host's store, made if it is missing."""
        return Store(self.connection, self._dialler.another, self.place, self.attempt)

    def frame(self, vm: vms.Vm) -> Frame:
        """Return what stays of a VM whatever image is put on it."""
        return self.new_frame(vm.number, vm.configuration.size, vm.configuration.nics)

    def new_frame(self, number: int, size: Any, nics: tuple[Nic, ...]) -> Frame:
        """Return a VM without an image, to be run as this host can run it."""
        has_vnc = self.host.offer(self.attempt).has_vnc
        return Frame(self.place, number, size, nics, self.host.uses_kvm(self.attempt), has_vnc)

    def mark(self, vm: vms.Vm, **changes: Any) -> Mark:
        """Return the mark of a VM with nothing on it but `changes`."""
        disk_gib = vm.configuration.mark.disk_gib if vm.configuration.mark else 0
        return Mark(self.place.site, self.place.node, vm.number, disk_gib, **changes)

    def define(self, xml: str) -> None:
        """Give a VM its configuration."""
        self.attempt.begin()
        domain = self.connection.defineXMLFlags(xml, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
        self.host.reporter.forget(domain.UUIDString())


class Libvirt:
    """One host node reached through libvirt; keeps `Hypervisor`, `Watching`, `Consoles` and `Capturing`."""

    CAPABILITIES: ClassVar[frozenset[Capability]] = frozenset(Capability) - {
        Capability.STAGED_VMS,
        Capability.FOREIGN_VMS,
    }
    SETTINGS: ClassVar[type[Settings]] = Settings

    def __init__(self, place: Place, settings: Settings) -> None:
        self._place = place
        self._settings = settings
        self._connection = Connection(settings.url)
        self._host: Host | None = None
        self._host_lock = threading.Lock()

    @classmethod
    def open(cls, node: str, settings: Mapping[str, str]) -> "Libvirt":
        """Return the driver for one host node; does not connect yet."""
        parsed = parse_settings(Settings, "libvirt", settings)
        return cls(place_of(node, parsed), parsed)

    @classmethod
    def check_settings(cls, settings: Mapping[str, str]) -> None:
        """Raise WrongUsage if a setting is missing, unknown or malformed; connects to nothing."""
        parse_settings(Settings, "libvirt", settings)

    # --- what there is ------------------------------------------------------

    def facts(self, *, timeout_s: float) -> HostFacts:
        def work(session: Session) -> HostFacts:
            return session.host.facts(session.attempt, session.store().room())

        return self._do("ask for the facts", work, timeout_s)

    def report(self, *, timeout_s: float) -> VmReport:
        def work(session: Session) -> VmReport:
            return session.host.reporter.report()

        return self._do("list the VMs", work, timeout_s, changes=False)

    def watch(self, changed: Callable[[], None]) -> None:
        self._connection.watch(changed)

    def console(self, number: int, *, timeout_s: float) -> str:
        def work(session: Session) -> str:
            name = session.vm(number).configuration.name
            return shlex.join(("virsh", "-c", self._settings.url, "console", name))

        return self._do(f"find the console of VM{number}", work, timeout_s, changes=False)

    # --- VMs ----------------------------------------------------------------

    def define_vm(self, offer: OfferedVm, *, timeout_s: float) -> None:
        def work(session: Session) -> None:
            if vms.find_or_refuse(session.connection, self._place, offer.number) is None:
                _define(session, offer)

        self._do(f"define VM{offer.number}", work, timeout_s)

    def remove_vm(self, number: int, *, timeout_s: float) -> None:
        def work(session: Session) -> None:
            vm = vms.find(session.connection, self._place, number)
            if vm is not None:
                vms.require_off(vm, self._place, "remove")
                _remove(session, vm)

        self._do(f"remove VM{number}", work, timeout_s)

    def prepare(
        self, number: int, guest: GuestSpec, progress: Progress, *, timeout_s: float
    ) -> tuple[str, ...]:
        def work(session: Session) -> tuple[str, ...]:
            vm = session.vm(number)
            vms.require_off(vm, self._place, "prepare")
            return _prepare(session, vm, guest)

        return self._do(f"prepare VM{number} with {guest.instance}", work, timeout_s, progress)

    def retire(self, number: int, discard: str | None, *, timeout_s: float) -> None:
        def work(session: Session) -> None:
            vm = session.vm(number)
            vms.require_off(vm, self._place, "retire")
            _retire(session, vm, discard)

        self._do(f"retire VM{number}", work, timeout_s)

    # --- power --------------------------------------------------------------

    def start(self, number: int, *, timeout_s: float) -> None:
        def work(session: Session) -> None:
            vm = session.vm(number)
            if vm.power is not Power.ON:
                session.attempt.begin()
                step = vm.domain.resume if vm.state == libvirt.VIR_DOMAIN_PAUSED else vm.domain.create
                _unless_done(step, lambda: vm.domain.isActive() == 1)

        self._do(f"start VM{number}", work, timeout_s)

    def shutdown(self, number: int, *, timeout_s: float) -> None:
        def work(session: Session) -> None:
            vm = session.vm(number)
            if vm.power is not Power.OFF:
                session.attempt.begin()
                # Without flags libvirt asks the guest's agent if one answers, else it presses the button.
                _unless_done(vm.domain.shutdown, lambda: vm.domain.isActive() == 0)

        self._do(f"shut down VM{number}", work, timeout_s)

    def stop(self, number: int, *, timeout_s: float) -> None:
        def work(session: Session) -> None:
            vm = session.vm(number)
            if vm.power is not Power.OFF:
                session.attempt.begin()
                _unless_done(vm.domain.destroy, lambda: vm.domain.isActive() == 0)

        self._do(f"stop VM{number}", work, timeout_s)

    # --- images -------------------------------------------------------------

    def drop_image(self, key: str, *, timeout_s: float) -> None:
        self._do(f"delete image {key}", lambda session: session.store().drop_image(key), timeout_s)

    # --- capture ------------------------------------------------------------

    def ended(self, number: int, *, timeout_s: float) -> Ended:
        def work(session: Session) -> Ended:
            return ended(session.vm(number), self._place)

        return self._do(f"ask how VM{number} ended", work, timeout_s, changes=False)

    def take_disks(
        self, number: int, into: Path, make_room: MakeRoom, progress: Progress, *, timeout_s: float
    ) -> TakenDisks:
        def work(session: Session) -> TakenDisks:
            capture = Capture(partial(session.vm, number), session.store(), self._place)
            return capture.take(into, make_room)

        return self._do(f"copy the disks of VM{number}", work, timeout_s, progress)

    def close(self) -> None:
        self._connection.close()

    def _do(
        self,
        what: str,
        work: Callable[[Session], T],
        timeout_s: float,
        progress: Progress | None = None,
        *,
        changes: bool = True,
    ) -> T:
        def with_session(line: Line, attempt: Attempt) -> T:
            host = self._host_on(line)
            return work(Session(host, self._connection, self._place, self._settings, attempt))

        what = f"{what} on {self._place.node}"
        return self._connection.do(
            what, with_session, timeout_s=timeout_s, progress=progress, changes=changes
        )

    def _host_on(self, line: Line) -> Host:
        """Return what is known of the host; a new connection may lead to one that restarted."""
        with self._host_lock:
            if self._host is None or self._host.line is not line:
                self._host = Host(line, self._place, self._settings)
            return self._host


def _define(session: Session, offer: OfferedVm) -> None:
    place = session.place
    attachments = [_attachment(session, name) for name in offer.networks]
    nics = tuple(Nic(target, place.mac(offer.number, index)) for index, target in enumerate(attachments))
    frame = session.new_frame(offer.number, new_size(offer.memory_mib, offer.cpus), nics)
    session.define(domain_xml(frame, Mark(place.site, place.node, offer.number, offer.disk_gib)))


def _attachment(session: Session, name: str) -> Attachment:
    """Return what a network's name stands for; raises Refused if the host does not have it."""
    networks = session.settings.networks
    target = networks.get(name)
    if target is None:
        raise Refused(
            f"{session.place.node} has no network {name}; it has: {', '.join(sorted(networks))}",
            remedy=f"add it to the node's setting networks, for example networks={name}=bridge:br0",
        )
    if target.kind == "network":
        try:
            session.connection.networkLookupByName(target.source)
        except libvirt.libvirtError as error:
            if code(error) != libvirt.VIR_ERR_NO_NETWORK:
                raise
            raise Refused(
                f"{session.place.node} has no libvirt network {target.source}, meant by network {name}",
                remedy="define it on the host with virsh net-define, or change the node's setting networks",
            ) from None
    return target


def _prepare(session: Session, vm: vms.Vm, guest: GuestSpec) -> tuple[str, ...]:
    attempt, machine = session.attempt, guest.image.machine
    shape = shape_for(
        machine,
        len(vm.configuration.nics),
        session.host.offers(attempt),
        has_uefi=session.host.offer(attempt).has_uefi,
    )
    frame = session.frame(vm)
    _refuse_if_elsewhere(session, vm, guest.instance)
    store = session.store()
    parents = store.ensure_image(guest.image)
    disks = store.ensure_instance(guest.instance, guest.image, parents)
    media = Media(disks, store.put_seed(vm.number, guest.seed), store.nvram_path(guest.instance))
    _forget_saved(session, vm)
    mark = session.mark(vm, instance=guest.instance, facts=guest.metadata)
    session.define(domain_xml(frame, mark, shape, media, title=guest.hostname))
    return shape.remarks


def _retire(session: Session, vm: vms.Vm, discard: str | None) -> None:
    if discard is not None:
        _refuse_if_elsewhere(session, vm, discard)
    _forget_saved(session, vm)
    session.define(domain_xml(session.frame(vm), session.mark(vm)))
    store = session.store()
    store.drop_seed(vm.number)
    if discard is not None:
        store.drop_instance(discard)


def _remove(session: Session, vm: vms.Vm) -> None:
    # Disks first: a removal that breaks off here is simply repeated, and nothing is left without a VM.
    store = session.store()
    store.drop_seed(vm.number)
    if vm.instance is not None and not _elsewhere(session, vm, vm.instance):
        store.drop_instance(vm.instance)
    session.attempt.begin()
    vm.domain.undefineFlags(_UNDEFINE)


def _elsewhere(session: Session, vm: vms.Vm, instance: str) -> vms.Vm | None:
    """Return another VM of this host that the instance is on, if there is one."""
    owned = vms.list_vms(session.connection, session.place).owned
    return next((other for other in owned if other.instance == instance and other.number != vm.number), None)


def _refuse_if_elsewhere(session: Session, vm: vms.Vm, instance: str) -> None:
    other = _elsewhere(session, vm, instance)
    if other is not None:
        raise Refused(
            f"instance {instance} is on VM{other.number} of {session.place.node} as well as VM{vm.number}",
            remedy=f"retire VM{other.number} first",
        )


def _forget_saved(session: Session, vm: vms.Vm) -> None:
    """Delete memory that somebody saved of a VM: with other disks it would corrupt them."""
    if vm.domain.hasManagedSaveImage():
        session.attempt.begin()
        vm.domain.managedSaveRemove()


def _unless_done(step: Callable[[], Any], is_done: Callable[[], bool]) -> None:
    """Take a step; an error does not count if what it was for has come about meanwhile."""
    try:
        step()
    except libvirt.libvirtError as error:
        if code(error) == libvirt.VIR_ERR_NO_DOMAIN or (
            code(error) == libvirt.VIR_ERR_OPERATION_INVALID and is_done()
        ):
            return
        raise

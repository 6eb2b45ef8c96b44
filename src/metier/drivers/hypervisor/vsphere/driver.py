"""The vSphere driver: every verb of the protocol, as steps of the other modules."""

import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from metier.domain.errors import DriverError, Refused, Unavailable
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
from metier.drivers.hypervisor.vsphere import devices, vms
from metier.drivers.hypervisor.vsphere.attempt import Attempt
from metier.drivers.hypervisor.vsphere.capturing import Capture, ended
from metier.drivers.hypervisor.vsphere.configuration import Place, Settings, place_of
from metier.drivers.hypervisor.vsphere.endpoint import Endpoint
from metier.drivers.hypervisor.vsphere.host import (
    Host,
    attachment,
    find_host,
    host_facts,
    require_connected,
)
from metier.drivers.hypervisor.vsphere.mark import Mark, mark_options
from metier.drivers.hypervisor.vsphere.properties import finish, identity
from metier.drivers.hypervisor.vsphere.shape import shape_for
from metier.drivers.hypervisor.vsphere.sharing import release, share
from metier.drivers.hypervisor.vsphere.store import Store
from metier.drivers.hypervisor.vsphere.vmware import vim
from metier.drivers.settings import parse_settings

T = TypeVar("T")

_NEW_GUEST = "otherLinux64Guest"


class Session:
    """What the steps of one call work with."""

    def __init__(self, endpoint: Endpoint, host: Host, place: Place, attempt: Attempt) -> None:
        self.endpoint, self.host, self.place, self.attempt = endpoint, host, place, attempt
        self.store = Store(endpoint, host, place, attempt)

    def listed(self) -> vms.Listed:
        """Return what VMs the host has now."""
        return vms.list_vms(self.endpoint, self.host, self.place)

    def vm(self, number: int) -> vms.Vm:
        """Return Metier's VM `number`; raises Refused."""
        return vms.given(self.look_up(number), self.place, number)

    def look_up(self, number: int) -> vms.Vm | None:
        """Return it, or None if there is none; raises Refused if another has its name."""
        return vms.look_up(self.endpoint, self.host, self.place, number)

    def begin(self, method: Callable[..., Any], *arguments: Any) -> Any:
        """Begin a task that changes something, and return its result when it has ended."""
        self.attempt.begin()
        return finish(self.endpoint, self.attempt, method(*arguments))

    def reconfigure(self, vm: vms.Vm, **changes: Any) -> None:
        """Change a VM's configuration."""
        self.begin(vm.ref.ReconfigVM_Task, vim.vm.ConfigSpec(**changes))

    def switch(self, method: Callable[..., Any], *arguments: Any) -> None:
        """Change a VM's power; that somebody else has done so meanwhile does not count as an error."""
        try:
            self.begin(method, *arguments)
        except vim.fault.InvalidPowerState as fault:
            if fault.existingState != fault.requestedState:
                raise

    def mark(self, vm: vms.Vm, **changes: Any) -> list[Any]:
        """Return the mark of a VM with nothing on it but `changes`."""
        disk_gib = vm.mark.disk_gib if vm.mark else 0
        return mark_options(Mark(self.place.site, self.place.node, vm.number, disk_gib, **changes))


class Vsphere:
    """One host node reached by VMware's API; keeps `Hypervisor`, `Watching`, `Consoles` and `Capturing`.

    Instances are children of their image, but a capture comes whole, so
    `Capability.LINKED_INSTANCES`, which promises children, is not announced.
    """

    CAPABILITIES: ClassVar[frozenset[Capability]] = frozenset(Capability) - {Capability.LINKED_INSTANCES}
    SETTINGS: ClassVar[type[Settings]] = Settings

    def __init__(self, place: Place, settings: Settings) -> None:
        self._place = place
        self._settings = settings
        self._server = share(settings)
        self._is_closed = False
        self._known: tuple[int, Host] | None = None
        self._defining = threading.Lock()
        self._watchers: list[Callable[[], None]] = []

    @classmethod
    def open(cls, node: str, settings: Mapping[str, str]) -> "Vsphere":
        """Return the driver for one host node; does not connect yet."""
        parsed = parse_settings(Settings, "vsphere", settings)
        return cls(place_of(node, parsed), parsed)

    @classmethod
    def check_settings(cls, settings: Mapping[str, str]) -> None:
        """Raise WrongUsage if a setting is missing, unknown or malformed; connects to nothing."""
        place_of("node", parse_settings(Settings, "vsphere", settings))

    # --- what there is ------------------------------------------------------

    def facts(self, *, timeout_s: float) -> HostFacts:
        def work(session: Session) -> HostFacts:
            return host_facts(session.endpoint, session.host)

        return self._do("ask for the facts", work, timeout_s)

    def report(self, *, timeout_s: float) -> VmReport:
        def work(session: Session) -> VmReport:
            listed = session.listed()
            facts = tuple(vm.facts(session.host) for vm in listed.owned)
            running = sum(vm.power is not Power.OFF for vm in listed.others)
            return VmReport(facts, running, tuple(listed.strays))

        return self._do("list the VMs", work, timeout_s)

    def watch(self, changed: Callable[[], None]) -> None:
        self._watchers.append(changed)
        if self._known is not None:
            self._listen(self._known[1])

    def console(self, number: int, *, timeout_s: float) -> str:
        def work(session: Session) -> str:
            url = session.endpoint.url
            return f"vmrc://{url.host}:{url.port}/?moid={identity(session.vm(number).ref)}"

        return self._do(f"find the console of VM{number}", work, timeout_s)

    # --- VMs ----------------------------------------------------------------

    def define_vm(self, offer: OfferedVm, *, timeout_s: float) -> None:
        def work(session: Session) -> None:
            with session.attempt.alone(self._defining, "an earlier call still hangs"):
                if session.look_up(offer.number) is None:
                    _define(session, offer)

        self._do(f"define VM{offer.number}", work, timeout_s)

    def remove_vm(self, number: int, *, timeout_s: float) -> None:
        def work(session: Session) -> None:
            listed = session.listed()
            vm = vms.find(listed, number)
            if vm is not None:
                vms.require_off(vm, self._place, "remove")
                _remove(session, vm, listed)

        self._do(f"remove VM{number}", work, timeout_s)

    def prepare(
        self, number: int, guest: GuestSpec, progress: Progress, *, timeout_s: float
    ) -> tuple[str, ...]:
        def work(session: Session) -> tuple[str, ...]:
            listed = session.listed()
            vm = vms.get(listed, self._place, number)
            vms.require_off(vm, self._place, "prepare")
            _refuse_if_elsewhere(session, vm, guest.instance, listed)
            return _prepare(session, vm, guest)

        return self._do(f"prepare VM{number} with {guest.instance}", work, timeout_s, progress)

    def retire(self, number: int, discard: str | None, *, timeout_s: float) -> None:
        def work(session: Session) -> None:
            listed = session.listed()
            vm = vms.get(listed, self._place, number)
            vms.require_off(vm, self._place, "retire")
            if discard is not None:
                _refuse_if_elsewhere(session, vm, discard, listed)
            _retire(session, vm, discard)

        self._do(f"retire VM{number}", work, timeout_s)

    # --- power --------------------------------------------------------------

    def start(self, number: int, *, timeout_s: float) -> None:
        def work(session: Session) -> None:
            vm = session.vm(number)
            if vm.power is not Power.ON:
                # The host is named, or a cluster that balances load would choose one.
                session.switch(vm.ref.PowerOnVM_Task, session.host.ref)

        self._do(f"start VM{number}", work, timeout_s)

    def shutdown(self, number: int, *, timeout_s: float) -> None:
        def work(session: Session) -> None:
            vm = session.vm(number)
            if vm.power is not Power.OFF:
                _ask_guest(session, vm)

        self._do(f"shut down VM{number}", work, timeout_s)

    def stop(self, number: int, *, timeout_s: float) -> None:
        def work(session: Session) -> None:
            vm = session.vm(number)
            if vm.power is not Power.OFF:
                session.switch(vm.ref.PowerOffVM_Task)

        self._do(f"stop VM{number}", work, timeout_s)

    # --- images -------------------------------------------------------------

    def drop_image(self, key: str, *, timeout_s: float) -> None:
        self._do(f"delete image {key}", lambda session: session.store.drop_image(key), timeout_s)

    # --- capture ------------------------------------------------------------

    def ended(self, number: int, *, timeout_s: float) -> Ended:
        def work(session: Session) -> Ended:
            return ended(session.vm(number), self._place)

        return self._do(f"ask how VM{number} ended", work, timeout_s)

    def take_disks(
        self, number: int, into: Path, make_room: MakeRoom, progress: Progress, *, timeout_s: float
    ) -> TakenDisks:
        def work(session: Session) -> TakenDisks:
            capture = Capture(partial(session.vm, number), session.store, self._place, session.attempt)
            return capture.take(into, make_room)

        return self._do(f"copy the disks of VM{number}", work, timeout_s, progress)

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            for changed in self._watchers:
                self._server.watch.remove(changed)
            release(self._settings)

    def _do(
        self,
        what: str,
        work: Callable[[Session], T],
        timeout_s: float,
        progress: Progress | None = None,
    ) -> T:
        what = f"{what} on {self._place.node}"
        if self._is_closed:
            raise Unavailable(f"cannot {what}: the connection to {self._settings.url} was closed")

        def with_session(endpoint: Endpoint, attempt: Attempt) -> T:
            host = self._host(endpoint)
            require_connected(endpoint, host, self._place)
            return work(Session(endpoint, host, self._place, attempt))

        try:
            return self._server.endpoint.do(what, with_session, timeout_s=timeout_s, progress=progress)
        except DriverError:
            self._known = None  # whatever it was, the inventory is looked at anew
            raise

    def _host(self, endpoint: Endpoint) -> Host:
        known = self._known
        if known is None or known[0] != endpoint.instance:
            known = (endpoint.instance, find_host(endpoint, self._settings, self._place))
            self._known = known
        self._listen(known[1])
        return known[1]

    def _listen(self, host: Host) -> None:
        for changed in self._watchers:
            self._server.watch.add(changed, identity(host.ref))
        self._server.watch.ensure()


def _define(session: Session, offer: OfferedVm) -> None:
    place, host = session.place, session.host
    backings = [attachment(session.endpoint, host, place, name) for name in offer.networks]
    spec = vim.vm.ConfigSpec(
        name=place.vm(offer.number),
        guestId=_NEW_GUEST,
        instanceUuid=place.vm_id(place.node, offer.number),
        numCPUs=offer.cpus,
        memoryMB=offer.memory_mib,
        # The host makes a folder of the VM's name, or another one where that name is taken.
        files=vim.vm.FileInfo(vmPathName=f"[{host.datastore.name}]"),
        extraConfig=mark_options(Mark(place.site, place.node, offer.number, offer.disk_gib)),
        deviceChange=devices.new_nics(backings),
    )
    session.begin(host.folder.CreateVM_Task, spec, host.pool, host.ref)


def _prepare(session: Session, vm: vms.Vm, guest: GuestSpec) -> tuple[str, ...]:
    store = session.store
    shape = shape_for(guest.image.machine, len(vm.nics))
    parents = store.ensure_image(guest.image)
    seed = store.put_seed(vm.number, guest.seed)
    with store.alone("instances"):
        disks = store.plan_instance(guest.instance, guest.image, parents)
        session.reconfigure(
            vm,
            guestId=shape.guest_id,
            firmware=shape.firmware,
            deviceChange=devices.with_instance(vm, shape, disks, seed),
            extraConfig=session.mark(
                vm, instance=guest.instance, image=guest.image.key, facts=guest.metadata
            ),
        )
    return shape.remarks


def _retire(session: Session, vm: vms.Vm, discard: str | None) -> None:
    session.reconfigure(vm, deviceChange=devices.without_instance(vm), extraConfig=session.mark(vm))
    session.store.drop_seed(vm.number)
    if discard is not None:
        session.store.drop_instance(discard)


def _remove(session: Session, vm: vms.Vm, listed: vms.Listed) -> None:
    # VMware deletes with a VM whatever disks are on it, be they an image's: none may be left there.
    changes = devices.without_instance(vm)
    if changes:
        session.reconfigure(vm, deviceChange=changes)
    session.store.drop_seed(vm.number)
    # The VM goes last: a removal that breaks off here is simply repeated, and nothing is left without a VM.
    if vm.instance is not None and _elsewhere(vm, vm.instance, listed) is None:
        session.store.drop_instance(vm.instance)
    session.begin(vm.ref.Destroy_Task)


def _ask_guest(session: Session, vm: vms.Vm) -> None:
    session.attempt.begin()
    try:
        vm.ref.ShutdownGuest()
    except vim.fault.ToolsUnavailable as fault:
        raise Refused(
            f"cannot {session.attempt.what}: its guest runs no VMware Tools",
            remedy="install open-vm-tools in the image; until then the power is cut",
        ) from fault
    except vim.fault.InvalidPowerState as fault:
        if fault.existingState != "poweredOff":
            raise


def _elsewhere(vm: vms.Vm, instance: str, listed: vms.Listed) -> vms.Vm | None:
    """Return another VM of this host that the instance is on, if there is one."""
    return next(
        (other for other in listed.owned if other.instance == instance and other.number != vm.number), None
    )


def _refuse_if_elsewhere(session: Session, vm: vms.Vm, instance: str, listed: vms.Listed) -> None:
    other = _elsewhere(vm, instance, listed)
    if other is not None:
        raise Refused(
            f"instance {instance} is on VM{other.number} of {session.place.node} as well as VM{vm.number}",
            remedy=f"retire VM{other.number} first",
        )

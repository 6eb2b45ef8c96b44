"""The vSphere driver: every verb of the protocol, as steps of the other modules."""

import threading
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import ClassVar, TypeVar

from metier.domain.errors import DriverError, Unavailable
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
from metier.drivers.hypervisor.vsphere import life, vms
from metier.drivers.hypervisor.vsphere.aside import Memory
from metier.drivers.hypervisor.vsphere.attempt import Attempt
from metier.drivers.hypervisor.vsphere.capturing import Capture, ended
from metier.drivers.hypervisor.vsphere.configuration import Place, Settings, place_of
from metier.drivers.hypervisor.vsphere.endpoint import Endpoint
from metier.drivers.hypervisor.vsphere.facts import host_facts
from metier.drivers.hypervisor.vsphere.host import (
    Host,
    find_host,
    require_connected,
)
from metier.drivers.hypervisor.vsphere.session import Session
from metier.drivers.hypervisor.vsphere.sharing import release, share
from metier.drivers.hypervisor.vsphere.sourcing import ForeignVms
from metier.drivers.hypervisor.vsphere.staged import adopt
from metier.drivers.hypervisor.vsphere.vmware import identity
from metier.drivers.settings import parse_settings

T = TypeVar("T")


class Vsphere(ForeignVms):
    """One host node reached by VMware's API; keeps all protocols of `metier.drivers.hypervisor.api`."""

    CAPABILITIES: ClassVar[frozenset[Capability]] = frozenset(Capability)
    SETTINGS: ClassVar[type[Settings]] = Settings

    def __init__(self, place: Place, settings: Settings) -> None:
        self._place = place
        self._settings = settings
        self._server = share(settings)
        self._is_closed = False
        self._known: tuple[int, Host] | None = None
        self._defining = threading.Lock()
        self._aside = Memory()
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
            facts = [vm.facts(session.host, self._settings) for vm in listed.owned]
            aside = session.aside.all([vm.number for vm in facts])
            facts += [vm.facts(vms.IMAGE_FORMS, self._settings) for vm in aside]
            running = sum(vm.power is not Power.OFF for vm in listed.others)
            in_order = tuple(sorted(facts, key=lambda vm: vm.number))
            return VmReport(in_order, running, listed.strays, session.state.patch_level)

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
                life.define(session, offer)

        self._do(f"define VM{offer.number}", work, timeout_s)

    def remove_vm(self, number: int, *, timeout_s: float) -> None:
        self._do(f"remove VM{number}", lambda session: life.remove(session, number), timeout_s)

    def prepare(
        self, number: int, guest: GuestSpec, progress: Progress, *, timeout_s: float
    ) -> tuple[str, ...]:
        def work(session: Session) -> tuple[str, ...]:
            return life.prepare(session, number, guest)

        return self._do(f"prepare VM{number} with {guest.instance}", work, timeout_s, progress)

    def retire(self, number: int, discard: str | None, *, timeout_s: float) -> None:
        self._do(f"retire VM{number}", lambda session: life.retire(session, number, discard), timeout_s)

    def adopt_vms(self, offered: Collection[int], *, timeout_s: float) -> tuple[str, ...]:
        def work(session: Session) -> tuple[str, ...]:
            with session.attempt.alone(self._defining, "an earlier call still hangs"):
                return adopt(session, self._settings, offered)

        return self._do("take over the VMs that are handed over", work, timeout_s)

    # --- power --------------------------------------------------------------

    def start(self, number: int, *, timeout_s: float) -> None:
        self._do(f"start VM{number}", lambda session: life.start(session, number), timeout_s)

    def shutdown(self, number: int, *, timeout_s: float) -> None:
        self._do(f"shut down VM{number}", lambda session: life.ask_guest(session, number), timeout_s)

    def stop(self, number: int, *, timeout_s: float) -> None:
        self._do(f"stop VM{number}", lambda session: life.stop(session, number), timeout_s)

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
            state = require_connected(endpoint, host, self._place)
            return work(Session(endpoint, host, state, self._place, attempt, self._aside))

        try:
            return self._server.endpoint.do(what, with_session, timeout_s=timeout_s, progress=progress)
        except DriverError:
            # Whatever it was, inventory and datastore are looked at anew.
            self._known = None
            self._aside.distrust()
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

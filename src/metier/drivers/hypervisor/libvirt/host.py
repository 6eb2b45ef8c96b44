"""What is known of a host itself; learnt once for each connection: a host changes when it restarts."""

import threading
from contextlib import suppress

import libvirt

from metier.domain.hardware import Hardware
from metier.domain.host_details import HostDetails, StoreRoom
from metier.drivers.hypervisor.api import HostFacts
from metier.drivers.hypervisor.libvirt.acceleration import runs_with_kvm
from metier.drivers.hypervisor.libvirt.attempt import Attempt
from metier.drivers.hypervisor.libvirt.configuration import Place, Settings
from metier.drivers.hypervisor.libvirt.events import Line
from metier.drivers.hypervisor.libvirt.offer import Offer, has_model, read_offer
from metier.drivers.hypervisor.libvirt.report import Reporter
from metier.drivers.hypervisor.libvirt.shape import Offers

# A host node runs VM manager images and nothing else.
_HOST_FORMS = frozenset(("vmm-host",))


class Host:
    """One host, through one connection; safe to use from many threads."""

    def __init__(self, line: Line, place: Place, settings: Settings) -> None:
        self.line = line
        self._place = place
        self._settings = settings
        self.reporter = Reporter(line, place, settings.networks)
        self._learning = threading.Lock()
        self._accelerated: bool | None = None
        self._offer: Offer | None = None
        self._models: dict[tuple[str, str, str], bool] = {}

    def is_accelerated(self, attempt: Attempt) -> bool:
        """Whether a guest was seen to run with KVM; the first call starts one."""
        with self._learning:
            if self._accelerated is None:
                self._accelerated = runs_with_kvm(self.line, attempt, self._place)
            return self._accelerated

    def uses_kvm(self, attempt: Attempt) -> bool:
        """Whether guests are to run by KVM: as the operator said, or as was seen."""
        if self._settings.emulation == "auto":
            return self.is_accelerated(attempt)
        return self._settings.emulation == "kvm"

    def offer(self, attempt: Attempt) -> Offer:
        """Return what guests can be given."""
        kind = "kvm" if self.uses_kvm(attempt) else "qemu"
        with self._learning:
            if self._offer is None:
                self._offer = read_offer(self.line.connection, kind)
            return self._offer

    def offers(self, attempt: Attempt) -> Offers:
        """Return the question whether the host has a model, each tried at most once."""
        buses = self.offer(attempt).buses

        def has(machine: str, kind: str, model: str) -> bool:
            if kind == "bus":
                return model in buses[machine]
            with self._learning:
                asked = (machine, kind, model)
                if asked not in self._models:
                    self._models[asked] = has_model(self.line.connection, attempt, self._place, *asked)
                return self._models[asked]

        return has

    def facts(self, attempt: Attempt, room: StoreRoom) -> HostFacts:
        """Return the host as a node, which keeps its disks where there is `room`."""
        architecture, memory_mib, cpus, *_ = self.line.connection.getInfo()
        networks = frozenset(self._settings.networks)
        hardware = Hardware(
            memory_mib=int(memory_mib),
            cpus=int(cpus),
            disk_gib=room.free_gib,
            architecture=str(architecture),
            nics=len(networks),
            networks=networks,
            image_forms=_HOST_FORMS,
        )
        libvirt_version = _version(self.line.connection.getLibVersion())
        product = f"libvirt {libvirt_version}, QEMU {_version(self.line.connection.getVersion())}"
        accelerated = self._settings.emulation != "tcg" and self.is_accelerated(attempt)
        # No patch level: versions of libvirt and QEMU say little of the system that they are part of.
        details = HostDetails(product=product, stores=(room,), networks=self._own_networks())
        return HostFacts(hardware, product, accelerated, details)

    def _own_networks(self) -> tuple[str, ...]:
        """Return libvirt's own networks, as the setting wants them; none where it serves none."""
        with suppress(libvirt.libvirtError):  # a host without that part of libvirt is a host all the same
            return tuple(sorted(f"network:{name}" for name in self.line.connection.listNetworks()))
        return ()


def _version(number: int) -> str:
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"

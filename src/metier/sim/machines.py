"""The things in a simulated data centre: machines, their power controllers, VMs and stores.

They model the outside, never Metier: they know no tiers, only metal, the identity each
VM was given, and what is broken.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from metier.domain import observation
from metier.domain.errors import DriverError, OutcomeUnknown, Refused, Unavailable
from metier.domain.hardware import Hardware
from metier.domain.ids import NodeId, SlotId, TierId
from metier.domain.image import OfferedVm
from metier.domain.observation import Power, VmFacts
from metier.drivers.hypervisor.api import Ended

GUEST_FORMS = frozenset({"qcow2", "raw", "vmdk"})


class CallFault(StrEnum):
    """What can go wrong with one call to a VM manager or a power controller."""

    REFUSED = "refused"
    UNAVAILABLE = "unavailable"
    LOST_REQUEST = "lost-request"
    """The outcome is unknown, and nothing was done."""
    LOST_ANSWER = "lost-answer"
    """The outcome is unknown, and it was done."""


class BmcFault(StrEnum):
    """How a power controller (BMC) can misbehave."""

    NONE = "none"
    DEAD = "dead"
    """It does not answer."""
    MUTE = "mute"
    """It answers, and says neither on nor off."""
    REFUSES = "refuses"
    """It tells the truth and refuses every order."""
    IGNORES = "ignores"
    """It accepts orders and does nothing."""
    SAYS_ON = "says-on"
    """It says on, whatever is."""
    SAYS_OFF = "says-off"
    """It says off, whatever is."""
    FLAPS = "flaps"
    """Every other call goes unanswered."""


@dataclass(slots=True)
class Bmc:
    """A machine's power controller.

    Attributes:
        delay_s: How much longer than usual each call takes, in seconds.
        calls: How many it was asked to do.
    """

    fault: BmcFault = BmcFault.NONE
    delay_s: float = 0.0
    calls: int = 0


@dataclass(slots=True)
class Vm:
    """A VM that Metier defined on a machine.

    Attributes:
        ready_at: When its services answer; meaningless while it is off.
        off_at: When its guest OS will have shut down; None while it is not shutting down.
        ended: How it last went off.
        answers: False while its services are broken.
        obeys: False while its guest OS does not hear requests to shut down.
        by_hand: It was started by another tool than Metier.
        seed: The personality it was prepared with, as Metier's personaliser made it.
        fixed_address: The address in its personality; None if it asks DHCP.
        address: The address it has now.
        metadata: What Metier wrote next to its mark.
        is_aside: Metier shut it down, and its configuration is not where its host looks for it.
        staged_as: The name by which a person staged it and handed it over; empty for one that Metier made.
        is_handed_over: The driver's settings still name it.
    """

    number: int
    hardware: Hardware
    is_on: bool = False
    instance: str | None = None
    ready_at: datetime | None = None
    off_at: datetime | None = None
    ended: Ended = Ended.UNKNOWN
    answers: bool = True
    obeys: bool = True
    by_hand: bool = False
    shutdown_asked: bool = False
    seed: bytes | None = None
    hostname: str = ""
    fixed_address: str | None = None
    address: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    is_aside: bool = False
    staged_as: str = ""
    is_handed_over: bool = True

    @property
    def slot(self) -> SlotId | None:
        """The slot whose identity it was prepared with."""
        tier, number = self.metadata.get("tier"), self.metadata.get("slot")
        return None if tier is None or number is None else SlotId(TierId(tier), int(number))

    def serves(self, now: datetime) -> bool:
        """Say whether its services answer."""
        return self.is_on and self.answers and (self.ready_at is None or now >= self.ready_at)

    def switch_off(self, ended: Ended) -> None:
        """Go off, if it is on; `ended` says how."""
        if self.is_on:
            self.ended = ended
        self.is_on, self.off_at, self.shutdown_asked, self.address = False, None, False, None

    def set_memory(self, memory_mib: int) -> None:
        """Change its configuration, as an administrator of the host may."""
        self.hardware = replace(self.hardware, memory_mib=memory_mib)

    def facts(self) -> VmFacts:
        """Return what its host reports of it; of addresses only what DHCP gave."""
        leased = self.address if self.fixed_address is None else None
        return VmFacts(
            self.number,
            Power.ON if self.is_on else Power.OFF,
            self.hardware,
            self.instance,
            leased,
            is_aside=self.is_aside,
            is_staged=bool(self.staged_as) and self.is_handed_over,
        )


@dataclass(slots=True)
class Instance:
    """A private child of an image; `written` is what its guest wrote."""

    image: str
    written: bytes = b""


@dataclass(slots=True)
class Store:
    """Where a host keeps disks; several hosts may share one.

    Attributes:
        images: Bytes of the images in it, by key; `copies` counts how often one was copied.
    """

    free_bytes: int = 500 << 30
    images: dict[str, int] = field(default_factory=dict)
    instances: dict[str, Instance] = field(default_factory=dict)
    copies: int = 0


@dataclass(slots=True)
class Stray:
    """A VM of Metier's that a person moved away from its host."""

    origin: NodeId
    vm: Vm

    def facts(self) -> observation.Stray:
        """Return what the host that it is on now reports of it."""
        power = Power.ON if self.vm.is_on else Power.OFF
        return observation.Stray(self.origin, self.vm.number, power)


@dataclass(slots=True)
class Machine:
    """A physical machine with a VM manager, or without one.

    Attributes:
        number: Counts machines up; its guests' DHCP addresses are made of it.
        store: Where its guests' disks lie.
        boot_s: Seconds from power to its VM manager's first answer.
        ready_at: When its VM manager answers; None if it does as soon as it is on.
        boots_from_network: Without DHCP it comes to no VM manager.
        boot_hangs: From now on it never comes so far, each time it is switched on.
        is_hung: This boot does not come to its VM manager.
        has_mains: False while there is no current: neither for it nor for its BMC.
        reachable: False while the network to it and its guests is broken.
        delay_s: How much longer than usual each call to its VM manager takes.
        foreign: VMs that others made, by name, and whether each is running.
        staged: Of those, which a person made to be handed over, by name, with what each has; also while
            Metier has them.
        patch_level: Of its VM manager.
        puts_aside: A VM that Metier shut down is unregistered, and its configuration moved aside.
        strays: VMs that Metier made on another host and a person moved here.
        faults: What the next calls of a verb (`start`, `on`, …) meet, first to last.
        watchers: Called after each change of a VM's power.
    """

    name: NodeId
    number: int
    hardware: Hardware
    store: Store
    boot_s: float = 30.0
    is_on: bool = False
    ready_at: datetime | None = None
    boots_from_network: bool = False
    boot_hangs: bool = False
    is_hung: bool = False
    has_mains: bool = True
    reachable: bool = True
    delay_s: float = 0.0
    has_vmm: bool = True
    has_bmc: bool = True
    has_uefi: bool = True
    accelerated: bool = True
    bmc: Bmc = field(default_factory=Bmc)
    foreign: dict[str, bool] = field(default_factory=dict)
    staged: dict[str, Hardware] = field(default_factory=dict)
    patch_level: str = "100"
    puts_aside: bool = False
    vms: dict[int, Vm] = field(default_factory=dict)
    strays: list[Stray] = field(default_factory=list)
    faults: dict[str, list[CallFault]] = field(default_factory=dict)
    watchers: list[Callable[[], None]] = field(default_factory=list)

    def vmm_answers(self, now: datetime) -> bool:
        """Say whether its VM manager can be asked now."""
        is_up = self.is_on and not self.is_hung and (self.ready_at is None or now >= self.ready_at)
        return self.has_vmm and self.reachable and is_up

    def catch_up(self, now: datetime) -> None:
        """Let everything that was to happen by now have happened."""
        for vm in self.vms.values():
            if vm.off_at is not None and vm.off_at <= now:
                vm.switch_off(Ended.BY_GUEST)

    def to_come(self, now: datetime) -> list[datetime]:
        """Return when something about it will have changed by itself: it or a VM is up, or shut down."""
        moments = [self.ready_at]
        for vm in self.vms.values():
            moments += [vm.ready_at, vm.off_at]
        return [moment for moment in moments if moment is not None and moment > now]

    def lose_power(self) -> None:
        """Go off, and every VM with it; its VM manager, when it is back, cannot tell how they ended."""
        self.is_on = self.is_hung = False
        self.foreign = dict.fromkeys(self.foreign, False)
        for vm in (*self.vms.values(), *(stray.vm for stray in self.strays)):
            vm.switch_off(Ended.UNKNOWN)

    @contextmanager
    def meet_fault(self, verb: str, what: str) -> Iterator[None]:
        """Let a call of `verb` meet the fault that was planted for it, if there is one.

        Args:
            verb: As `DataCentre.plant` was told it.
            what: What the call is to do, for messages: `start VM1 on host-1`.

        Raises:
            DriverError: There is one.
        """
        planted = self.faults.get(verb)
        fault = planted.pop(0) if planted else None
        if fault is not None and fault is not CallFault.LOST_ANSWER:
            raise _error_of(fault, what)
        yield
        if fault is CallFault.LOST_ANSWER:
            raise _error_of(fault, what)

    def lost(self) -> list[str]:
        """Return the staged VMs that are neither others' any more, nor in Metier's hands."""
        taken = {vm.staged_as for vm in self.vms.values()}
        return [name for name in self.staged if name not in self.foreign and name not in taken]

    def is_steady(self) -> bool:
        """Say whether it answers the same question the same way and as fast, until something changes."""
        is_bmc_steady = self.bmc.fault is not BmcFault.FLAPS and not self.bmc.delay_s
        return is_bmc_steady and not self.delay_s and not any(self.faults.values())


def _error_of(fault: CallFault, what: str) -> DriverError:
    match fault:
        case CallFault.REFUSED:
            return Refused(f"cannot {what}: a planted fault refuses it")
        case CallFault.UNAVAILABLE:
            return Unavailable(f"cannot {what}: a planted fault lets no request through")
        case CallFault.LOST_REQUEST | CallFault.LOST_ANSWER:
            return OutcomeUnknown(
                f"cannot tell whether to {what} worked: a planted fault lets no answer back"
            )


def hardware_of(offer: OfferedVm) -> Hardware:
    """Return what a VM made for `offer` has."""
    return Hardware(
        offer.memory_mib,
        offer.cpus,
        offer.disk_gib,
        nics=len(offer.networks),
        networks=frozenset(offer.networks),
        image_forms=GUEST_FORMS,
    )

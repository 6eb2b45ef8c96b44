"""What drivers last saw of a node, and when; old and partial by nature."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from metier.domain.hardware import Hardware
from metier.domain.host_details import NO_DETAILS, HostDetails
from metier.domain.ids import NodeId


class Power(StrEnum):
    """Whether a machine is on; unknown is a third value, not off."""

    ON = "on"
    OFF = "off"
    UNKNOWN = "unknown"


class Health(StrEnum):
    """Roll-up of a node's collectors."""

    NORMAL = "normal"
    CRITICAL = "critical"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class VmFacts:
    """One VM that Metier owns on a host, as its VM manager reports it.

    Attributes:
        number: n of its slot `VM<n>`, at least 1.
        power: `off` covers shut off and crashed; `unknown` anything in between.
        hardware: Its configuration; None when the host would not say.
        instance: Id of the instance attached to it, if any.
        address: Its guest's address as the host knows it (lease, agent), if it does.
        macs: Hardware addresses of its interfaces in order; empty where the host does not say.
        is_aside: Metier shut it down and moved its configuration aside: the host's own tools do not
            show it until it is started or its `.vmx` is moved back.
        is_staged: A person made it and handed it over; it is given back, and never deleted.
    """

    number: int
    power: Power
    hardware: Hardware | None = None
    instance: str | None = None
    address: str | None = None
    macs: tuple[str, ...] = ()
    is_aside: bool = False
    is_staged: bool = False


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one collector said last: `ok`, or why not in `message`."""

    collector: str
    ok: bool
    message: str = ""


@dataclass(frozen=True, slots=True)
class Stray:
    """A VM that Metier made on another host of this site and somebody moved here.

    Attributes:
        host: The host node that it was made for.
        number: n of its slot `VM<n>` there.
        power: As the host that it is on now reports it.
    """

    host: NodeId
    number: int
    power: Power


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything last seen of one node.

    Attributes:
        power: As its power controller or host reports it.
        power_at: When that was asked; older evidence proves nothing about later.
        address: Where its guest can be reached, as seen; None if not known.
        health: Roll-up of `checks`.
        health_at: When the collectors last ran.
        checks: One result per collector, in the tier's order.
        failed_checks: How many rounds in a row at least one collector failed.
        vmm_reachable: A host's VM manager answered; None where never asked.
        vmm_at: When it was last asked.
        vmm_failures: How many times in a row it did not answer.
        vmm_error: Why it did not.
        vms: The VMs that Metier owns there, from the last good answer.
        vms_at: When that answer was given.
        foreign_running: How many running VMs there are not Metier's.
        strays: VMs of other hosts that were moved there, from the last good answer.
        hardware: What an inventory reported.
        accelerated: The host runs guests with hardware help; None if not probed.
        details: What the host last told about itself when it was inventoried or staged.
        patch_level: Of its VM manager, from the last good answer; empty where it does not say.
        staging_remarks: What could not be done when it was last staged, and why, one sentence each.
    """

    power: Power = Power.UNKNOWN
    power_at: datetime | None = None
    power_error: str = ""
    address: str | None = None
    health: Health = Health.UNKNOWN
    health_at: datetime | None = None
    checks: tuple[CheckResult, ...] = ()
    failed_checks: int = 0
    vmm_reachable: bool | None = None
    vmm_at: datetime | None = None
    vmm_failures: int = 0
    vmm_error: str = ""
    vms: tuple[VmFacts, ...] | None = None
    vms_at: datetime | None = None
    foreign_running: int = 0
    strays: tuple[Stray, ...] = ()
    hardware: Hardware | None = None
    accelerated: bool | None = None
    details: HostDetails = NO_DETAILS
    patch_level: str = ""
    staging_remarks: tuple[str, ...] = ()

    def vm(self, number: int) -> VmFacts | None:
        """Return VM `number` from the host's last answer, or None if it had none."""
        vms = self.vms or ()
        # Drivers report VMs in order, mostly without gaps: then number n is in place n.
        if 0 < number <= len(vms) and vms[number - 1].number == number:
            return vms[number - 1]
        return next((vm for vm in vms if vm.number == number), None)


NOTHING_SEEN = Observed()

POWER_CONTRADICTED = "its power controller says off, and its VM manager answers"
"""The error in a node's power that is recorded when both cannot be true."""

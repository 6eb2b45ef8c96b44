"""Nodes: the machines under management, and where each one stands."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from metier.domain.hardware import Hardware
from metier.domain.ids import ImageRef, NodeId, SlotId, TierId
from metier.domain.lifecycle import Lifecycle


class NodeKind(StrEnum):
    """Metal, or a virtual machine on a host node."""

    PHYSICAL = "physical"
    VIRTUAL = "virtual"


class Place(StrEnum):
    """Where a node is kept when it is in no tier, or `tier`."""

    DISCOVERED = "discovered"
    QUARANTINED = "quarantined"
    FREE = "free"
    MAINTENANCE = "maintenance"
    RESERVED = "reserved"
    TIER = "tier"


@dataclass(frozen=True, slots=True)
class Placement:
    """Exactly one place; a tier and slot number go with `Place.TIER` alone."""

    place: Place
    tier: TierId | None = None
    slot: int | None = None

    def __post_init__(self) -> None:
        in_tier = self.place is Place.TIER
        if in_tier != (self.tier is not None) or in_tier != (self.slot is not None):
            raise ValueError(f"a placement in {self.place} does not fit tier {self.tier} slot {self.slot}")


FREE = Placement(Place.FREE)
DISCOVERED = Placement(Place.DISCOVERED)
MAINTENANCE = Placement(Place.MAINTENANCE)


@dataclass(frozen=True, slots=True)
class Engagement:
    """Whether automation may touch a node; who said so, when and why.

    `until` ends a disengagement by itself; None means until somebody engages it.
    """

    engaged: bool = True
    by: str = ""
    at: datetime | None = None
    why: str = ""
    until: datetime | None = None


ENGAGED = Engagement()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A driver by its entry-point name, and the settings it is opened with."""

    driver: str
    settings: Mapping[str, str] = field(default_factory=dict)

    def __hash__(self) -> int:
        return hash((self.driver, tuple(sorted(self.settings.items()))))


@dataclass(frozen=True, slots=True)
class Instance:
    """A private, writable child of an image version, made for one slot.

    Attributes:
        id: Unique among all instances ever made: `web-2-117`.
        image: The version it is a child of.
        store: The storage it lies on: the name of the host that keeps it.
        slot: The slot it was made for.
    """

    id: str
    image: ImageRef
    store: NodeId
    slot: SlotId


@dataclass(frozen=True, slots=True)
class Baseline:
    """The patch level of a host's VM manager when an image version was first taken into use there."""

    image: ImageRef
    patch_level: str


NO_IMAGE = ImageRef("", "")
NO_SLOT = SlotId(TierId(""), 0)
"""Of an instance that was found on a VM and that no slot has."""


class Request(StrEnum):
    """What an operator ordered for a node; obeyed whether it is engaged or not."""

    POWER_ON = "power-on"
    POWER_OFF = "power-off"
    POWER_CYCLE = "power-cycle"
    SHUTDOWN = "shutdown"


@dataclass(frozen=True, slots=True)
class Pending:
    """The one action in flight on a node, so that no second one is begun.

    It is owned by one run of one controller (`epoch`); another run drops it and
    observes again, which is safe because every action can be repeated.
    """

    action: str
    id: int
    since: datetime
    deadline: datetime
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class Retry:
    """How often in a row an action failed on a node, and when it may be tried again."""

    attempts: int
    not_before: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Node:
    """A machine under management, as Metier decided about it; see `Observed` for what was seen.

    Attributes:
        hardware: None until inventoried.
        host: The host node of a virtual node.
        vm_number: n of the VM slot `VM<n>` on that host.
        power_ip: Address of what switches it: the BMC, or for a virtual node its host.
        power: How a physical node is switched; None where Metier cannot.
        vmm: The VM manager of a node that can be a host.
        since: When `lifecycle` was entered.
        problem: Why `lifecycle` is `failed`, or why the last action was refused.
        failed_at: When it last failed; None if it never did.
        failures: How often it failed since an operator cleared it.
        rebooted_at: When automation last power-cycled it for a failure.
        harvested_at: When it was last taken from one tier for another.
        promised: The tier it was harvested for; it goes to no other.
        staged: The host was asked since its last boot to offer its image's VMs.
        staged_at: When that was last done; only a later look shows what came of it.
        baselines: Of a host, one for each host image version that it was staged for and that still exists.
        started_at: When it was last ordered to start; it is down only if seen off after this.
        stop_by: While stopping: when asking ends and its power is cut.
        asked_at: While stopping: when its OS was last asked to shut down, or its power cut.
        to_diagnose: It is in the maintenance pool to be tested, not by an operator's hand.
        generation: The Fleet generation that last changed it.
    """

    name: NodeId
    kind: NodeKind
    placement: Placement
    lifecycle: Lifecycle = Lifecycle.NEW
    engagement: Engagement = ENGAGED
    hardware: Hardware | None = None
    host: NodeId | None = None
    vm_number: int | None = None
    power_ip: str | None = None
    power: Endpoint | None = None
    vmm: Endpoint | None = None
    attributes: frozenset[str] = frozenset()
    instance: Instance | None = None
    request: Request | None = None
    pending: Pending | None = None
    retry: Retry | None = None
    since: datetime | None = None
    problem: str = ""
    failed_at: datetime | None = None
    failures: int = 0
    rebooted_at: datetime | None = None
    harvested_at: datetime | None = None
    promised: TierId | None = None
    staged: bool = False
    staged_at: datetime | None = None
    baselines: tuple[Baseline, ...] = ()
    started_at: datetime | None = None
    stop_by: datetime | None = None
    asked_at: datetime | None = None
    to_diagnose: bool = False
    generation: int = 0

    @property
    def is_virtual(self) -> bool:
        """Whether it is a VM on a host node."""
        return self.kind is NodeKind.VIRTUAL

    @property
    def engaged(self) -> bool:
        """Whether automation may act on it."""
        return self.engagement.engaged

    @property
    def tier(self) -> TierId | None:
        """The tier it is placed in."""
        return self.placement.tier

    def baseline(self, image: ImageRef) -> Baseline | None:
        """Return what its VM manager was when `image` was first taken into use on it, if that is known."""
        return next((one for one in self.baselines if one.image == image), None)

    @property
    def vm_slot(self) -> str | None:
        """`VM<n>` for a virtual node: what the manual's Slot column shows."""
        return None if self.vm_number is None else f"VM{self.vm_number}"

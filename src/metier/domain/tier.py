"""Tiers: nodes kept at a target for one service, and the slots they fill."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from metier.domain.hardware import Requirements
from metier.domain.ids import ImageRef, NodeId, SlotId, TierId
from metier.domain.image import CollectorSpec
from metier.domain.node import Instance
from metier.domain.personality import NO_PERSONALITY, Applied, Personality


class TierKind(StrEnum):
    """Decided by the image: a VM manager makes a host tier, a guest image a guest tier."""

    HOST = "host"
    GUEST = "guest"


class TierState(StrEnum):
    """How far an operator wants the tier: no nodes, nodes, or nodes that run."""

    INACTIVE = "inactive"
    ALLOCATED = "allocated"
    ACTIVE = "active"


class Spread(StrEnum):
    """How ties between equally cheap nodes are broken."""

    SPREAD = "spread"
    PACK = "pack"


@dataclass(frozen=True, slots=True)
class SlotSettings:
    """What belongs to a slot and passes to whichever node fills it.

    Attributes:
        hostname: None for the default, `<tier>-<number>`.
        address: With prefix length (`10.0.0.7/24`); None for DHCP.
        gateway: None for none.
        personality: What differs from the tier's; None for nothing.
    """

    number: int
    hostname: str | None = None
    address: str | None = None
    gateway: str | None = None
    personality: Personality | None = None


@dataclass(frozen=True, slots=True)
class Rollout:
    """A change of image version under way on an active tier, slot by slot (R-UPDATE).

    `Tier.image` is the new version; slots that are not in `moved` keep running `previous`.

    Attributes:
        previous: The version that the whole tier ran last; `Tier.image` itself on the way back to it.
        moved: Numbers of the slots that are to run the new version, in the order they were moved.
        paused: Why it does not go on; empty while it does.
        paused_by: The operator who paused it; empty where a slot that failed did.
    """

    previous: ImageRef
    started: datetime
    moved: tuple[int, ...] = ()
    paused: str = ""
    paused_by: str = ""


@dataclass(frozen=True, slots=True)
class Tier:
    """What an operator wants of one tier.

    Attributes:
        priority: 1 to 100; a higher number is served first and harvested last.
        harvesting: Nodes may be taken from this tier for a more important one.
        harvest_to_target: It may take nodes even when only below its target.
        keep_instances: A stopped slot's instance is kept for its next start.
        startup_s: Seconds from seen on to answering; None takes the image's.
        collectors: None takes the image's.
        failure_threshold: Failed collector rounds in a row that make a member failed.
        shutdown_s: Seconds a guest OS gets to shut down before its power is cut.
        max_unhealthy_percent: R-STORM-1's brake.
        resumed_at: Failures before this moment no longer count for the brake.
        slots: Settings of slots that differ from the default, by number.
        max_unavailable: Members that a roll-out may have down at a time, at least 1.
        surge: Slots beyond the target, within the maximum, that a roll-out may fill meanwhile.
        previous_image: The version that the whole tier ran before `image`; None if there was none.
    """

    name: TierId
    kind: TierKind
    image: ImageRef
    state: TierState = TierState.INACTIVE
    priority: int = 50
    minimum: int = 1
    target: int = 1
    maximum: int = 1
    depends_on: tuple[TierId, ...] = ()
    requirements: Requirements = field(default_factory=Requirements)
    reboot_on_failure: bool = True
    move_to_maintenance: bool = True
    harvesting: bool = True
    harvest_to_target: bool = False
    spread: Spread = Spread.SPREAD
    keep_instances: bool = False
    startup_s: int | None = None
    collectors: tuple[CollectorSpec, ...] | None = None
    failure_threshold: int = 3
    shutdown_s: int = 60
    max_unhealthy_percent: int = 40
    resumed_at: datetime | None = None
    slots: tuple[SlotSettings, ...] = ()
    personality: Personality = NO_PERSONALITY
    max_unavailable: int = 1
    surge: int = 1
    rollout: Rollout | None = None
    previous_image: ImageRef | None = None
    generation: int = 0

    def slot_settings(self, number: int) -> SlotSettings:
        """Return the settings of slot `number`, the defaults if none were given."""
        return next((s for s in self.slots if s.number == number), SlotSettings(number))

    def image_for(self, number: int) -> ImageRef:
        """Return the version that whichever node fills slot `number` is to run."""
        if self.rollout is None or number in self.rollout.moved:
            return self.image
        return self.rollout.previous

    @property
    def versions(self) -> tuple[ImageRef, ...]:
        """The versions that its slots may be told to run, the newest first."""
        if self.rollout is None or self.rollout.previous == self.image:
            return (self.image,)
        return self.image, self.rollout.previous

    @property
    def most(self) -> int:
        """How many members it may keep: more than its target only while it rolls out."""
        if self.rollout is None:
            return self.target
        return max(self.target, min(self.maximum, self.target + self.surge))

    def hostname(self, number: int) -> str:
        """Return the host name that whichever node fills slot `number` carries."""
        return self.slot_settings(number).hostname or f"{self.name}-{number}"


@dataclass(frozen=True, slots=True)
class Fence:
    """A node that may still run a slot's identity: nothing else may until it is seen down.

    Attributes:
        since: Only what was observed after this moment is evidence.
        attested: The operator who gave their word that it is down, if one did.
        raised: When the slot was left; an orderly stop takes its time from here.
        is_lost: Its VM was gone from its host by then: it may run elsewhere, and the host says nothing of it.
    """

    node: NodeId
    host: NodeId | None
    vm_number: int | None
    since: datetime
    attested: str = ""
    raised: datetime | None = None
    is_lost: bool = False


@dataclass(frozen=True, slots=True)
class Slot:
    """What the loop keeps for one slot of a tier; absent while it never held a node.

    Attributes:
        node: Who fills it now.
        instance: The instance that holds its data.
        fences: Earlier holders that are not yet proved to be down.
        applied: What its node was last prepared with, whether it fills the slot still or not.
    """

    id: SlotId
    node: NodeId | None = None
    instance: Instance | None = None
    fences: tuple[Fence, ...] = ()
    applied: Applied | None = None
    generation: int = 0


@dataclass(frozen=True, slots=True)
class Trouble:
    """What the loop remembers of a tier's failures, for R-STORM-1.

    Attributes:
        failures: When members failed, newest last, within the last window.
        braked_since: Set while automation has stopped replacing.
    """

    tier: TierId
    failures: tuple[datetime, ...] = ()
    braked_since: datetime | None = None
    generation: int = 0

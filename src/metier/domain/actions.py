"""Everything the loop can do: one frozen dataclass each.

A `Decision` changes only what Metier has recorded and is complete when it is
recorded.  `Work` is recorded as pending, then done by a driver in its own time;
how it ended comes back as an outcome.  Actions leave no choice to the executor.
"""

from dataclasses import dataclass

from metier.domain.ids import ImageRef, NodeId, SlotId, TierId
from metier.domain.image import Image, OfferedVm
from metier.domain.lifecycle import Event
from metier.domain.node import Instance, Place
from metier.domain.personality import NO_PERSONALITY, Personality


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What every action says about itself.

    Attributes:
        node: The node it is done to.
        why: The reason, in a sentence's words without full stop.
        rule: The number of the rule that asks for it, such as `R-SHRINK-1`;
            `operator` when it obeys a person's order.
        expects: The node's generation it was decided on; a stale one is refused.
    """

    node: NodeId
    why: str
    rule: str
    expects: int = 0

    @property
    def subject(self) -> str:
        """What lists show it under."""
        return self.node


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision(Action):
    """Complete when it is recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work(Action):
    """Done by a driver; at most one in flight per node."""


# --- decisions ---------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoverNode(Decision):
    """A VM of a running host becomes a virtual node."""

    host: NodeId
    vm_number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordInventory(Decision):
    """What was observed of a virtual node's VM becomes its hardware."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FreeNode(Decision):
    """A node that is in no tier moves to the free pool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteNode(Decision):
    """A virtual node ceases to exist; its slot, if any, is vacated and fenced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocateNode(Decision):
    """A free node fills a slot."""

    slot: SlotId
    cost: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseNode(Decision):
    """A member leaves its slot for a pool; the slot stays fenced until it is seen down.

    Attributes:
        to: `free` or `maintenance`.
        promised: The tier it was harvested for.
        grace_s: Seconds its OS gets to shut down by itself; 0 cuts its power at once.
    """

    to: Place = Place.FREE
    promised: TierId | None = None
    grace_s: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AdvanceNode(Decision):
    """What was observed moves a node's lifecycle on."""

    event: Event


@dataclass(frozen=True, slots=True, kw_only=True)
class FailNode(Decision):
    """A node counts as failed from now on."""

    event: Event
    problem: str
    own_fault: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class StopNode(Decision):
    """A node is to be brought to a halt.

    Attributes:
        grace_s: Seconds its OS gets to shut down by itself; 0 cuts its power at once.
        for_reboot: It failed, stays in its slot and is started again afterwards.
    """

    grace_s: int = 0
    for_reboot: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LiftFence(Decision):
    """There is evidence that an earlier holder of a slot is down; `node` is that holder."""

    slot: SlotId
    evidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EngageNode(Decision):
    """A disengagement with an end has reached it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishRequest(Decision):
    """What an operator ordered for the node has come true."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TierDecision(Decision):
    """Changes what is kept of a tier, and nothing of its node."""

    tier: TierId


@dataclass(frozen=True, slots=True, kw_only=True)
class Brake(TierDecision):
    """Automation stops replacing in a tier; `node` is the failure that was too much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveSlot(TierDecision):
    """A slot is to run its tier's new image version from its next start; `node` fills it, or is about to."""

    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseRollout(TierDecision):
    """A roll-out goes no further; `node` is the member that failed on the new version."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EndRollout(TierDecision):
    """Every member runs the new version; `node` is the first of them."""


# --- work --------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class InventoryNode(Work):
    """Ask a physical node's VM manager what the node has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerOn(Work):
    """Switch a physical node on by its power controller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerOff(Work):
    """Switch a physical node off by its power controller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageVms(Work):
    """Make sure that a host offers the VMs of its image, those staged there, and no others.

    Those that exist stay as they are.

    Attributes:
        image: The host image version that says which; None in journals of earlier versions.
    """

    offers: tuple[OfferedVm, ...]
    image: ImageRef | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveVms(Work):
    """Remove from a host every VM that Metier made there, and give back those that were handed over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareGuest(Work):
    """Put a slot's instance and personality on a virtual node's VM.

    Attributes:
        personality: Of tier and slot, joined.
        mac: Hardware address of the interface that is meant; empty if it is not known.
        attributes: The node's.
    """

    slot: SlotId
    image: Image
    instance: Instance
    hostname: str
    address: str | None
    gateway: str | None
    personality: Personality = NO_PERSONALITY
    vm_number: int = 0
    mac: str = ""
    attributes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class StartGuest(Work):
    """Start a virtual node's VM."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShutdownGuest(Work):
    """Ask the guest OS to shut down; the VM goes off in its own time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StopGuest(Work):
    """Cut the power of a virtual node's VM."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetireGuest(Work):
    """Take instance and personality off a VM that is off; `discard` deletes that instance."""

    discard: Instance | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagnoseNode(Work):
    """Test a node in the maintenance pool."""

"""Update procedures: the manual's way from an image version to its next one, recorded as one piece of intent.

Nothing here says what is to be done next: that follows from the Fleet, so that a
controller that was killed at any point goes on where things stand.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from metier.domain.ids import ImageRef, NodeId, TierId
from metier.domain.tier import SlotSettings, Tier, TierKind

PRIORITY = 100
"""Of the tiers that a procedure makes: nobody may harvest their only node."""


class Stage(StrEnum):
    """How far an update procedure was when it was last looked at."""

    FINDING = "finding a node"
    STARTING = "starting the guest"
    CHANGING = "waiting for you"
    CAPTURING = "capturing"
    PUTTING_BACK = "putting back"
    DONE = "done"
    ABORTED = "aborted"


STAGES = {
    Stage.FINDING: "A virtual node is found, or a host is started to offer one.",
    Stage.STARTING: "The image is started in a tier of one.",
    Stage.CHANGING: "The guest is yours: change it, then shut it down from inside.",
    Stage.CAPTURING: "Its disks become the new version.",
    Stage.PUTTING_BACK: "Tiers that were made are deleted, and nodes return to where they were.",
    Stage.DONE: "The new version is there, and all is put back.",
    Stage.ABORTED: "It was given up, and all is put back.",
}
"""Every stage in order, with its meaning; the last two are ends."""

FIRST_SLOT = SlotSettings(1)

EXPECTED_ALERTS = frozenset({"node-failed", "tier-below-minimum", "tier-short", "vm-moved-power"})
"""What a guest that is shut down on purpose looks like to automation."""


@dataclass(frozen=True, slots=True)
class Procedure:
    """One guided update of an image.

    Attributes:
        id: Counts up; never used twice.
        image: The version that is changed.
        version: The version that is made of it.
        tier: What the tier of one is called.
        wanted: The virtual node that was asked for; None for any.
        node: The virtual node that runs the image, once one does.
        host: The physical node that is made a host for this; None where a virtual node was free.
        host_image: With `host`: what it runs.
        host_tier: With `host`: what its tier is called.
        slot: Host name and addresses of the guest.
        capture: Settings that the new version has other than the old one, as options of a capture.
        roll_out: Tiers that are to go over to the new version at the end.
        stage: How far it was when last looked at; only told, nothing follows from it but the tale.
        since: When that stage began.
        told: What is done or waited for, in words.
        problem: Why it does not go on without a person; empty while it does.
        remedy: What the person can do.
        made: Tiers that it made and has not deleted yet.
        disengaged: Nodes that it disengaged and has not engaged again yet.
        job: The capture.
        accept_unclean: A guest that was not shut down from inside is captured all the same.
        captured: The new version is there.
        aborted_by: Who gave it up; empty if nobody did.
        remarks: What went otherwise than asked, for the end.
        ended: When all was put back.
    """

    id: int
    image: ImageRef
    version: ImageRef
    created: datetime
    tier: TierId
    by: str = ""
    wanted: NodeId | None = None
    node: NodeId | None = None
    host: NodeId | None = None
    host_image: ImageRef | None = None
    host_tier: TierId | None = None
    slot: SlotSettings = FIRST_SLOT
    capture: Mapping[str, object] = field(default_factory=dict)
    roll_out: tuple[TierId, ...] = ()
    stage: Stage = Stage.FINDING
    since: datetime | None = None
    told: str = ""
    problem: str = ""
    remedy: str = ""
    made: tuple[TierId, ...] = ()
    disengaged: tuple[NodeId, ...] = ()
    job: int | None = None
    accept_unclean: bool = False
    captured: bool = False
    aborted_by: str = ""
    remarks: tuple[str, ...] = ()
    ended: datetime | None = None
    generation: int = 0

    @property
    def is_live(self) -> bool:
        """Whether it goes on."""
        return self.ended is None

    @property
    def is_ending(self) -> bool:
        """Whether nothing but putting back remains."""
        return self.captured or bool(self.aborted_by)

    @property
    def caller(self) -> str:
        """In whose name it gives orders."""
        return f"image update {self.id}"

    @property
    def uses(self) -> frozenset[ImageRef]:
        """The versions that it cannot do without."""
        return frozenset(ref for ref in (self.image, self.version, self.host_image) if ref is not None)

    def guest_tier(self) -> Tier:
        """Return the tier of one that runs the image: nothing happens to it by itself."""
        return Tier(
            self.tier,
            TierKind.GUEST,
            self.image,
            priority=PRIORITY,
            reboot_on_failure=False,
            move_to_maintenance=False,
            harvesting=False,
        )


def live(procedures: Iterable[Procedure]) -> list[Procedure]:
    """Return those that go on, oldest first."""
    return sorted((one for one in procedures if one.is_live), key=lambda one: one.id)

"""An update procedure as the interface's JSON shows it, and what it holds that others must leave alone."""

from collections.abc import Sequence

from metier.domain.effective import address
from metier.domain.errors import Refusal
from metier.domain.fleet import Fleet
from metier.domain.ids import ImageRef, natural
from metier.domain.procedure import STAGES, Procedure, Stage, live
from metier.domain.tier import Tier, TierKind
from metier.operations.parsing import rfc3339
from metier.operations.registry import Caller, Row

COLUMNS = ("id", "image", "makes", "stage", "node", "told", "by", "created")
"""What the list of procedures shows."""


def procedure_row(fleet: Fleet, procedure: Procedure) -> Row:
    """Return the row of an update procedure."""
    return {
        "id": procedure.id,
        "image": str(procedure.image),
        "makes": str(procedure.version),
        "stage": procedure.stage.value,
        "told": procedure.told,
        "problem": procedure.problem or None,
        "remedy": procedure.remedy or None,
        "tier": procedure.tier,
        "host_tier": procedure.host_tier,
        "disengaged": list(procedure.disengaged),
        "roll_out": list(procedure.roll_out),
        "remarks": list(procedure.remarks),
        "job": procedure.job,
        "by": procedure.by,
        "aborted_by": procedure.aborted_by or None,
        "created": rfc3339(procedure.created),
        "since": rfc3339(procedure.since),
        "ended": rfc3339(procedure.ended),
        **_place(fleet, procedure),
        "generation": procedure.generation,
    }


def _place(fleet: Fleet, procedure: Procedure) -> Row:
    """Return what a person needs who wants to reach the guest: the manual's host address and VM number."""
    node = None if procedure.node is None else fleet.nodes.get(procedure.node)
    host = None if node is None else fleet.host_of(node)
    is_reachable = procedure.stage is Stage.CHANGING and node is not None
    return {
        "node": procedure.node,
        "console": f"metier node console {procedure.node}" if is_reachable else None,
        "address": address(fleet, node) if is_reachable and node is not None else None,
        "host": None if host is None else host.name,
        "host_ip": None if host is None else host.power_ip,
        "vm_number": None if node is None else node.vm_number,
    }


def stage_number(procedure: Procedure) -> str:
    """Return which of how many stages a procedure is in: `2 of 5`."""
    stages = list(STAGES)[:-2]
    number = stages.index(procedure.stage) + 1 if procedure.stage in stages else len(stages)
    return f"{number} of {len(stages)}"


def tiers_behind(fleet: Fleet, version: ImageRef) -> list[Tier]:
    """Return the guest tiers on another version of an image, but for those of procedures."""
    own = {one.tier for one in live(fleet.procedures.values())}
    found = [
        tier
        for tier in fleet.tiers.values()
        if tier.kind is TierKind.GUEST
        and tier.image.name == version.name
        and tier.image != version
        and tier.name not in own
    ]
    return sorted(found, key=lambda tier: natural(tier.name))


def newest_procedure(procedures: Sequence[Procedure], name: str) -> Procedure | None:
    """Return the newest procedure on any version of an image."""
    found = [one for one in procedures if one.image.name == name.partition("@")[0]]
    return max(found, key=lambda one: one.id, default=None)


def refuse_others(fleet: Fleet, tier: Tier, caller: Caller) -> None:
    """Raise Refusal if a tier belongs to an update procedure, which deletes it itself (R-DELETE-1)."""
    for one in live(fleet.procedures.values()):
        if tier.name in one.made and caller.name != one.caller:
            raise Refusal(
                f"cannot delete tier {tier.name}: {one.caller} of {one.image} made it and deletes it itself",
                remedy=f"wait for it, or give it up: `metier image update {one.image} --abort`",
            )

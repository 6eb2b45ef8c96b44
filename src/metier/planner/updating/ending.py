"""The end of an update procedure: all that it made or changed is put back, whether it came through or not."""

from typing import Any

from metier.domain.fleet import Fleet
from metier.domain.ids import TierId, natural
from metier.domain.job import FINAL
from metier.domain.lifecycle import Lifecycle
from metier.domain.procedure import Procedure, Stage
from metier.domain.tier import Tier, TierState
from metier.planner.updating.step import Order, Step

_DOWN = (Lifecycle.STOPPING, Lifecycle.IDLE)


def put_back(fleet: Fleet, procedure: Procedure) -> Step:
    """Return what is put back next, the last of it first; the roll-outs that were asked for come last."""
    return (
        _stop_capture(fleet, procedure)
        or _take_down(fleet, procedure, procedure.tier)
        or _take_down(fleet, procedure, procedure.host_tier)
        or _engage(fleet, procedure)
        or _roll_out(procedure)
        or _end(procedure)
    )


def _stop_capture(fleet: Fleet, procedure: Procedure) -> Step | None:
    job = fleet.jobs.get(procedure.job) if procedure.job is not None else None
    if job is None or job.state in FINAL:
        return None
    if job.cancel_requested:
        return _step(f"waits until job {job.id} has cleaned up behind itself")
    return _step(f"cancels the capture, job {job.id}", Order("job", "cancel", {"id": job.id}))


def _take_down(fleet: Fleet, procedure: Procedure, name: TierId | None) -> Step | None:
    """Return what brings a tier that was made nearer to being gone."""
    if name is None or name not in procedure.made:
        return None
    made = {"made": tuple(other for other in procedure.made if other != name)}
    tier = fleet.tiers.get(name)
    if tier is None:
        return _step(f"tier {name} is gone already", **made)
    if tier.state is not TierState.INACTIVE:
        return _step(f"stops the nodes of tier {name}", Order("tier", "deallocate", {"name": name}))
    is_on_its_way = all(node.lifecycle in _DOWN for node in fleet.member_nodes(name))
    if is_on_its_way and procedure.host_tier not in procedure.made:
        # Before it is told to stop, automation would take a guest that is off for a failed one.  On a
        # host of its own it stays kept until that goes, so that nobody else takes it.
        engaging = _engage(fleet, procedure)
        if engaging is not None:
            return engaging
    left = _left(fleet, tier)
    if left:
        return _step(f"waits until {left}")
    return _step(f"deletes tier {name}", Order("tier", "delete", {"name": name}), **made)


def _left(fleet: Fleet, tier: Tier) -> str:
    """Say what has to come to rest before a tier can be deleted and leave nothing."""
    members = [node.name for node in fleet.member_nodes(tier.name)]
    if members:
        return f"{', '.join(members)} is released from tier {tier.name}"
    fenced = [fence.node for slot in fleet.fenced_slots(tier.name) for fence in slot.fences]
    if fenced:
        return f"{', '.join(fenced)} is seen down"
    slots = {slot.id for slot in fleet.slots_of(tier)}
    holders = [node.name for node in fleet.nodes.values() if node.instance and node.instance.slot in slots]
    return f"what ran in tier {tier.name} is taken off {', '.join(holders)}" if holders else ""


def _engage(fleet: Fleet, procedure: Procedure) -> Step | None:
    """Engage what it disengaged itself; what somebody else disengaged since stays as they want it."""
    for name in sorted(procedure.disengaged, key=natural):
        rest = {"disengaged": tuple(other for other in procedure.disengaged if other != name)}
        node = fleet.nodes.get(name)
        if node is None or node.engaged or node.engagement.by != procedure.caller:
            return _step(f"{name} needs no engaging", **rest)
        return _step(f"engages {name}", Order("node", "engage", {"name": name}), **rest)
    return None


def _roll_out(procedure: Procedure) -> Step | None:
    if not procedure.roll_out or not procedure.captured:
        return None
    name, *rest = procedure.roll_out
    order = Order("tier", "update", {"name": name, "image": str(procedure.version)}, may_fail=True)
    return _step(f"rolls {procedure.version} out over tier {name}", order, roll_out=tuple(rest))


def _end(procedure: Procedure) -> Step:
    if procedure.captured:
        return Step(Stage.DONE, f"image {procedure.version} is there, and all is put back", is_last=True)
    by = procedure.aborted_by
    return Step(Stage.ABORTED, f"given up by {by}, and all is put back", is_last=True)


def _step(told: str, *deeds: Order, **fields: Any) -> Step:
    return Step(Stage.PUTTING_BACK, told, deeds, fields)

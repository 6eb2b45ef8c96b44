"""Lifts fences for which there is evidence, and says what the others wait for (R-FENCE-1)."""

from datetime import timedelta

from metier.domain.actions import LiftFence
from metier.domain.evidence import proof_of_down, whereabouts
from metier.domain.tier import Fence, Slot, Tier
from metier.planner.work import Work, about_tier

PATIENCE_S = 30
"""How long a slot waits for evidence before an operator is told: an orderly stop takes less."""


def lift_fences(work: Work) -> None:
    """Lift every fence in scope that is answered by evidence."""
    for tier in work.tiers():
        for slot in work.fleet.fenced_slots(tier.name):
            for fence in slot.fences:
                evidence = proof_of_down(work.fleet, fence) or _is_itself(slot, fence)
                if evidence is not None:
                    _lift(work, slot, fence, evidence)


def report_fences(work: Work) -> None:
    """Say for every slot in scope that is held up by a fence what it waits for."""
    for tier in work.tiers():
        for slot in work.fleet.fenced_slots(tier.name):
            if slot.node is None:
                continue
            for fence in slot.fences:
                why = (
                    f"slot {slot.id.number} waits for evidence that {fence.node} is down{_tried(work, fence)}"
                )
                work.wait(about_tier(tier), why, "R-FENCE-1")
                patience_ends = (fence.raised or fence.since) + timedelta(seconds=PATIENCE_S)
                if work.now >= patience_ends:
                    work.find("unfenced", about_tier(tier), why)
                else:
                    work.look_again(about_tier(tier), patience_ends)
                _report_moved(work, tier, fence)


def _is_itself(slot: Slot, fence: Fence) -> str | None:
    """Return why a machine that fills its slot again need not be down: it cannot run twice."""
    is_physical = fence.host is None
    return f"{fence.node} itself fills the slot again" if is_physical and slot.node == fence.node else None


def _lift(work: Work, slot: Slot, fence: Fence, evidence: str) -> None:
    work.act(LiftFence(node=fence.node, slot=slot.id, evidence=evidence, why=evidence, rule="R-FENCE-1"))


def _report_moved(work: Work, tier: Tier, fence: Fence) -> None:
    """Tell where a VM is that was moved."""
    if not fence.is_lost and not _is_missing(work, fence):
        return
    found, _ = whereabouts(work.fleet, fence)
    if found is not None:
        message = (
            f"{fence.node} runs on {found}, moved there by another tool: move it back to {fence.host} with"
            f" that tool and switch it off, or shut it down on {found}"
        )
        work.find("vm-moved", about_tier(tier), message)


def _is_missing(work: Work, fence: Fence) -> bool:
    if fence.host is None or fence.vm_number is None:
        return False
    seen = work.fleet.seen(fence.host)
    return seen.vms is not None and seen.vm(fence.vm_number) is None


def _tried(work: Work, fence: Fence) -> str:
    host = fence.host or fence.node
    seen = work.fleet.seen(host)
    if fence.is_lost or _is_missing(work, fence):
        found, unseen = whereabouts(work.fleet, fence)
        if found is not None:
            return f"; it runs on {found}, moved there by another tool"
        return (
            f"; it is gone from {host}, and {unseen}, where it may be, was not asked since" if unseen else ""
        )
    if seen.vmm_reachable is False:
        switch = work.fleet.nodes[host].power if host in work.fleet.nodes else None
        power = f"its power controller says {seen.power}" if switch else "it has no power controller"
        return f"; {host} does not answer ({seen.vmm_error}) and {power}"
    return ""

"""Lifts fences for which there is evidence, and says what the others wait for (R-FENCE-1)."""

from datetime import timedelta

from metier.domain.actions import LiftFence
from metier.domain.evidence import proof_of_down
from metier.domain.tier import Fence, Slot
from metier.planner.work import Work, about_tier

PATIENCE_S = 30
"""How long a slot waits for evidence before an operator is told: an orderly stop takes less."""


def lift_fences(work: Work) -> None:
    """Lift every fence in scope that is answered by evidence."""
    for tier in work.tiers():
        for slot in work.fleet.fenced_slots(tier.name):
            for fence in slot.fences:
                evidence = proof_of_down(work.fleet, fence)
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


def _lift(work: Work, slot: Slot, fence: Fence, evidence: str) -> None:
    work.act(LiftFence(node=fence.node, slot=slot.id, evidence=evidence, why=evidence, rule="R-FENCE-1"))


def _tried(work: Work, fence: Fence) -> str:
    host = fence.host or fence.node
    seen = work.fleet.seen(host)
    if seen.vmm_reachable is False:
        switch = work.fleet.nodes[host].power if host in work.fleet.nodes else None
        power = f"its power controller says {seen.power}" if switch else "it has no power controller"
        return f"; {host} does not answer ({seen.vmm_error}) and {power}"
    return ""

"""A start that was given up and hangs on: nothing that is seen meanwhile proves its node down (R-FENCE-1)."""

from datetime import timedelta

from metier.domain.actions import StartGuest
from metier.domain.evidence import proof_of_down
from metier.domain.observation import Observed, Power
from metier.domain.tier import Fence
from metier.planner.effects import UNSURE_START_S, prolong_start
from tests.builders import NOW, a_fleet, a_host, a_slot, a_tier, a_virtual_node, an_image, vm_facts

START = StartGuest(node=a_virtual_node().name, why="it is ready", rule="R-ALLOC-1")
SOON = NOW + timedelta(seconds=20)
SEEN_OFF = Observed(
    Power.ON, SOON, vmm_reachable=True, vmm_at=SOON, vms=(vm_facts(1, Power.OFF),), vms_at=SOON
)


def test_its_fences_and_its_node_count_from_when_it_may_still_come_true() -> None:
    other = Fence(a_host().name, None, None, NOW, raised=NOW)
    fence = Fence(START.node, a_host().name, 1, NOW, raised=NOW)
    slot = a_slot("web", 1, fences=(other, fence))
    node = a_virtual_node(started_at=NOW)
    fleet = a_fleet(an_image(), a_tier(), a_host(tier=None), node, slot, observed={"host-1": SEEN_OFF})
    assert proof_of_down(fleet, fence) is not None
    draft = fleet.edit()
    prolong_start(draft, START, NOW)
    until = NOW + timedelta(seconds=UNSURE_START_S)
    first, second = draft.slot(slot.id).fences
    assert (first, second.since) == (other, until)
    assert proof_of_down(draft, second) is None
    assert draft.nodes[START.node].started_at == until


def test_a_node_that_is_gone_is_no_error() -> None:
    draft = a_fleet().edit()
    prolong_start(draft, START, NOW)
    assert not draft.changes

"""Rounds look again at what changed and nothing else; `tests/simulation` proves them equal to full plans."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from metier.domain.fleet import Draft, Fleet
from metier.domain.ids import NodeId, TierId
from metier.domain.node import ENGAGED, FREE, MAINTENANCE, Engagement, Place
from metier.domain.observation import Health, Observed, Power
from metier.domain.tier import Spread, TierState
from metier.planner.incremental import AGAIN, Planner, Round
from metier.planner.plan import decide, plan_of
from tests.builders import (
    NOW,
    a_fleet,
    a_host,
    a_host_image,
    a_host_tier,
    a_tier,
    a_virtual_node,
    an_image,
    vm_facts,
)
from tests.unit.domain.crowded import TIERS, fleets

LATER = NOW + timedelta(seconds=10)
VM1 = NodeId("host-1/VM1")


def a_site() -> Fleet:
    """Return two hosts at rest, with one guest each for tiers `web` and `db`."""
    guests = [
        a_virtual_node(f"host-{n}", 1, tier=tier, started_at=NOW) for n, tier in ((1, "web"), (2, "db"))
    ]
    seen = Observed(Power.ON, LATER, vmm_reachable=True, vmm_at=LATER, vms=(vm_facts(1),), vms_at=LATER)
    active = {"state": TierState.ACTIVE}
    return a_fleet(
        a_host_image(vms=1),
        an_image(),
        a_host_tier(target=2, **active),
        a_tier("web", **active),
        a_tier("db", **active),
        a_host("host-1", slot=1, staged_at=NOW),
        a_host("host-2", slot=2, staged_at=NOW),
        *guests,
        observed={"host-1": seen, "host-2": seen},
    )


def first(fleet: Fleet, planner: Planner) -> Fleet:
    return planner.plan(fleet, LATER, None).work.fleet.freeze()


def test_the_first_round_looks_at_everything() -> None:
    planned = Planner().plan(a_site(), LATER, None)
    assert planned.work.scope.nodes is None
    assert not planned.plan.actions


def test_nothing_changed_nothing_is_looked_at() -> None:
    planner = Planner(most=1.0)
    fleet = first(a_site(), planner)
    scope = planner.plan(fleet, LATER, {}).work.scope
    assert (scope.tiers, scope.nodes, scope.site) == (frozenset(), frozenset(), False)


def changed(planner: Planner, fleet: Fleet, change: object, at: object = LATER) -> Round:
    draft = fleet.edit()
    change(draft)
    return planner.plan(draft.freeze(), at, draft.changes)


def test_a_changed_node_concerns_itself_its_tier_and_its_host() -> None:
    planner = Planner(most=1.0)
    fleet = first(a_site(), planner)
    off = Engagement(engaged=False)
    scope = changed(planner, fleet, lambda draft: draft.change_node(VM1, engagement=off)).work.scope
    assert scope.nodes == {VM1, "host-1"}
    assert scope.tiers == {"web"}


def test_the_same_seen_again_concerns_nobody() -> None:
    planner = Planner(most=1.0)
    fleet = first(a_site(), planner)
    at = LATER + timedelta(seconds=5)

    def look(draft: Fleet) -> None:
        seen = draft.seen(NodeId("host-1"))
        again = replace(seen, power_at=at, vmm_at=at, vms_at=at, vms=tuple(seen.vms or ()))
        draft.put_observed(NodeId("host-1"), again)

    assert changed(planner, fleet, look, at).work.scope.nodes == frozenset()


def test_what_was_said_of_the_rest_stands() -> None:
    planner = Planner(most=1.0)
    draft = a_site().edit()
    for tier in ("web", "db"):
        draft.put_tier(replace(draft.tiers[tier], target=2, maximum=2))
    fleet = first(draft.freeze(), planner)
    bad = Observed(health=Health.CRITICAL, health_at=LATER)
    planned = changed(planner, fleet, lambda draft: draft.put_observed(VM1, bad))
    assert {waiting.subject for waiting in planned.plan.waiting} == {"web", "db"}
    assert "db" not in (planned.work.scope.tiers or ())


def test_the_time_alone_brings_a_subject_back() -> None:
    planner = Planner(most=1.0)
    until = LATER + timedelta(seconds=60)
    draft = a_site().edit()
    draft.change_node(VM1, engagement=Engagement(False, "ann", NOW, "", until))
    fleet = first(draft.freeze(), planner)
    assert planner.wake == until
    assert not planner.plan(fleet, until - timedelta(seconds=1), {}).plan.actions
    planned = planner.plan(fleet, until, {})
    assert [action.node for action in planned.plan.actions] == [VM1]
    assert planner.wake == until + AGAIN, "what it did may make more possible"
    assert not planner.plan(planned.work.fleet.freeze(), until + AGAIN, {}).plan.actions
    assert planner.wake is None


def test_after_a_rejected_plan_none_plans_everything_anew() -> None:
    planner = Planner(most=1.0)
    fleet = first(a_site(), planner)
    draft = fleet.edit()
    draft.put_tier(replace(draft.tiers["web"], state=TierState.ALLOCATED))
    rejected = planner.plan(draft.freeze(), LATER, draft.changes)
    again = planner.plan(draft.freeze(), LATER, None)
    assert again.plan.actions == rejected.plan.actions != ()


def test_work_belongs_to_the_planners_epoch() -> None:
    planner = Planner(epoch=7)
    draft = a_site().edit()
    draft.put_tier(replace(draft.tiers["web"], state=TierState.ALLOCATED))
    planned = planner.plan(draft.freeze(), LATER, None)
    pending = planned.work.fleet.nodes[VM1].pending
    assert pending is not None
    assert pending.epoch == 7


changes = st.tuples(st.sampled_from(("place", "failures", "engage", "target", "spread")), st.integers(0, 99))


@given(fleets(demanding=True), st.lists(changes, min_size=1, max_size=8))
def test_r_alloc_3_who_gets_a_node_depends_on_other_tiers_and_is_planned_as_in_full(
    fleet: Fleet, story: list[tuple[str, int]]
) -> None:
    planner, at = Planner(most=1.0), LATER
    fleet = first(fleet, planner)
    for what, number in story:
        at += timedelta(seconds=1)
        draft = fleet.edit()
        _change(draft, what, number)
        planned = planner.plan(draft.freeze(), at, draft.changes)
        full = plan_of(decide(draft.freeze(), at))
        assert planned.plan.actions == full.actions
        assert set(planned.plan.waiting) == set(full.waiting)
        assert set(planned.plan.findings) == set(full.findings)
        fleet = planned.work.fleet.freeze()


def _change(draft: Draft, what: str, number: int) -> None:
    """Change something on which the choice of nodes depends."""
    tier = draft.tiers[TierId(TIERS[number % 3])]
    node = sorted(draft.nodes.values(), key=lambda node: node.name)[number % len(draft.nodes)]
    match what:
        case "place" if node.placement.place is not Place.TIER:
            is_free = node.placement == FREE
            draft.change_node(node.name, placement=MAINTENANCE if is_free else FREE)
        case "failures":
            draft.change_node(node.name, failures=number % 3)
        case "engage":
            draft.change_node(node.name, engagement=Engagement(False) if node.engaged else ENGAGED)
        case "target":
            draft.put_tier(replace(tier, minimum=0, target=number % (tier.maximum + 1)))
        case "spread":
            draft.put_tier(replace(tier, spread=Spread.PACK if number % 2 else Spread.SPREAD))

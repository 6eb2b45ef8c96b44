"""What `explain` says, by example; whether it is true is tried in `test_explain_claims.py`."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from metier.domain.fleet import Fleet
from metier.domain.hardware import Hardware
from metier.domain.ids import NodeId
from metier.domain.lifecycle import Lifecycle
from metier.domain.node import Endpoint, Engagement, Node, Pending
from metier.domain.observation import Observed
from metier.domain.plan import Finding, Plan
from metier.domain.tier import Fence, Spread, TierState, Trouble
from tests.builders import (
    NOW,
    VM_HARDWARE,
    a_fleet,
    a_host,
    a_host_image,
    a_host_tier,
    a_slot,
    a_tier,
    a_virtual_node,
    an_alert,
    an_image,
)
from tests.unit.operations.asking import FakeServices, a_view, ask
from tests.unit.operations.claims import check_again, check_cure, check_harvest, check_line

ACTIVE = TierState.ACTIVE


def a_site(*records: Any, hosts: int = 2, **fields: Any) -> Fleet:
    return a_fleet(
        *(a_host(f"host-{number}", slot=number) for number in range(1, hosts + 1)),
        a_host_tier(state=ACTIVE, target=hosts, maximum=hosts),
        a_host_image(),
        an_image(),
        *records,
        **fields,
    )


def sized(memory_mib: int) -> Hardware:
    return replace(VM_HARDWARE, memory_mib=memory_mib)


def verdict(fleet: Fleet, node: str, tier: str = "web") -> Any:
    (row,) = ask(fleet, "node", "explain", name=node, tier=tier)["tiers"]
    return row


# --- why a node outside was not taken ------------------------------------------------


def test_r_alloc_3_a_dearer_node_is_told_the_winner_and_by_how_much() -> None:
    fleet = a_site(
        a_virtual_node(number=1, hardware=sized(1024)),
        a_virtual_node("host-2", 1, tier="web", slot=1),
        a_virtual_node("host-2", 2, hardware=sized(512)),
        a_tier(state=ACTIVE, maximum=2, target=1),
    )
    row = verdict(fleet, "host-1/VM1")
    assert row["why_not"] == [
        "web has 1 of its target of 1",
        "host-2/VM2 comes first: it costs 32, host-1/VM1 costs 40",
    ]
    assert row["cures"] == [
        "with a target and maximum of 3, it would be allocated, after 1 other",
        "with 576 MiB less memory, it would cost 31 and come first",
    ]
    for sentence in row["cures"]:
        check_line(fleet, fleet.tiers["web"], sentence, "host-1/VM1")  # type: ignore[index]  # a name


def test_r_alloc_3_of_equals_the_host_with_fewer_or_more_nodes_of_the_tier_comes_first() -> None:
    nodes = [
        a_virtual_node("host-1", 1, tier="web", slot=1),
        a_virtual_node("host-1", 2),
        a_virtual_node("host-2", 1),
    ]
    spread = a_site(*nodes, a_tier(state=ACTIVE, target=1, maximum=3))
    assert verdict(spread, "host-1/VM2")["why_not"][1] == (
        "host-2/VM1 comes first: at the same cost of 32, its host host-2 has fewer nodes of web "
        "(0, host-1 has 1)"
    )
    packed = a_site(*nodes, a_tier(state=ACTIVE, target=1, maximum=3, spread=Spread.PACK))
    assert verdict(packed, "host-2/VM1")["why_not"][1] == (
        "host-1/VM2 comes first: at the same cost of 32, its host host-1 has more nodes of web "
        "(1, host-2 has 0)"
    )


def test_r_alloc_3_of_equals_on_one_host_the_one_that_failed_less_often_comes_first() -> None:
    fleet = a_site(
        a_virtual_node(number=1, failures=2), a_virtual_node(number=2), a_tier(state=ACTIVE, target=0)
    )
    assert verdict(fleet, "host-1/VM1")["why_not"][1] == (
        "host-1/VM2 comes first: at the same cost of 32, it failed less often (0 times, host-1/VM1 2 times)"
    )


def test_a_tier_that_takes_nobody_says_so() -> None:
    inactive = a_site(a_virtual_node(), a_tier())
    assert verdict(inactive, "host-1/VM1")["why_not"] == ["web is inactive"]
    assert verdict(inactive, "host-1/VM1")["cures"] == ["allocate web: it would be allocated next"]
    braked = a_site(a_virtual_node(), a_tier(state=ACTIVE), Trouble("web", braked_since=NOW))  # type: ignore[arg-type]  # a name
    assert verdict(braked, "host-1/VM1")["why_not"] == ["web is braked: too many of its nodes failed at once"]
    assert verdict(braked, "host-1/VM1")["cures"] == ["resume web: until then nothing is replaced"]


def test_one_cure_names_everything_that_is_missing() -> None:
    """R-ALLOC-5: half of it would change nothing."""
    small = a_virtual_node(hardware=replace(VM_HARDWARE, memory_mib=128), engagement=Engagement(False))
    needs = an_image().requirements.joined_with(
        replace(an_image().requirements, cpus=2, attributes=frozenset({"ssd"}))
    )
    fleet = a_site(small, a_tier(state=ACTIVE, requirements=needs))
    (sentence,) = verdict(fleet, small.name)["cures"]
    assert sentence == (
        "engage host-1/VM1, and with 128 MiB more memory, 1 more CPUs and attribute ssd, "
        "it would be allocated to web"
    )
    assert check_cure(fleet, small.name, fleet.tiers["web"], sentence) == "cure allocated"  # type: ignore[index]  # a name


def test_a_cure_for_a_host_promises_no_more_than_that_its_node_would_do() -> None:
    node = a_virtual_node("host-3", 1)
    fleet = a_site(a_host("host-3", slot=3, engagement=Engagement(False)), node, a_tier(state=ACTIVE))
    assert verdict(fleet, node.name)["cures"] == ["engage host-3: host-3/VM1 would do"]


def test_a_reserved_node_is_released_and_one_not_inventoried_promises_nothing() -> None:
    reserved = a_virtual_node(number=1, place="reserved")
    unknown = a_virtual_node(number=2, hardware=None)
    fleet = a_site(reserved, unknown, a_tier(state=ACTIVE))
    assert verdict(fleet, reserved.name)["cures"] == ["release host-1/VM1: it would be allocated to web"]
    assert verdict(fleet, unknown.name)["cures"] == ["inventory host-1/VM2: what comes of it decides"]


# --- members ------------------------------------------------------------------------


def member(fleet: Fleet, node: str, **view: Any) -> Any:
    return ask(fleet, "node", "explain", name=node, view=a_view(fleet, **view))


def test_a_member_is_told_the_better_choice_of_today() -> None:
    node = a_virtual_node(number=1, tier="web", slot=1, hardware=sized(1024))
    fleet = a_site(node, a_virtual_node(number=2), a_tier(state=ACTIVE))
    row = member(fleet, node.name)
    assert (row["cost"], row["cost_of"][0]) == (40, "12 for 768 MiB of memory")
    assert row["alternatives"] == [
        (
            "today host-1/VM2 would be chosen instead: it costs 32, host-1/VM1 costs 40; "
            "no node is moved for that"
        ),
        "if it were gone, host-1/VM2 would take its place, at a cost of 32",
    ]


def test_a_member_is_told_which_tier_would_get_it_first() -> None:
    node = a_virtual_node(number=1, tier="web", slot=1)
    fleet = a_site(
        node,
        a_tier(state=ACTIVE),
        a_tier("db", state=ACTIVE, priority=90),
        a_virtual_node(number=2, tier="web", slot=2),
    )
    fleet = replace_tier(fleet, "web", target=2, maximum=2)
    (sentence,) = member(fleet, node.name)["alternatives"]
    assert sentence == "if it were free today, db would get it, which is served first"
    assert check_again(fleet, node.name, fleet.tiers["web"], sentence) == "other tier's choice"  # type: ignore[index]  # a name


def replace_tier(fleet: Fleet, name: str, **fields: Any) -> Fleet:
    draft = fleet.edit()
    draft.put_tier(replace(fleet.tiers[name], **fields))  # type: ignore[index]  # a name
    return draft.freeze()


def test_r_release_1_a_member_is_told_its_place_in_the_line_to_leave() -> None:
    members = [a_virtual_node(number=n, tier="web", slot=n) for n in (1, 2, 3)]
    dear = a_virtual_node(number=4, tier="web", slot=4, hardware=sized(1024))
    fleet = a_site(*members, dear, a_tier(state=ACTIVE, target=4, minimum=2))
    assert member(fleet, dear.name)["would_leave"] == [
        (
            "with a target of 3, it would be released first: "
            "it costs more than the others (40, host-1/VM3 32) (R-RELEASE-1)"
        )
    ]
    assert member(fleet, "host-1/VM1")["would_leave"] == [
        (
            "with a target and minimum of 0, it would be released, "
            "after host-1/VM4, host-1/VM3 and host-1/VM2 (R-RELEASE-1)"
        )
    ]


def test_r_harvest_1_a_member_is_told_who_may_take_it_and_who_may_not() -> None:
    low = a_tier("low", state=ACTIVE, target=2, minimum=1, priority=10)
    nodes = [a_virtual_node(number=n, tier="low", slot=n) for n in (1, 2)]
    fleet = a_site(
        *nodes, low, a_tier(state=ACTIVE, priority=60, target=0, minimum=0), a_tier("db", priority=90)
    )
    fleet = replace_tier(fleet, "web", minimum=1)
    first, second = (member(fleet, node.name) for node in nodes)
    assert first["would_leave"][-1] == (
        "web (priority 60) may take it while no free node fits and it has less than its minimum of 1 "
        "(R-HARVEST-1)"
    )
    assert second["kept_by"] == ["web would harvest the other node that low can spare first (R-HARVEST-1)"]
    selfish = replace_tier(fleet, "low", harvesting=False)
    assert member(selfish, nodes[0].name)["kept_by"] == [
        "no more important tier may harvest it from low: its harvesting is off (R-HARVEST-1)"
    ]


def test_r_harvest_2_a_cooldown_is_named() -> None:
    node = a_virtual_node(number=1, tier="low", harvested_at=NOW - timedelta(seconds=5))
    fleet = a_site(
        node, a_tier("low", state=ACTIVE, minimum=0, priority=10), a_tier(state=ACTIVE, priority=60)
    )
    assert member(fleet, node.name)["kept_by"] == [
        "web may not harvest it: it was harvested less than 1800 s ago (R-HARVEST-2)"
    ]


def test_what_keeps_a_member_is_named_with_its_rule() -> None:
    until = NOW + timedelta(hours=2)
    node = a_virtual_node(number=1, tier="web", engagement=Engagement(False, "ann", until=until))
    fence = Fence(NodeId("host-9/VM1"), NodeId("host-9"), 1, NOW)
    fleet = a_site(node, a_slot(node=node.name, fences=(fence,)), a_tier(state=ACTIVE))
    assert member(fleet, node.name)["kept_by"] == [
        "it is disengaged until 2026-03-01T14:00:00Z: until then automation leaves it there (R-ENGAGE-1)",
        "its slot waits for evidence that host-9/VM1 is down (R-FENCE-1)",
    ]
    assert member(fleet, "host-1")["kept_by"] == [
        (
            "it would not be released, whatever the target: "
            "host-1 still hosts active guests VM1 (web slot 1) (R-SHRINK-2)"
        )
    ]


# --- why ------------------------------------------------------------------------------


def why(node: Node, **fields: Any) -> str:
    fleet = a_site(node, a_tier(state=ACTIVE), **fields)
    told: str = member(fleet, node.name)["why"]
    return told


def test_all_in_order_is_said_in_one_sentence() -> None:
    assert why(a_virtual_node(tier="web")) == (
        "nothing is out of the ordinary: it runs and all its collectors answer"
    )
    free = ask(a_site(a_virtual_node()), "node", "explain", name="host-1/VM1")["why"]
    assert free == (
        "nothing is out of the ordinary: it is in the free pool, ready to be allocated, "
        "and no tier lacks nodes"
    )


def test_whatever_is_out_of_the_ordinary_is_named() -> None:
    pending = Pending("PrepareGuest", 1, NOW, NOW)
    assert why(a_virtual_node(tier="web", lifecycle=Lifecycle.PREPARING, pending=pending)) == (
        "PrepareGuest is in flight since 2026-03-01T12:00:00Z"
    )
    assert why(a_virtual_node(hardware=None, place="discovered")) == "what it has is not known yet"
    assert why(a_virtual_node(promised="db")) == "it was harvested for db (R-HARVEST-1)"
    assert why(a_virtual_node(failures=2)) == "it failed 2 times"
    silent = {"host-1": Observed(vmm_reachable=False)}
    assert why(a_virtual_node(), observed=silent) == "its host host-1 does not answer"
    mute = Observed(power_error="no route to host")
    host = a_host("metal", tier=None, power=Endpoint("fake"))
    assert why(host, observed={"metal": mute}) == "its power controller does not answer: no route to host"


def test_an_open_alert_is_a_reason() -> None:
    node = a_virtual_node(tier="web")
    alert = an_alert(code="vm-changed", subject=node.name, message="its VM now has 768 MiB")
    cleared = an_alert(2, subject=node.name, message="long ago", cleared=NOW)
    fleet = a_site(node, a_tier(state=ACTIVE), alert, cleared)
    assert member(fleet, node.name)["why"] == "vm-changed: its VM now has 768 MiB"


def test_a_rejected_plan_is_a_reason_for_everything() -> None:
    fleet = a_site(a_virtual_node(tier="web"), a_tier(state=ACTIVE))
    view = a_view(fleet, plan=Plan(findings=(Finding("plan-rejected", "site", "a bug"),)))
    for noun, name in (("node", "host-1/VM1"), ("tier", "web")):
        told = ask(fleet, noun, "explain", name=name, view=view)["why"]
        assert told == "the last plan was rejected and nothing of it is done: see `metier alert list`"


# --- the journal ----------------------------------------------------------------------


def an_event(number: int, kind: str, message: str, **fields: Any) -> dict[str, Any]:
    at = f"2026-03-01T11:00:0{number}.250000Z"
    row = {
        "id": number,
        "at": at,
        "kind": kind,
        "subject": "host-1/VM1",
        "message": message,
        "by": "R-ALLOC-1",
    }
    return row | fields


EVENTS = [
    an_event(1, "action", "FreeNode: it is inventoried", by="R-HOST-1"),
    an_event(2, "action", "AllocateNode: web has 0, below its minimum of 1"),
    an_event(3, "action", "AdvanceNode: it is seen on"),
    an_event(4, "outcome", "DiagnoseNode done", by="R-FAIL-3"),
    an_event(
        5, "operation", "node host-1/VM1 moved to the free pool", by="ann", data={"operation": "node move"}
    ),
]


def test_the_journal_says_when_and_by_which_rule_a_node_was_put_there() -> None:
    inside = a_site(a_virtual_node(tier="web"), a_tier(state=ACTIVE))
    row = member(inside, "host-1/VM1", services=FakeServices(EVENTS))
    assert row["placed"] == "2026-03-01T11:00:02Z by R-ALLOC-1: web has 0, below its minimum of 1"
    outside = a_site(a_virtual_node(), a_tier())
    placed = [
        member(outside, "host-1/VM1", services=FakeServices(EVENTS[:count]))["placed"]
        for count in (0, 3, 4, 5)
    ]
    assert placed == [
        None,
        "2026-03-01T11:00:01Z by R-HOST-1: it is inventoried",
        "2026-03-01T11:00:04Z by R-FAIL-3: it passed its tests",
        "2026-03-01T11:00:05Z by ann: node host-1/VM1 moved to the free pool",
    ]


# --- tiers ----------------------------------------------------------------------------


def test_r_alloc_1_a_tier_between_minimum_and_target_is_told_what_harvesting_to_target_would_give() -> None:
    nodes = [a_virtual_node(number=n, tier="low", slot=n) for n in (1, 2)]
    low = a_tier("low", state=ACTIVE, target=2, minimum=1, priority=10)
    fleet = a_site(*nodes, low, a_tier(state=ACTIVE, target=1, minimum=0, priority=60), a_tier("db"))
    row = ask(fleet, "tier", "explain", name="web")
    assert row["changes"] == ["with harvest_to_target on, host-1/VM1 would be taken from low"]
    assert row["harvest"] == "it never takes nodes from other tiers, its minimum being 0 (R-HARVEST-1)"
    assert row["no_donors"] == ["db gives none: it is inactive"]
    check_line(fleet, fleet.tiers["web"], row["changes"][0])  # type: ignore[index]  # a name


def test_a_donor_that_gives_none_says_why() -> None:
    nodes = [a_virtual_node(number=n, tier="low", slot=n, engagement=Engagement(False)) for n in (1, 2)]
    low = a_tier("low", state=ACTIVE, target=2, minimum=0, priority=10)
    fleet = a_site(*nodes, low, a_tier(state=ACTIVE, priority=60))
    row = ask(fleet, "tier", "explain", name="web")
    assert (row["donors"], row["no_donors"]) == ([], ["low gives none: 2 × it is disengaged"])


def test_a_tier_is_told_what_holds_it_back_and_its_brake() -> None:
    later = NOW + timedelta(minutes=1)
    web = a_tier(state=ACTIVE, depends_on=("db",))
    fleet = a_site(a_tier("db"), web, Trouble("web", braked_since=later))  # type: ignore[arg-type]  # a name
    row = ask(fleet, "tier", "explain", name="web")
    assert row["held_back"] == ["its nodes are not started before db is active: it is inactive"]
    assert row["brake"] == (
        "nothing is replaced since 2026-03-01T12:01:00Z: too much failed at once; `metier tier resume web`"
    )
    assert all(part in row["why"] for part in (row["held_back"][0], row["brake"]))


def test_a_tier_is_told_which_host_would_take_it_below_its_minimum() -> None:
    nodes = [
        a_virtual_node("host-1", 1, tier="web", slot=1),
        a_virtual_node("host-1", 2, tier="web", slot=2),
        a_virtual_node("host-2", 1, tier="web", slot=3),
    ]
    fleet = a_site(*nodes, a_tier(state=ACTIVE, target=3, minimum=2))
    dips = ask(fleet, "tier", "explain", name="web")["dips"]
    assert dips == ["if host-1 went down, web would keep 1 normal node, below its minimum of 2"]
    tight = replace_tier(fleet, "web", minimum=3)
    assert ask(tight, "tier", "explain", name="web")["dips"] == [
        "one normal node less takes web below its minimum of 3"
    ]


def test_the_claims_of_rare_cases_come_true() -> None:
    """What random fleets seldom show: another tier's turn, and a node that is taken from a member."""
    low = a_tier("low", state=ACTIVE, target=2, minimum=1, priority=10)
    nodes = [a_virtual_node(number=n, tier="low", slot=n) for n in (1, 2)]
    fleet = a_site(
        *nodes, low, a_tier(state=ACTIVE, priority=60), a_virtual_node(number=3, hardware=sized(128))
    )
    row = member(fleet, nodes[0].name)
    kinds = [check_again(fleet, nodes[0].name, low, sentence) for sentence in row["alternatives"]]
    kinds += [
        kind for sentence in row["would_leave"] for kind in check_harvest(fleet, nodes[0].name, sentence)
    ]
    assert "harvested" in kinds

"""Update procedures in a round: commands are carried out whole or not at all, and told in the journal."""

from dataclasses import replace
from typing import Any

from metier.control.alerts import AlertBook
from metier.control.procedures import MOST_STEPS, STUCK, advance_procedures, without_expected
from metier.control.round import Memory, Round, run_round
from metier.domain.fleet import Fleet
from metier.domain.ids import NodeId, TierId
from metier.domain.job import JobState
from metier.domain.node import Engagement
from metier.domain.observation import Observed, Power
from metier.domain.plan import Finding
from metier.domain.procedure import Stage
from metier.domain.tier import TierState
from metier.operations import load_operations
from metier.planner.incremental import Planner
from tests.builders import (
    NOW,
    Record,
    a_fleet,
    a_host,
    a_host_image,
    a_host_tier,
    a_job,
    a_procedure,
    a_tier,
    a_virtual_node,
    an_image,
    an_instance,
    vm_facts,
)

load_operations()
WEB, VM1 = TierId("update-web"), NodeId("host-1/VM1")


def a_site(*more: Record, power: Power = Power.OFF) -> Fleet:
    return a_fleet(
        a_host_image(vms=1),
        an_image(),
        a_host_tier(state=TierState.ACTIVE),
        a_host(),
        *more,
        observed={"host-1": Observed(Power.ON, NOW, vms=(vm_facts(1, power),), vms_at=NOW)},
    )


def one_round(fleet: Fleet) -> Round:
    return run_round(fleet, [], Memory(Planner(), AlertBook(fleet)), NOW)


def in_hand(**fields: Any) -> Fleet:
    """Return a site whose guest was shut down from inside."""
    values = {
        "node": VM1,
        "made": (WEB,),
        "disengaged": (VM1,),
        "stage": Stage.CHANGING,
    }
    guest = a_virtual_node(
        tier="update-web",
        engagement=Engagement(False, "image update 1"),
        instance=an_instance("update-web"),
        since=None,
    )
    return a_site(a_tier("update-web", state=TierState.ACTIVE), guest, a_procedure(**(values | fields)))


def test_all_that_can_be_done_at_once_is_done_in_one_round_in_the_procedures_own_name() -> None:
    result = one_round(a_site(a_virtual_node(), a_procedure()))
    assert result.fleet.tiers[WEB].state is TierState.ACTIVE
    assert result.fleet.nodes[VM1].tier == WEB
    given = [(entry.by, entry.message) for entry in result.entries if entry.kind == "operation"]
    assert given == [
        ("image update 1", "tier update-web created"),
        ("image update 1", "tier update-web allocated"),
        ("image update 1", "tier update-web activated"),
    ]
    assert [entry.message for entry in result.entries if entry.kind == "procedure"] == [
        "takes host-1/VM1 into tier update-web",
        "starts image web@1 on host-1/VM1",
    ]
    assert not result.is_rejected


def test_the_plan_names_the_procedure_for_its_tier_and_its_node() -> None:
    result = one_round(a_site(a_virtual_node(), a_procedure()))
    said = {waiting.subject for waiting in result.plan.waiting if "image update 1 of web@1" in waiting.why}
    assert said == {WEB, VM1}


def test_a_step_that_is_refused_leaves_nothing_and_says_why() -> None:
    fleet = a_site(a_virtual_node(), a_procedure(), a_tier("shop"))
    draft = fleet.edit()
    draft.put_image(replace(an_image(), active=False))
    entries = advance_procedures(draft, NOW)
    assert draft.procedures[1].problem == "image web@1 is not active"
    assert "metier image activate web@1" in draft.procedures[1].remedy
    assert WEB not in draft.tiers
    assert [entry.kind for entry in entries] == ["procedure"]
    assert advance_procedures(draft, NOW) == []  # what stands is not told twice


def test_the_job_of_a_capture_is_noted() -> None:
    result = one_round(in_hand())
    assert result.fleet.procedures[1].job == 1
    assert result.fleet.jobs[1].by == "image update 1"
    assert result.fleet.procedures[1].stage is Stage.CAPTURING


def test_a_stuck_procedure_raises_one_alert_and_the_job_behind_it_none() -> None:
    job = a_job(4, subject="web@2", state=JobState.FAILED, error="disk full", by="image update 1")
    fleet = in_hand(job=4).edit()
    fleet.put_job(job)
    result = one_round(fleet.freeze())
    assert [(alert.code, alert.subject) for alert in result.fleet.alerts.values()] == [(STUCK, "web@1")]


def test_alerts_that_a_guest_shut_down_on_purpose_would_raise_are_left_out_and_no_others() -> None:
    fleet = in_hand()
    findings = [
        Finding("node-failed", VM1, "off"),
        Finding("tier-below-minimum", WEB, "0 of 1"),
        Finding("node-failed", "host-1", "off"),
        Finding("vm-changed", VM1, "less memory"),
    ]
    assert without_expected(fleet, findings) == tuple(findings[2:])
    over = a_site(a_procedure(node=VM1, ended=NOW))
    assert without_expected(over, findings) == tuple(findings)


def test_a_roll_out_that_is_refused_is_remarked_on_and_the_procedure_ends() -> None:
    fleet = a_site(a_procedure(captured=True, roll_out=(TierId("gone"),)))
    result = one_round(fleet)
    procedure = result.fleet.procedures[1]
    assert procedure.ended == NOW
    assert procedure.remarks[0].startswith("tier update refused: there is no tier gone")


def test_a_fault_in_one_procedure_holds_neither_the_round_nor_the_others() -> None:
    broken = a_procedure(1, node=NodeId("host-1/VM9"), stage=Stage.CAPTURING, made=(WEB,), job=5)
    fleet = a_site(a_virtual_node(), broken, a_procedure(2, tier=TierId("update-web-2")))
    draft = fleet.edit()
    draft.put_tier(a_tier("update-web", maximum=0, target=0, minimum=0, image=an_image().ref))
    entries = advance_procedures(draft, NOW)
    assert "update-web-2" in draft.tiers
    assert len(entries) < 2 * MOST_STEPS

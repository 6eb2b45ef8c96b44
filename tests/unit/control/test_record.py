"""What an answer changes in the Fleet, and which answers somebody has to plan from."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from metier.control.observe import Probe, Question, Sight, gave_up, record
from metier.domain.fleet import Draft, Fleet, Kind
from metier.domain.ids import NodeId
from metier.domain.observation import CheckResult, Health, Observed, Power
from metier.drivers.hypervisor.api import VmReport
from tests.builders import NOW, a_fleet, a_host, a_host_tier, a_tier, a_virtual_node, vm_facts

HOST = NodeId("host-1")
GUEST = NodeId("host-1/VM1")
EARLIER = NOW - timedelta(minutes=5)


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def site(**host_fields: Any) -> Draft:
    fleet = a_fleet(
        a_host_tier(),
        a_tier(),
        a_host(since=EARLIER, **host_fields),
        a_virtual_node(tier="web", since=EARLIER),
    )
    return fleet.edit()


def sight(probe: Probe, node: NodeId = HOST, seconds: float = 1, **fields: Any) -> Sight:
    return Sight(Question(probe, node), after(seconds), **fields)


def loud(draft: Fleet) -> bool:
    """Say whether somebody will plan because of what was put."""
    assert isinstance(draft, Draft)
    return Kind.OBSERVED in draft.changes


def again(draft: Draft) -> Draft:
    return draft.freeze().edit()


def test_power_is_recorded_with_the_moment_it_was_asked() -> None:
    draft = site()
    assert record(draft, sight(Probe.POWER, power=Power.ON)) == "power is on"
    assert (draft.seen(HOST).power, draft.seen(HOST).power_at) == (Power.ON, after(1))


def test_the_same_answer_again_is_quiet_and_still_newer() -> None:
    draft = site()
    record(draft, sight(Probe.POWER, power=Power.ON))
    draft = again(draft)
    assert record(draft, sight(Probe.POWER, seconds=6, power=Power.ON)) == ""
    assert not loud(draft)
    assert draft.seen(HOST).power_at == after(6)


def test_the_same_answer_is_loud_while_somebody_waits_for_newer_evidence() -> None:
    draft = site()
    record(draft, sight(Probe.POWER, power=Power.OFF))
    draft.put_node(replace(draft.nodes[HOST], started_at=after(3)))
    draft = again(draft)
    assert record(draft, sight(Probe.POWER, seconds=6, power=Power.OFF)) == ""
    assert loud(draft)


def test_it_is_loud_for_the_host_when_a_guest_changed_meanwhile() -> None:
    draft = site()
    report = VmReport((vm_facts(1),), 0)
    record(draft, sight(Probe.VMS, report=report))
    draft.put_node(replace(draft.nodes[GUEST], since=after(3)))
    draft = again(draft)
    record(draft, sight(Probe.VMS, seconds=6, report=report))
    assert loud(draft)


def test_an_older_answer_is_ignored() -> None:
    draft = site()
    record(draft, sight(Probe.POWER, seconds=5, power=Power.OFF))
    assert record(draft, sight(Probe.POWER, seconds=4, power=Power.ON)) == ""
    assert draft.seen(HOST).power is Power.OFF


def test_a_node_that_is_gone_is_ignored() -> None:
    draft = site()
    assert record(draft, sight(Probe.POWER, NodeId("host-9"), power=Power.ON)) == ""
    assert not loud(draft)


def test_a_report_names_what_changed_in_it() -> None:
    draft = site()
    record(draft, sight(Probe.VMS, report=VmReport((vm_facts(1), vm_facts(2, Power.OFF)), 1)))
    words = record(draft, sight(Probe.VMS, seconds=2, report=VmReport((vm_facts(1, Power.OFF),), 1)))
    assert words == "VM1 is off; VM2 is gone"
    assert draft.seen(HOST).foreign_running == 1


def test_no_answer_keeps_the_last_report_and_counts() -> None:
    draft = site()
    record(draft, sight(Probe.VMS, report=VmReport((vm_facts(1),), 0)))
    assert record(draft, sight(Probe.VMS, seconds=2, error="no route")) == "its VM manager fails: no route"
    record(draft, gave_up(Question(Probe.VMS, HOST), after(3)))
    seen = draft.seen(HOST)
    assert (seen.vmm_failures, seen.vmm_error) == (2, "no answer within 15 s")
    assert (seen.vms_at, seen.vms) == (after(1), (vm_facts(1),))


def test_without_a_power_controller_a_host_that_answers_is_on_and_else_unknown() -> None:
    draft = site(power=None)
    record(draft, sight(Probe.VMS, report=VmReport((), 0)))
    assert draft.seen(HOST).power is Power.ON
    record(draft, sight(Probe.VMS, seconds=2, error="no route"))
    assert draft.seen(HOST).power is Power.UNKNOWN


def test_with_a_power_controller_only_that_says_whether_a_host_is_on() -> None:
    draft = site()
    record(draft, sight(Probe.POWER, power=Power.OFF))
    record(draft, sight(Probe.VMS, seconds=2, report=VmReport((), 0)))
    assert (draft.seen(HOST).power, draft.seen(HOST).power_at) == (Power.OFF, after(1))


def test_a_power_controller_that_fails_leaves_the_power_unknown() -> None:
    draft = site()
    record(draft, sight(Probe.POWER, power=Power.ON))
    record(draft, sight(Probe.POWER, seconds=2, error="no answer"))
    assert (draft.seen(HOST).power, draft.seen(HOST).power_error) == (Power.UNKNOWN, "no answer")


def test_failed_checks_are_counted_until_one_round_passes() -> None:
    draft = site()
    bad = (CheckResult("tcp:80", False, "refused"),)
    assert record(draft, sight(Probe.CHECKS, GUEST, checks=bad)) == "health is critical (tcp:80: refused)"
    record(draft, sight(Probe.CHECKS, GUEST, 2, checks=bad))
    assert draft.seen(GUEST).failed_checks == 2
    record(draft, sight(Probe.CHECKS, GUEST, 3, checks=(CheckResult("tcp:80", True),)))
    assert (draft.seen(GUEST).health, draft.seen(GUEST).failed_checks) == (Health.NORMAL, 0)


def test_checks_that_nobody_could_make_count_as_failed() -> None:
    draft = site()
    record(draft, sight(Probe.CHECKS, GUEST, error="internal error: x"))
    assert draft.seen(GUEST).health is Health.CRITICAL


def test_every_record_keeps_what_the_other_probes_saw() -> None:
    draft = site()
    record(draft, sight(Probe.POWER, power=Power.ON))
    record(draft, sight(Probe.VMS, report=VmReport((vm_facts(1),), 0)))
    seen = draft.seen(HOST)
    assert isinstance(seen, Observed)
    assert seen.power is Power.ON
    assert seen.vmm_reachable is True

"""When what is asked: pauses that follow the Fleet, and questions that are asked once at a time."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from metier.control.observe import CALM_S, EAGER_S, Probe, Question, Schedule
from metier.domain.fleet import Fleet
from metier.domain.ids import NodeId
from metier.domain.lifecycle import Lifecycle
from metier.domain.node import Node, Request
from tests.builders import (
    NOW,
    a_fleet,
    a_host,
    a_host_image,
    a_host_tier,
    a_node,
    a_tier,
    a_virtual_node,
    an_image,
)
from tests.unit.planner.stories import CHECKED

POWER = Question(Probe.POWER, NodeId("host-1"))
VMS = Question(Probe.VMS, NodeId("host-1"))
CHECKS = Question(Probe.CHECKS, NodeId("host-1/VM1"))


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def site(*nodes: Node, checked: bool = True) -> Fleet:
    image = an_image(collectors=CHECKED if checked else ())
    return a_fleet(a_host_image(), image, a_host_tier(), a_tier(), *nodes)


def following(fleet: Fleet) -> Schedule:
    schedule = Schedule()
    schedule.follow(fleet, fleet.nodes, NOW)
    return schedule


def asked(fleet: Fleet) -> set[Question]:
    return set(following(fleet).take_due(NOW))


def test_a_new_node_is_asked_at_once() -> None:
    fleet = site(a_host(), a_virtual_node(tier="web"))
    assert asked(fleet) == {POWER, VMS, CHECKS}


def test_what_has_no_driver_is_not_asked() -> None:
    assert asked(site(a_node("metal", power=None))) == set()
    assert asked(site(a_node("metal"))) == {Question(Probe.POWER, NodeId("metal"))}


def test_a_free_host_is_asked_for_its_power_alone() -> None:
    assert asked(site(a_host(tier=None))) == {POWER}


def test_a_host_that_still_has_virtual_nodes_is_asked_though_it_left_its_tier() -> None:
    assert asked(site(a_host(tier=None), a_virtual_node())) == {POWER, VMS}


def test_guests_without_collectors_are_not_checked() -> None:
    assert CHECKS not in asked(site(a_host(), a_virtual_node(tier="web"), checked=False))


@pytest.mark.parametrize(
    "lifecycle", [Lifecycle.IDLE, Lifecycle.PREPARING, Lifecycle.BOOTING, Lifecycle.STOPPING]
)
def test_guests_that_do_not_serve_are_not_checked(lifecycle: Lifecycle) -> None:
    assert CHECKS not in asked(site(a_host(), a_virtual_node(tier="web", lifecycle=lifecycle)))


@pytest.mark.parametrize(
    ("host", "question", "pause_s"),
    [
        (a_host(), POWER, CALM_S),
        (a_host(request=Request.POWER_OFF), POWER, EAGER_S),
        (a_host(lifecycle=Lifecycle.BOOTING), POWER, EAGER_S),
        (a_host(), VMS, CALM_S),
        (a_host(staged=False), VMS, EAGER_S),
        (a_host(lifecycle=Lifecycle.STOPPING), VMS, EAGER_S),
    ],
)
def test_what_is_expected_to_change_is_asked_eagerly(host: Node, question: Question, pause_s: float) -> None:
    schedule = following(site(host))
    schedule.take_due(NOW)
    schedule.answered(question, NOW)
    assert question not in schedule.take_due(after(pause_s - 0.1))
    assert question in schedule.take_due(after(pause_s))


def test_a_host_is_asked_eagerly_while_one_of_its_guests_boots() -> None:
    schedule = following(site(a_host(), a_virtual_node(tier="web", lifecycle=Lifecycle.BOOTING)))
    schedule.take_due(NOW)
    schedule.answered(VMS, NOW)
    assert VMS in schedule.take_due(after(EAGER_S))


def test_it_is_not_asked_again_before_it_answered() -> None:
    schedule = following(site(a_host()))
    assert set(schedule.take_due(NOW)) == {POWER, VMS}
    assert schedule.take_due(after(600)) == []
    assert schedule.next_due() is None


def test_at_once_while_it_is_asked_means_again_as_soon_as_it_answered() -> None:
    schedule = following(site(a_host()))
    schedule.take_due(NOW)
    schedule.at_once(VMS, after(1))
    assert schedule.take_due(after(1)) == []
    schedule.answered(VMS, after(2))
    assert schedule.next_due() == after(2)
    assert schedule.take_due(after(2)) == [VMS]


def test_at_once_brings_a_later_question_forward() -> None:
    schedule = following(site(a_host()))
    schedule.take_due(NOW)
    schedule.answered(VMS, NOW)
    assert schedule.next_due() == after(CALM_S)
    schedule.at_once(VMS, after(1))
    assert schedule.take_due(after(1)) == [VMS]
    assert schedule.take_due(after(600)) == []


def test_at_once_asks_nothing_that_is_not_asked_at_all() -> None:
    schedule = following(site(a_host(tier=None)))
    schedule.take_due(NOW)
    schedule.at_once(VMS, NOW)
    assert schedule.take_due(after(60)) == []


def test_a_node_that_is_gone_is_not_asked_any_more() -> None:
    fleet = site(a_host())
    schedule = following(fleet)
    schedule.follow(a_fleet(), fleet.nodes, NOW)
    assert schedule.take_due(after(60)) == []
    schedule.answered(POWER, after(60))
    assert schedule.next_due() is None


def test_a_node_that_begins_to_change_is_asked_at_once() -> None:
    fleet = site(a_host())
    schedule = following(fleet)
    schedule.take_due(NOW)
    schedule.answered(POWER, NOW)
    draft = fleet.edit()
    draft.put_node(replace(fleet.nodes[POWER.node], request=Request.POWER_OFF))
    schedule.follow(draft.freeze(), [POWER.node], after(1))
    assert schedule.take_due(after(1)) == [POWER]

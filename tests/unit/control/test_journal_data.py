"""What entries say to programs: everything that was decided and seen, and no secret."""

import json
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from metier.control.alerts import AlertBook
from metier.control.inbox import JobNews, Message, Order, Settled
from metier.control.journal_data import (
    ARGUMENTS_LIMIT,
    action_data,
    arguments_data,
    job_data,
    observation_data,
    outcome_data,
    plain,
)
from metier.control.observe import Probe, Question, Sight
from metier.control.round import Memory, run_round
from metier.domain.actions import (
    AdvanceNode,
    AllocateNode,
    FailNode,
    PowerOn,
    PrepareGuest,
    ReleaseNode,
    RetireGuest,
    StageVms,
    StopNode,
)
from metier.domain.fleet import Fleet
from metier.domain.hardware import Hardware
from metier.domain.ids import NodeId, SlotId, TierId
from metier.domain.image import Image, OfferedVm
from metier.domain.job import JobState
from metier.domain.lifecycle import Event
from metier.domain.node import Place
from metier.domain.observation import Health, Observed, Power
from metier.domain.tier import TierState
from metier.operations import load_operations
from metier.operations.nodes import AddNode
from metier.operations.registry import Caller, operation, option, positional
from metier.operations.site import ApplySite
from metier.planner.effects import Done, Failed
from metier.planner.incremental import Planner
from metier.store.codec import form_of
from tests.builders import (
    NOW,
    VM_HARDWARE,
    a_fleet,
    a_host,
    a_host_image,
    a_host_tier,
    a_job,
    an_image,
    an_instance,
    vm_facts,
)

SLOT = SlotId(TierId("web"), 2)
WHY: dict[str, Any] = {"node": NodeId("host-1/VM1"), "why": "it must be", "rule": "R-ALLOC-1", "expects": 5}


# --- orders ------------------------------------------------------------------------


def test_only_what_was_given_is_told() -> None:
    assert arguments_data(AddNode(name="host-1", attribute=("ssd",))) == {
        "attribute": ["ssd"],
        "name": "host-1",
    }
    assert arguments_data(None) == {}


def test_settings_of_drivers_are_hidden_and_their_keys_are_told() -> None:
    arguments = AddNode(
        name="host-1",
        vmm="libvirt",
        url="qemu+ssh://root@h/system?keyfile=/k",
        vmm_setting=("store=/srv/guests",),
        power_setting=("on=ipmitool -P hunter2", "odd"),
    )
    assert arguments_data(arguments) == {
        "name": "host-1",
        "vmm": "libvirt",
        "url": "…",
        "vmm_setting": ["store=…"],
        "power_setting": ["on=…", "…"],
    }


def test_they_are_hidden_in_site_files_too() -> None:
    document = {
        "nodes": {
            "host-1": {"url": "secret", "vmm_settings": {"store": "secret"}, "vmm": "libvirt"},
            "host-2": {"power_setting": ["on=secret"], "url": None, "power_settings": "off=secret"},
        },
        "tiers": [{"name": "web", "target": 3}],
    }
    data = arguments_data(ApplySite(document=document))
    assert "secret" not in json.dumps(data)
    assert data["document"]["nodes"]["host-1"] == {
        "url": "…",
        "vmm_settings": {"store": "…"},
        "vmm": "libvirt",
    }
    assert data["document"]["tiers"] == document["tiers"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """An order of a Metier to come."""

    name: str = positional("who")
    smtp_password: str | None = option("their password", None)
    api_token: str | None = option("their token", None)


def test_whatever_is_called_a_password_is_hidden() -> None:
    data = arguments_data(Login(name="ann", smtp_password="x=1", api_token="abc"))
    assert data == {"name": "ann", "smtp_password": "x=…", "api_token": "…"}


def test_long_arguments_are_left_out() -> None:
    data = arguments_data(ApplySite(document={"tiers": ["x" * ARGUMENTS_LIMIT]}))
    assert set(data) == {"left_out"}
    assert data["left_out"] > ARGUMENTS_LIMIT


# --- decisions and outcomes ------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "data"),
    [
        (AllocateNode(slot=SLOT, cost=20, **WHY), {"slot": "web/2", "cost": 20}),
        (AllocateNode(slot=SLOT, **WHY), {"slot": "web/2"}),
        (ReleaseNode(**WHY), {}),
        (
            ReleaseNode(to=Place.MAINTENANCE, promised=TierId("db"), grace_s=60, **WHY),
            {"to": "maintenance", "promised": "db", "grace_s": 60},
        ),
        (StopNode(for_reboot=True, **WHY), {"for_reboot": True}),
        (AdvanceNode(event=Event.BOOTED, **WHY), {"event": Event.BOOTED.value}),
        (
            FailNode(event=Event.TIMED_OUT, problem="no answer", own_fault=False, **WHY),
            {"event": Event.TIMED_OUT.value, "problem": "no answer", "own_fault": False},
        ),
        (StageVms(offers=(OfferedVm(1, 64), OfferedVm(3, 64)), **WHY), {"offers": [1, 3]}),
        (RetireGuest(discard=None, **WHY), {"discard": None}),
        (RetireGuest(discard=an_instance(), **WHY), {"discard": "web-1-1"}),
        (
            PrepareGuest(
                slot=SLOT,
                image=an_image(),
                instance=an_instance(),
                hostname="www",
                address=None,
                gateway=None,
                **WHY,
            ),
            {
                "slot": "web/2",
                "image": "web@1",
                "instance": "web-1-1",
                "hostname": "www",
                "address": None,
                "gateway": None,
            },
        ),
    ],
    ids=str,
)
def test_an_action_tells_what_it_consists_of(action: Any, data: dict[str, Any]) -> None:
    found = action_data(action)
    assert found == {"action": type(action).__name__, **data}
    assert json.loads(json.dumps(found)) == found
    assert action_data(action, 12) == {**found, "id": 12}


def test_an_outcome_tells_whether_it_was_done() -> None:
    action = PowerOn(**WHY)
    assert outcome_data(7, action, Done(("remark",))) == {"action": "PowerOn", "id": 7, "ok": True}
    assert outcome_data(7, action, Failed("no route", unsure=True)) == {
        "action": "PowerOn",
        "id": 7,
        "ok": False,
        "final": False,
        "unsure": True,
        "reason": "no route",
    }


def test_what_an_inventory_found_can_be_read_back() -> None:
    data = outcome_data(7, PowerOn(**WHY), Done(hardware=VM_HARDWARE))
    assert form_of(Hardware).decode(json.loads(json.dumps(data))["hardware"]) == VM_HARDWARE


def test_an_image_that_a_job_made_can_be_read_back() -> None:
    job = a_job(4, state=JobState.DONE)
    assert job_data(JobNews(job)) == {"job": 4, "job_kind": "image-import", "state": "done"}
    data = json.loads(json.dumps(job_data(JobNews(job, an_image()))))
    assert form_of(Image).decode(data["image"]) == an_image()


# --- what was seen ------------------------------------------------------------------------


def test_only_what_changed_is_told() -> None:
    was = Observed(Power.ON, NOW, vms=(vm_facts(1), vm_facts(2), vm_facts(3)), vmm_reachable=True)
    assert observation_data(was, was) == {}
    later = replace(was, power_at=NOW + timedelta(seconds=5), vms_at=NOW)
    assert observation_data(was, later) == {}
    assert observation_data(was, replace(was, power=Power.OFF)) == {"power": "off"}
    assert observation_data(was, replace(was, vmm_reachable=False)) == {"vmm_reachable": False}
    assert observation_data(was, replace(was, health=Health.CRITICAL)) == {"health": "critical"}
    assert observation_data(was, replace(was, foreign_running=2)) == {"foreign_running": 2}
    assert observation_data(replace(was, foreign_running=2), was) == {"foreign_running": 0}
    vms = (vm_facts(1), vm_facts(2, Power.OFF), vm_facts(4))
    assert observation_data(was, replace(was, vms=vms)) == {"vms": {"2": "off", "4": "on"}, "gone": [3]}


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (NOW, "2026-03-01T12:00:00Z"),
        (float("inf"), "inf"),
        (frozenset({"b", "a"}), ["a", "b"]),
        ({1: (2, None)}, {"1": [2, None]}),
        (Power.ON, "on"),
        (object, "<class 'object'>"),
    ],
)
def test_any_value_becomes_json_ready(value: Any, data: Any) -> None:
    assert plain(value) == data


# --- in the entries of a round ---------------------------------------------------------------

EAGER = a_fleet(a_host_tier(state=TierState.ACTIVE), a_host_image(), a_host(tier=None))


def data_of(fleet: Fleet, *messages: Message) -> dict[str, list[Any]]:
    """Return the data of a round's entries by their kind."""
    result = run_round(fleet, messages, Memory(Planner(), AlertBook(fleet)), NOW)
    found: dict[str, list[Any]] = {}
    for entry in result.entries:
        json.dumps(entry.data, allow_nan=False)
        found.setdefault(entry.kind, []).append(entry.data)
    return found


def test_decisions_and_work_tell_slot_and_id_and_outcomes_that_id() -> None:
    result = run_round(EAGER, [], Memory(Planner(), AlertBook(EAGER)), NOW)
    ((number, work),) = result.begun
    assert [entry.data for entry in result.entries if entry.kind == "action"] == [
        {"action": "AllocateNode", "slot": "hosts/1", "cost": 296},
        {"action": "PowerOn", "id": number},
    ]
    told = data_of(result.fleet, Settled(number, work, Done()))
    assert told["outcome"] == [{"action": "PowerOn", "id": number, "ok": True}]


def test_an_observation_tells_what_changed() -> None:
    sight = Sight(Question(Probe.POWER, NodeId("host-1")), NOW, power=Power.OFF)
    assert data_of(EAGER, sight)["observation"] == [{"power": "off"}]


def test_an_order_tells_its_arguments_without_secrets() -> None:
    load_operations()
    arguments = AddNode(name="host-7", power="command", power_setting=("on=x -P hunter2",))
    (data,) = data_of(EAGER, Order(operation("node", "add"), arguments, Caller("ann", NOW)))["operation"]
    assert data["operation"] == "node add"
    assert data["arguments"] == {"name": "host-7", "power": "command", "power_setting": ["on=…"]}
    assert "hunter2" not in json.dumps(data)


def test_a_job_tells_what_it_made() -> None:
    fleet = a_fleet(a_job(1))
    (data,) = data_of(fleet, JobNews(a_job(1, state=JobState.DONE), an_image("web@2")))["job"]
    assert (data["state"], data["image"]["ref"]) == ("done", ["web", "2"])

"""What a journal recorded becomes a scenario again, and the simulation decides what was decided."""

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metier.app import rehearsal
from metier.domain.errors import MetierError, WrongUsage
from metier.domain.ids import TierId
from metier.operations import load_operations
from metier.sim.compare import compare
from metier.sim.faults import befall
from metier.sim.rehearsal import Replayed
from metier.sim.replay import MOST_LOOKED_AT, replay_of
from metier.sim.scenario import read, render
from metier.sim.simulation import Simulation
from metier.sim.timeline import Fact, FactKind
from metier.sim.typed import typed
from metier.store.api import Entry
from tests.unit.sim.small_site import MORNING, a_running_site, journal_of, place_of, the_rehearsal

load_operations()
FLEET = the_rehearsal().site().fleet
GUEST = place_of("web")
"""A guest that serves, on HOST, with NUMBER."""

OTHER = "host-2/VM9"
"""One that never served."""

HOST, _, NUMBER = GUEST.partition("/VM")


def lines_of(*entries: Entry) -> list[str]:
    """Return what becomes of journal entries, without the end."""
    return [step.text for step in replay_of(entries, FLEET, "journal").scenario.steps]


def seen(subject: str, at_s: float = 0, **data: object) -> Entry:
    return Entry(MORNING + timedelta(hours=1, seconds=at_s), "observation", subject, "", data=data)


def did(subject: str, action: str, at_s: float = 0) -> Entry:
    return Entry(MORNING + timedelta(hours=1, seconds=at_s), "action", subject, "", data={"action": action})


def ordered(operation: Any, arguments: Any) -> Entry:
    data = {"operation": operation, "arguments": arguments}
    return Entry(MORNING + timedelta(hours=1), "operation", "x", "", data=data, id=7)


# --- the same again -------------------------------------------------------------------------


def replayed(story: Callable[[Simulation], None], tmp_path: Path) -> Replayed:
    """Let a story happen to a real controller, and then again from its journal."""
    simulation, text = a_running_site()
    last = simulation.records.last_id
    story(simulation)
    return rehearsal(text, "before.json").replay(journal_of(simulation, last), "journal.json", tmp_path)


def a_bad_day(simulation: Simulation) -> None:
    simulation.pass_s(100)
    befall(simulation, "host-1 dies")
    simulation.pass_s(60)
    simulation.order("tier", "edit", name="web", target=3)
    simulation.pass_s(200)
    befall(simulation, "everything heals")
    simulation.pass_s(300)
    befall(simulation, "host-2 loses power")
    simulation.pass_s(300)
    simulation.order("", "apply", document={"tiers": [{"name": "web", "target": 2}]})
    simulation.pass_s(100)


def test_a_bad_day_goes_the_same_way_again(tmp_path: Path) -> None:
    found = replayed(a_bad_day, tmp_path)
    texts = [step.text for step in found.replay.scenario.steps]
    assert texts[:3] == [
        "host-1 dies",
        "metier tier edit web --target=3 --accept-warnings",
        "host-1 is repaired",
    ]
    assert texts[3] == "host-2 loses power"
    assert texts[4].startswith("metier apply --file document-")
    assert found.report.is_good
    assert not found.replay.left_out
    assert found.comparison.same > 60
    assert len(found.comparison.missing) + len(found.comparison.extra) < found.comparison.same / 20


def test_what_nobody_did_and_nothing_befell_needs_no_line(tmp_path: Path) -> None:
    def quiet(simulation: Simulation) -> None:
        simulation.order("tier", "edit", name="web", target=4)
        simulation.pass_s(100)
        simulation.order("node", "shutdown", name="host-1")
        simulation.pass_s(300)

    found = replayed(quiet, tmp_path)
    assert [step.text for step in found.replay.scenario.steps] == [
        "metier tier edit web --target=4 --accept-warnings",
        "metier node shutdown host-1 --accept-warnings",
    ]
    assert found.comparison.same > 20
    assert not found.comparison.missing


def the_place(simulation: Simulation, tier: str) -> str:
    return str(simulation.fleet.members(TierId(tier))[1])


def test_a_guest_that_dies_hangs_or_is_started_by_hand(tmp_path: Path) -> None:
    places: list[str] = []

    def guests(simulation: Simulation) -> None:
        web, db = the_place(simulation, "web"), the_place(simulation, "db")
        befall(simulation, f"guest {web} dies")
        simulation.pass_s(60)
        befall(simulation, f"guest {db} hangs")
        places.extend([web, db])
        simulation.pass_s(300)
        befall(simulation, "host-3/VM3 is started by hand")
        simulation.pass_s(60)

    found = replayed(guests, tmp_path)
    texts = [step.text for step in found.replay.scenario.steps]
    assert texts[:2] == [f"guest {places[0]} dies", f"guest {places[1]} hangs"]
    assert found.comparison.same > 10


def test_a_written_scenario_is_read_back() -> None:
    simulation, text = a_running_site()
    last = simulation.records.last_id
    a_bad_day(simulation)
    found = rehearsal(text, "before.json").read(journal_of(simulation, last), "journal.json").scenario
    assert read(render(found), found.name) == found


def test_a_journal_that_is_older_than_the_site_is_refused() -> None:
    simulation, text = a_running_site()
    with pytest.raises(WrongUsage, match="has nothing newer than the site, which has all until entry"):
        rehearsal(text, "site.json").read(journal_of(simulation, 0), "journal.json")
    with pytest.raises(WrongUsage, match=r"cannot read journal\.json"):
        rehearsal(text, "site.json").read("nonsense", "journal.json")


# --- what befell ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entries", "lines"),
    [
        ([seen(HOST, power="off")], [f"{HOST} loses power"]),
        ([did(HOST, "PowerOff"), seen(HOST, power="off")], []),
        ([seen(HOST, power="unknown")], [f"BMC of {HOST} is dead"]),
        (
            [seen(HOST, power="unknown"), seen(HOST, 90, power="on")],
            [f"BMC of {HOST} is dead", f"BMC of {HOST} is well", f"{HOST} is switched on by hand"],
        ),
        ([seen(HOST, power="unknown"), did(HOST, "PowerOn"), seen(HOST, 1, power="on")], []),
        ([seen(HOST, vmm_reachable=False)], [f"network to {HOST} breaks"]),
        (
            [seen(HOST, vmm_reachable=False), seen(HOST, 90, vmm_reachable=True)],
            [f"network to {HOST} breaks", f"network to {HOST} is mended"],
        ),
        ([seen(HOST, vmm_reachable=False), seen(HOST, 5, power="off")], [f"{HOST} loses power"]),
        ([seen(HOST, vmm_reachable=False), seen(HOST, 5, power="unknown")], [f"{HOST} dies"]),
        (
            [
                seen(HOST, vmm_reachable=False),
                did(HOST, "PowerOff", 4),
                seen(HOST, 5, power="off"),
            ],
            [f"network to {HOST} breaks"],
        ),
        ([did(HOST, "PowerOff"), seen(HOST, vmm_reachable=False)], []),
        ([seen(GUEST, health="critical")], [f"guest {GUEST} hangs"]),
        (
            [seen(GUEST, health="critical"), seen(HOST, 9, vms={NUMBER: "off"})],
            [f"guest {GUEST} dies"],
        ),
        (
            [seen(GUEST, health="critical"), seen(HOST, 9, vmm_reachable=False)],
            [f"network to {HOST} breaks"],
        ),
        (
            [seen(GUEST, health="critical"), seen(GUEST, 9, health="normal")],
            [f"guest {GUEST} hangs", f"guest {GUEST} recovers"],
        ),
        (
            [seen(HOST, vms={NUMBER: "off"}), seen(GUEST, health="critical")],
            [f"guest {GUEST} dies"],
        ),
        ([did(GUEST, "ShutdownGuest"), seen(HOST, vms={NUMBER: "off"})], []),
        ([did(OTHER, "StartGuest"), seen(OTHER, health="critical")], []),
        (
            [
                did(OTHER, "StartGuest"),
                seen(OTHER, health="critical"),
                did(OTHER, "FailNode", 60),
            ],
            [f"guest {OTHER} hangs"],
        ),
        ([seen(HOST, vms={NUMBER: "on"})], [f"{GUEST} is started by hand"]),
        ([seen(HOST, gone=[2])], [f"{HOST}/VM2 is deleted by hand"]),
        ([did(HOST, "RemoveVms"), seen(HOST, gone=[2])], []),
        ([seen(HOST, foreign_running=3)], [f"3 foreign VMs run on {HOST}"]),
        ([seen("host-77", power="off")], []),
        ([seen("host-77/VM1", health="critical")], []),
    ],
)
def test_what_nobody_ordered_befell_the_site(entries: list[Entry], lines: list[str]) -> None:
    assert lines_of(*entries) == lines


def test_the_cause_of_a_crowded_minute_is_not_looked_for_for_ever() -> None:
    entries = [seen(f"host-1/VM{number % 3}", health="critical") for number in range(3 * MOST_LOOKED_AT)]
    assert len(lines_of(*entries)) <= 3


# --- orders -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "arguments", "command"),
    [
        ("tier edit", {"target": 3, "name": "web"}, "tier edit web --target=3"),
        ("tier edit", {"name": "web", "harvesting": False}, "tier edit web --harvesting=off"),
        ("tier edit", {"name": "web", "attribute": []}, "tier edit web --attribute="),
        ("tier edit", {"name": "web", "attribute": ["a", "b"]}, "tier edit web --attribute=a --attribute=b"),
        (
            "node disengage",
            {"name": "host-1", "why": "a\nnew 'fan'"},
            """node disengage host-1 '--why=a new '"'"'fan'"'"''""",
        ),
        ("pool set", {"warm_spares": 2}, "pool set --warm-spares=2"),
    ],
)
def test_an_order_is_typed(key: str, arguments: dict[str, Any], command: str) -> None:
    assert typed(key, arguments, "f").command == f"metier {command} --accept-warnings"


@pytest.mark.parametrize(
    ("key", "arguments", "why"),
    [
        ("tier frobnicate", {}, "knows no operation 'tier frobnicate'"),
        ("tier list", {}, "knows no operation 'tier list'"),
        ("tier edit", {"left_out": 999_999}, "too long for the journal"),
        ("tier edit", {"name": "web", "colour": "red"}, "takes no colour"),
    ],
)
def test_an_order_that_cannot_be_typed_is_left_out(key: str, arguments: dict[str, Any], why: str) -> None:
    assert why in typed(key, arguments, "f").why
    found = replay_of([ordered(key, arguments)], FLEET, "journal")
    assert not found.scenario.steps
    assert "order 7 at 10:00:00: " in found.left_out[0]


def test_an_order_without_arguments_in_the_journal_is_left_out() -> None:
    assert replay_of([Entry(MORNING, "operation", "web", "")], FLEET, "journal").left_out


def test_documents_are_kept_beside() -> None:
    found = replay_of([ordered("apply", {"document": {"tiers": []}})], FLEET, "journal")
    assert dict(found.documents) == {"document-7.json": '{"tiers": []}'}


def test_nodes_that_are_added_later_are_known() -> None:
    added = ordered("node add", {"name": "host-8", "vmm": "libvirt", "url": "…"})
    assert lines_of(added, seen("host-8", power="off"))[1] == "host-8 loses power"


# --- comparing ------------------------------------------------------------------------------------


def test_decisions_are_compared_by_node_action_and_rule() -> None:
    def fact(node: str, action: str, at_s: float = 0) -> Fact:
        at = MORNING + timedelta(hours=1, seconds=at_s)
        return Fact(at, FactKind.ACTION, node, "why", "", action)

    recorded = [did("a", "PowerOn"), did("a", "PowerOn", 5), did("b", "PowerOff")]
    facts = [fact("a", "PowerOn", 1), fact("b", "PowerOn"), fact("c", "PowerOn", 99)]
    found = compare(recorded, facts, MORNING + timedelta(hours=1, seconds=10))
    assert found.same == 1
    assert [(one.node, one.action) for one in found.missing] == [("a", "PowerOn"), ("b", "PowerOff")]
    assert [one.node for one in found.extra] == ["b"]


# --- properties -----------------------------------------------------------------------------------

json_values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=4), st.sampled_from(["on", "off"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=4,
)
subjects = st.sampled_from(["host-1", "host-2/VM1", "web", "", "host-9", "host-1/VM", "\n"])
_KEYS = (
    *("power", "vms", "vmm_reachable", "gone", "health", "foreign_running"),
    *("action", "operation", "arguments"),
)
datas = st.dictionaries(
    st.sampled_from(_KEYS),
    st.one_of(
        json_values, st.sampled_from(["tier edit", "apply", "StartGuest", "PowerOff", {"name": "web"}])
    ),
)
entries = st.builds(
    Entry,
    at=st.datetimes(
        min_value=MORNING.replace(tzinfo=None), max_value=MORNING.replace(tzinfo=None) + timedelta(hours=9)
    ).map(lambda moment: moment.replace(tzinfo=MORNING.tzinfo)),
    kind=st.sampled_from(["operation", "action", "observation", "other"]),
    subject=subjects,
    message=st.just(""),
    data=datas,
)


@given(st.lists(entries, min_size=1, max_size=12))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_journal_becomes_a_scenario(found: list[Entry]) -> None:
    scenario = replay_of(found, FLEET, "journal").scenario
    with suppress(MetierError):
        the_rehearsal().simulate(scenario, Path())

"""An exported site is read back as it was, but for its secrets; anything else is refused with its line."""

import json
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier import __version__
from metier.domain.errors import MetierError, WrongUsage
from metier.domain.fleet import Fleet, Kind
from metier.domain.ids import SlotId, TierId
from metier.domain.image import CollectorSpec
from metier.domain.node import Endpoint, Engagement, Pending, Retry
from metier.domain.observation import CheckResult, Health, Observed, Power
from metier.domain.personality import Applied, PersonalFile, Personality, SeedForm, Variable
from metier.domain.tier import Fence, Requirements, SlotSettings, TierState
from metier.domain.timing import Activity
from metier.operations.export import document_lines
from metier.planner.incremental import Planner
from metier.store import site_file
from metier.store.api import Entry
from metier.store.journal_file import read_journal
from metier.store.site_faults import faults_of
from metier.store.site_file import dump_site, read_site
from tests.builders import (
    NOW,
    a_fleet,
    a_host,
    a_host_image,
    a_host_tier,
    a_job,
    a_node,
    a_procedure,
    a_slot,
    a_tier,
    a_timing,
    a_virtual_node,
    an_alert,
    an_image,
    an_instance,
    vm_facts,
)
from tests.contract.fleets import a_fleet_of_everything, everything_in, the_same
from tests.unit.matrix.seeds.reading import carried

ENTRIES = (
    Entry(NOW, "operation", "web", "tier web activated", by="ann", data={"operation": "tier activate"}, id=7),
    Entry(NOW + timedelta(seconds=1), "action", "host-1", "PowerOn: because", by="R-HOST-1", id=9),
)
URL = "qemu+ssh://root@host-1.example/system?keyfile=/etc/metier/key"
COMMAND = "ipmitool -H bmc-1 -U admin -P hunter2 chassis power on"


OWN = Personality(variables=(Variable("role", "back"),))
PERSONALITY = Personality(
    SeedForm.CONFIGDRIVE,
    "{{ hostname }}",
    "<x/>",
    (PersonalFile("/etc/motd", "hi", "0600"),),
    ("one", "two"),
    (Variable("a", "b"),),
    ("10.0.0.2",),
)


def a_rich_fleet() -> Fleet:
    """A site on which a lot is under way, without settings of drivers: all of it is to come back."""
    fence = Fence(a_virtual_node().name, a_host().name, 1, NOW, attested="bob", raised=NOW)
    instance = an_instance("web", 2)
    return a_fleet(
        a_host_image(),
        an_image(collectors=(CollectorSpec("http", 80, "/x", 2.5),)),
        a_host_tier(state=TierState.ACTIVE, minimum=1, target=1, maximum=3),
        a_tier(
            "web",
            state=TierState.ACTIVE,
            depends_on=(TierId("hosts"),),
            target=2,
            maximum=5,
            requirements=Requirements(memory_mib=256, attributes=frozenset({"ssd", "rack=a"})),
            slots=(
                SlotSettings(1, "www1", "10.0.0.7/24", "10.0.0.1", OWN),
                SlotSettings(2, address="fd00::7/64"),
            ),
            personality=PERSONALITY,
        ),
        a_host(pending=Pending("StageVms", 12, NOW, NOW, 3)),
        a_host("host-2", tier=None, retry=Retry(2, NOW, "no route"), problem="no route", failures=2),
        a_virtual_node(number=1),
        a_virtual_node(number=2, tier="web", slot=2, instance=instance),
        a_node("metal", power=None),
        a_slot("web", 1, fences=(fence,)),
        a_slot(
            "web",
            2,
            node=a_virtual_node(number=2).name,
            instance=instance,
            applied=Applied(carried(PERSONALITY, SeedForm.UNATTEND), "d1"),
        ),
        an_alert(3),
        a_job(4, arguments={"archive": "web.tgz", "name": "web", "version": "2", "size": None}),
        a_procedure(2, slot=SlotSettings(1, "w2k-new"), capture={"attribute": ["ssd"]}, told="waits"),
        a_timing(Activity.POWER_ON, "host-1", 181.25, 4),
        observed={
            "host-1": Observed(
                Power.ON, NOW, vmm_reachable=True, vms=(vm_facts(1), vm_facts(2, instance=instance.id))
            ),
            "host-1/VM2": Observed(
                health=Health.CRITICAL, checks=(CheckResult("tcp:80", False, "connection refused"),)
            ),
        },
    )


def a_document(fleet: Fleet | None = None) -> dict[str, Any]:
    fleet = a_rich_fleet() if fleet is None else fleet
    document: dict[str, Any] = json.loads(json.dumps(dump_site(fleet, NOW, ENTRIES, 9)))
    return document


def text_of(document: Any) -> str:
    return "\n".join(document_lines(document)) if isinstance(document, dict) else json.dumps(document)


def refusal(text: Any) -> WrongUsage:
    with pytest.raises(WrongUsage) as caught:
        read_site(text if isinstance(text, str) else text_of(text), "site.json")
    assert caught.value.remedy
    return caught.value


# --- there and back --------------------------------------------------------------


@pytest.mark.parametrize("fleet", [Fleet(), a_rich_fleet(), a_fleet_of_everything()], ids=["", "rich", "all"])
def test_everything_but_secrets_is_read_as_it_was(fleet: Fleet) -> None:
    found = read_site(text_of(dump_site(fleet, NOW, ENTRIES, 9)), "site.json")
    assert everything_in(found.fleet) == everything_in(fleet)
    assert the_same(found.fleet, fleet)
    assert found.fleet.generation == fleet.generation
    assert (found.exported, found.journal_id, found.metier) == (NOW, 9, __version__)
    assert found.entries == ENTRIES


def test_the_order_of_records_is_kept_so_that_plans_are_the_same() -> None:
    fleet = a_rich_fleet()
    found = read_site(text_of(a_document(fleet)), "site.json").fleet
    assert list(found.nodes) == list(fleet.nodes)
    now = NOW + timedelta(seconds=5)
    assert Planner().plan(found, now, None).plan == Planner().plan(fleet, now, None).plan


def test_a_document_in_another_layout_is_the_same_site() -> None:
    document = a_document()
    for text in (json.dumps(document, indent=3, sort_keys=True), json.dumps(document, separators=(",", ":"))):
        assert the_same(read_site(text, "site.json").fleet, a_rich_fleet())


def test_each_record_and_entry_has_a_line_of_its_own() -> None:
    document = a_document()
    lines = list(document_lines(document))
    for record in [*document["records"]["node"], *document["journal"]]:
        assert json.dumps(record) in [line.strip().rstrip(",") for line in lines]


def test_the_journal_of_a_site_is_read_by_itself_too() -> None:
    assert read_journal(text_of(a_document()), "site.json") == ENTRIES


# --- no secrets --------------------------------------------------------------------


def a_fleet_with_secrets() -> Fleet:
    said = f"cannot log in to {URL}: wrong password"
    host = a_host(
        vmm=Endpoint("libvirt", {"url": URL, "store": "/srv/guests"}),
        power=Endpoint("command", {"on": COMMAND, "off": COMMAND, "password": "sesame"}),
        problem=said,
        retry=Retry(1, NOW, f"ipmitool ended: hunter2 is no password; neither is 'sesame'. {URL}"),
    )
    checks = (CheckResult("http:80", False, f"no answer from {URL}"),)
    return a_fleet(
        a_host_image(),
        a_host_tier(),
        host,
        an_alert(message=said),
        a_job(arguments={"archive": "/home/ann/private/web.tgz"}, error=said, remedy=f"look at {URL}/x"),
        observed={"host-1": Observed(vmm_error=said, power_error="unknown word hunter2", checks=checks)},
    )


SECRETS = ("hunter2", "sesame", "keyfile", "root@", "/etc/metier", "/srv/guests", "bmc-1", "admin", "private")


def test_no_setting_of_a_driver_is_in_it_wherever_it_was_said() -> None:
    data = {"operation": "node edit", "reason": f"{COMMAND} failed", "deep": [{"url": URL}]}
    entries = [Entry(NOW, "outcome", "host-1", f"PowerOn failed: {URL}&no_tty=1: hunter2", data=data, id=1)]
    text = text_of(dump_site(a_fleet_with_secrets(), NOW, entries, 1))
    assert [secret for secret in SECRETS if secret in text] == []


def test_what_is_left_out_leaves_the_rest_readable() -> None:
    site = read_site(text_of(a_document(a_fleet_with_secrets())), "site.json")
    node = site.fleet.nodes[a_host().name]
    assert (node.vmm, node.power) == (Endpoint("libvirt"), Endpoint("command"))
    assert node.problem == "cannot log in to …: wrong password"
    assert site.fleet.jobs[1].arguments == {"archive": "web.tgz"}
    assert site.fleet.jobs[1].remedy == "look at …"
    assert node.retry is not None
    assert node.retry.reason == "ipmitool ended: … is no password; neither is '…'. …"


def test_a_long_row_of_signs_takes_no_time() -> None:
    host = a_host(engagement=Engagement(False, "ann", NOW, f"{'=' * 4000} {'/' * 4000} {URL}"))
    site = read_site(text_of(a_document(a_fleet(a_host_image(), a_host_tier(), host))), "site.json")
    assert site.fleet.nodes[host.name].engagement.why == f"{'=' * 4000} {'/' * 4000} …"


def test_a_setting_called_like_a_node_hides_nothing() -> None:
    host = a_host(vmm=Endpoint("libvirt", {"host": "host-1", "mode": "on"}), problem="host-1 is on")
    site = read_site(text_of(a_document(a_fleet(a_host_image(), a_host_tier(), host))), "site.json")
    assert site.fleet.nodes[host.name].problem == "host-1 is on"


def test_a_url_that_nobody_set_is_hidden_too_and_halves_of_letters_are_told() -> None:
    host = a_host(problem="redirected to https://me:pw@elsewhere/x, half \ud800 a letter")
    text = text_of(a_document(a_fleet(a_host_image(), a_host_tier(), host)))
    assert "me:pw" not in text
    assert json.dumps("redirected to …, half \\ud800 a letter") in text


# --- what is refused -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1 is not the JSON that it should be: expecting value"),
        ("{\n\n  nonsense}", "line 3 is not the JSON that it should be: expecting value"),
        ('{"format": "metier-site",\n "version": 1,\n "records": {"node": [', "line 3 is not the JSON"),
        ('{"format": "metier-site",\n "version": 1\n "metier": ""}', "line 3 is not the JSON"),
        ('{"a": NaN}', "NaN is no value"),
        ('{"a": 1e999}', "the number 1e999 is out of all bounds"),
        ('{"a": ' + "9" * 5000 + "}", "is out of all bounds"),
        ('{"a": -9223372036854775809}', "is out of all bounds"),
        ('{"a": ' + "[" * 100_000, "it is nested too deeply"),
        ('{"a": 1, "a": 2}', "a is there twice"),
        ('{"a": {"b": 1,\n "b": 2}}', "b is there twice"),
        ("{5: 1}", "a key in quotes is missing"),
        ('{"format": "metier-site"} {}', "it goes on after its end"),
    ],
)
def test_what_is_no_json_is_refused_with_its_line(text: str, words: str) -> None:
    error = refusal(text)
    assert str(error).startswith("cannot read site.json: line ")
    assert words in str(error)


@pytest.mark.parametrize(
    "document",
    [[], [1], "metier-site", 5, None, {}, {"format": "metier-backup"}, {"version": 1}, {"format": ["x"]}],
    ids=str,
)
def test_what_is_no_exported_site_is_refused(document: Any) -> None:
    error = refusal(json.dumps(document))
    assert 'does not say "format": "metier-site", so it is no exported site' in str(error)
    assert error.remedy == "write one with `metier export-site --out FILE`"


def test_a_newer_form_is_refused_with_who_wrote_it_though_its_records_are_strange() -> None:
    document = a_document() | {"version": 2, "metier": "9.9", "more": 1, "records": [{"odd": 1}]}
    error = refusal(document)
    assert str(error) == (
        "cannot read site.json: line 3: it was exported by Metier 9.9 in form 2; "
        f"this is Metier {__version__}, which reads form 1"
    )
    assert error.code == "other-version"
    assert "use the version of Metier that wrote it" in error.remedy


@pytest.mark.parametrize("version", [None, "1", 1.5, {}, "drop"], ids=str)
def test_a_version_that_is_none_is_refused(version: Any) -> None:
    document = a_document() | {"version": version}
    if version == "drop":
        del document["version"]
    assert "which reads form 1" in str(refusal(document))


Edit = Callable[[dict[str, Any]], object]


def record(document: dict[str, Any], kind: str, place: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = document["records"][kind][place]
    return found


EDITS: list[tuple[Edit, str]] = [
    (lambda d: d.pop("exported"), "exported is missing"),
    (lambda d: d.pop("records"), "records is missing"),
    (lambda d: d.update(exported="today"), "line 5: exported today is not a moment of RFC 3339"),
    (lambda d: d.update(exported="0001-01-01T00:00:00+14:00"), "is not a moment of RFC 3339"),
    (lambda d: d.update(generation=True), "line 6: generation True is not a whole number"),
    (lambda d: d.update(journal_id=-1), "line 7: journal_id -1 is not a whole number"),
    (lambda d: d.update(version=True), "version True is not a whole number"),
    (lambda d: d.update(more=1), "this version knows no part more"),
    (lambda d: d.update(records=[]), "records is no object"),
    (lambda d: d.update(journal={}), "journal is no array"),
    (lambda d: d["records"].update(rack=[]), "rack: this version knows no records of that kind"),
    (lambda d: d["records"].update(node={}), "line 9: node: the records are no array"),
    (lambda d: record(d, "node").pop("kind"), "line 10: node host-1: kind is missing"),
    (lambda d: record(d, "node").pop("name"), "line 10: node: name is missing"),
    (lambda d: record(d, "node").update(colour=1), "node host-1: this version knows no field 'colour'"),
    (
        lambda d: record(d, "node")["hardware"].update(memory_mib="x"),
        "line 10: node host-1: hardware.memory_mib: 'x' is no int",
    ),
    (
        lambda d: record(d, "node").update(placement={"place": "tier"}),
        "node host-1: placement: this makes no",
    ),
    (lambda d: record(d, "node").update(since="0001-01-01T00:00:00+14:00"), "out of all bounds"),
    (lambda d: record(d, "slot").update(id=["web"]), "an array of 1 stands where 2 belong"),
    (lambda d: record(d, "slot", 1).update(node=5), "slot web/2: node: 5 is no str"),
    (lambda d: record(d, "image", 1).update(form=None), "image web@1: form: None is no str"),
    (lambda d: record(d, "observed").pop("node"), "observed: node is missing"),
    (lambda d: record(d, "observed").update(node=5), "observed 5: node is missing"),
    (lambda d: record(d, "observed").update(power="up"), "observed host-1: power: 'up' is none of"),
    (lambda d: record(d, "timing").update(seconds=[]), "timing power-on/host-1: this makes no Timing"),
    (lambda d: d["records"]["tier"].append(5), "tier: it is no object"),
    (
        lambda d: d["records"]["node"].append(record(d, "node")),
        "node host-1: it is there twice, first in line",
    ),
    (lambda d: d["records"]["pool"].append({}), "pool site: it is there twice"),
    (lambda d: d["journal"][0].update(at=5), "journal entry: at: 5 is no moment"),
    (lambda d: d["journal"].reverse(), "journal entry: id 7 does not follow 9"),
]


@pytest.mark.parametrize(("edit", "words"), EDITS, ids=[words for _, words in EDITS])
def test_what_does_not_fit_is_refused_with_line_kind_key_and_field(edit: Edit, words: str) -> None:
    document = a_document()
    edit(document)
    error = refusal(document)
    assert str(error).startswith("cannot read site.json as an exported site: ")
    assert words in str(error)


def test_all_faults_are_told_and_of_many_the_first_twenty() -> None:
    document = a_document()
    document["records"]["node"] = [{"name": f"n{number}"} for number in range(30)]
    error = str(refusal(document))
    assert "line 10: node n0: kind, placement is missing; line 11: node n1" in error
    assert error.endswith("line 29: node n19: kind, placement is missing; and 10 more")


def test_a_fault_does_not_quote_pages() -> None:
    document = a_document()
    record(document, "tier")["name"] = "x" * 100_000
    assert len(str(refusal(document))) < 1000


def test_too_many_records_are_refused_before_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site_file, "MOST_RECORDS", 5)
    assert "it has more than 5 records" in str(refusal(a_document()))


# --- whatever is in it ------------------------------------------------------------------

WEIRD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 5),
    st.sampled_from(
        [10**18, -(10**18), 1.5, 1e308, "", "x", "host-1", "host-1/VM2", "web", "../x", "\ud800"]
    ),
    st.sampled_from(["9999-12-31T23:59:59-14:00", "free", "tier", [], {}, ["web", 1], ["web", -1], [[]]]),
)


def places_in(value: Any) -> list[tuple[Any, Any]]:
    """Return every container in a document with every key or index in it."""
    found: list[tuple[Any, Any]] = []
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        found += [(value, key), *places_in(value[key])]
    return found


@given(st.data())
def test_no_damage_is_anything_but_refused_or_a_site_that_can_be_planned(data: st.DataObject) -> None:
    document = a_document()
    for _ in range(data.draw(st.integers(1, 3))):
        places = places_in(document)
        container, key = places[data.draw(st.integers(0, len(places) - 1))]
        what = data.draw(st.sampled_from(["replace", "remove", "add", "repeat"]))
        if what == "remove":
            del container[key]
        elif what == "replace":
            container[key] = deepcopy(data.draw(WEIRD))
        elif isinstance(container, dict):
            container[data.draw(st.sampled_from(["id", "name", "slot", "host", "x"]))] = deepcopy(
                data.draw(WEIRD)
            )
        else:
            container.append(deepcopy(data.draw(WEIRD) if what == "add" else container[key]))
    try:
        fleet = read_site(text_of(document), "site.json").fleet
    except MetierError:
        return
    assert faults_of(fleet) == []
    Planner().plan(fleet, NOW + timedelta(seconds=5), None)


@given(st.one_of(st.text(max_size=60), st.binary(max_size=60).map(lambda data: data.decode("latin-1"))))
def test_any_text_is_refused(text: str) -> None:
    refusal(text)


@given(st.data())
def test_a_document_that_was_cut_or_scratched_is_refused_or_read(data: st.DataObject) -> None:
    text = text_of(a_document())
    at = data.draw(st.integers(0, len(text) - 1))
    text = text[:at] + data.draw(st.sampled_from(["", '"', "{", "]", ",", "0", "\0"])) + text[at + 1 :]
    for read in (read_site, read_journal):
        with suppress(MetierError):
            read(text, "site.json")


def test_a_record_of_every_kind_is_in_the_rich_fleet() -> None:
    kinds = {kind for kind, by_key in a_rich_fleet().records().items() if by_key}
    assert kinds == set(Kind) - {Kind.TROUBLE}
    assert replace(a_slot(), id=SlotId(TierId("web"), 1)) == a_slot()


def test_many_faults_in_a_long_file_take_no_time() -> None:
    document = a_document()
    document["records"]["node"] = [record(document, "node")] * 20_000
    document["journal"] = [document["journal"][0]] * 20_000
    assert str(refusal(document)).endswith("and 39978 more")

"""Scenarios happen to a simulated site: what is told of them, and what is refused before anything runs."""

from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from metier.domain.errors import MetierError
from metier.sim.faults import FAULTS
from metier.sim.scenario import SHORT_FORMS, BadScenario, read
from metier.sim.timeline import Dip, FactKind, Report, TierStory
from tests.unit.sim.small_site import host_of, place_of, play, site_text, the_rehearsal


def told(report: Report, kind: FactKind) -> list[str]:
    return [fact.subject for fact in report.facts if fact.kind is kind]


def story(report: Report, tier: str) -> TierStory:
    return next(one for one in report.tiers if one.tier == tier)


def trouble(*lines: str) -> str:
    with pytest.raises(BadScenario) as caught:
        play(*lines)
    return str(caught.value)


def seconds(report: Report, dip: Dip) -> float:
    return round(dip.seconds(report.end), 1)


# --- what is told -------------------------------------------------------------------------


def test_a_host_that_dies_makes_tiers_dip_until_its_guests_run_elsewhere() -> None:
    host = host_of("web")
    report = play(f"10:05 {host} loses power", "until quiet")
    (dip,) = story(report, "web").below_minimum
    assert (dip.began - report.start, dip.wanted, dip.lowest) == (timedelta(minutes=5), 2, 1)
    assert 8 < seconds(report, dip) < 60
    assert dip in story(report, "web").below_target
    assert not story(report, "batch").below_minimum
    assert story(report, "hosts").serving == 3
    assert told(report, FactKind.FAULT) == [f"{host} loses power"]
    assert host in told(report, FactKind.ACTION)
    assert report.is_good
    assert report.end - report.start < timedelta(minutes=10)


def test_decisions_carry_their_rule_and_reason() -> None:
    report = play("10:05 guest web-1 dies", "until quiet")
    failed = next(fact for fact in report.facts if fact.what == "FailNode")
    assert (failed.by, failed.message) == ("R-FAIL-1", "it is off without having been told to")


def test_a_dip_that_does_not_end_is_told_as_such() -> None:
    report = play(f"10:05 network to {host_of('web')} breaks", "10:05:02 end")
    (dip,) = story(report, "web").below_minimum
    assert (dip.end, dip.seconds(report.end)) == (None, 2.0)


def test_nodes_that_do_not_serve_count_from_the_moment_on_not_from_their_discovery() -> None:
    report = play("10:05 guest web-2 hangs", "+60s end")
    (dip,) = story(report, "web").below_minimum
    assert dip.began - report.start == timedelta(minutes=5)
    assert any(fact.at > dip.began for fact in report.facts if fact.kind is FactKind.OBSERVATION)


def test_a_tier_that_is_told_to_stop_is_not_below_anything() -> None:
    report = play("10:05 metier tier deactivate batch --accept-warnings", "until quiet")
    batch = story(report, "batch")
    assert (batch.serving, batch.minimum, batch.target, batch.below_target) == (0, 0, 0, ())


def test_a_command_is_told_with_its_answer_and_status() -> None:
    report = play("10:05 metier tier edit web --target 9", "+1s target of web 3", "until quiet")
    refused, done = [fact for fact in report.facts if fact.kind is FactKind.ORDER]
    assert (refused.status, refused.line) == (2, 2)
    assert "target 9 and maximum 4 of tier web do not fit" in refused.message
    assert (done.status, done.subject) == (0, "metier tier edit web --target 3")
    assert story(report, "web").serving == 3
    assert report.is_good


def test_what_needs_acceptance_is_not_done_without_it() -> None:
    report = play(f"10:05 metier node shutdown {host_of('db')}", "+1m end")
    (order,) = [fact for fact in report.facts if fact.kind is FactKind.ORDER]
    assert order.status == 4
    assert f"warning: {place_of('db')} is active in tier db" in order.message
    assert not told(report, FactKind.ACTION)
    assert told(play("10:05 metier node shutdown host-1 --accept-warnings", "+1m end"), FactKind.ACTION)


def test_an_answer_stands_before_what_followed_from_it() -> None:
    report = play("10:05 target of web 3", "until quiet")
    kinds = [fact.kind for fact in report.facts]
    assert kinds.index(FactKind.ORDER) < kinds.index(FactKind.ACTION)


def test_without_a_controller_commands_reach_nobody() -> None:
    report = play("10:05 controller dies", "+1s metier status", "+1s controller starts", "+1s metier status")
    dead, alive = [fact for fact in report.facts if fact.kind is FactKind.ORDER]
    assert (dead.status, alive.status) == (5, 0)
    assert "cannot reach the controller" in dead.message


def test_a_controller_that_cannot_store_keeps_its_log_to_itself(capsys: pytest.CaptureFixture[str]) -> None:
    play("10:05 disk of the controller is full 3 times", "+1s guest web-1 dies", "+1m end")
    assert capsys.readouterr() == ("", "")


def test_what_cannot_happen_is_told_and_the_rest_goes_on() -> None:
    report = play("10:05 guest web-3 dies", f"+1s {place_of('web')} is deleted by hand", "until quiet")
    (missed,) = report.missed
    assert missed.message.startswith("line 2: there is no guest web-3; ")
    assert told(report, FactKind.FAULT) == [f"{place_of('web')} is deleted by hand"]
    assert not report.is_good


def test_what_is_waited_for_at_the_end_is_told() -> None:
    report = play("10:05 host-1 dies", "+1s host-2 dies", "+10m end")
    assert any(one.subject == "web" for one in report.waiting)
    assert any(one.code == "tier-short" for one in report.problems)


def test_files_that_commands_name_are_in_the_folder_of_the_scenario(tmp_path: Path) -> None:
    (tmp_path / "more.yaml").write_text("tiers:\n  - name: web\n    target: 4\n")
    report = play("10:05 metier apply -f more.yaml", "until quiet", folder=tmp_path)
    assert story(report, "web").serving == 4


def test_a_scenario_goes_the_same_way_each_time() -> None:
    lines = ("seed 5", "10:05 observations come up to 5 s late", "10:06 host-2 loses power", "until quiet")
    first, again = play(*lines), play(*lines)
    assert first == again
    assert first.trace == again.trace
    assert play("seed 6", *lines[1:]).trace != first.trace


def test_a_site_begins_as_old_as_it_was_exported() -> None:
    """A start years later does not make all deadlines pass."""
    text = "start 2031-07-01 10:00\n10:30 end"
    report = the_rehearsal().simulate(read(text, "later"), Path())
    assert not told(report, FactKind.ACTION)
    assert not report.problems


def test_every_fault_that_is_listed_can_happen() -> None:
    names = {"MACHINE": "host-1", "OTHER": "host-2", "GUEST": "web-2", "N": "7"}
    lines = [" ".join(names.get(word, word) for word in fault.sentence.split()) for fault in FAULTS]
    for line in lines:
        report = play(f"10:05 {line}", "+1s everything heals", "+30s end")
        assert not report.missed, line


# --- what is refused ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("host-9 dies", "there is no machine host-9"),
        ("web-1 dies", "there is no machine web-1"),
        ("web-1 is moved to host-9 by hand", "there is no machine host-9"),
        ("guest host-9/VM1 dies", "there can be no guest host-9/VM1"),
        ("guest web-5 dies", "there can be no guest web-5"),
        ("guest wob-1 dies", "there can be no guest wob-1"),
        ("host-1 explodes", "nothing is known to happen that is called 'host-1 explodes'"),
        ("metier tier edit wob --target 3", "there is no tier wob"),
        ("target of wob 3", "there is no tier wob"),
        ("metier tier activate web wob", "there is no tier wob"),
        ("metier node engage host-9", "there is no node host-9"),
        ("metier node engage host-9/VM2", "there is no node host-9/VM2"),
        ("metier tier edit web --taget 3", "no such option '--taget'"),
        ("metier tier edit web --target x", "'x' is not a valid integer"),
        ("metier tier", "metier tier needs a command behind it"),
        ("metier", "metier needs a command behind it"),
        ("metier frobnicate", "no such command 'frobnicate'"),
        ("metier tier edit web '", "it cannot be split into words"),
        ("metier tier list --help", "it only prints a text about itself"),
        ("metier serve", "it is no operation of a controller"),
        ("metier backup", "it is no operation of a controller"),
        ("metier lab up", "it is no operation of a controller"),
        ("metier simulate x", "it is no operation of a controller"),
        ("metier tier list --watch", "--watch never ends"),
        ("metier event list --follow", "--follow never ends"),
        ("metier tier activate web --wait", "--wait lets time pass"),
        ("metier export-site --out x.json", "--out writes a file"),
        ("metier --state elsewhere status", "--state names another controller"),
    ],
)
def test_what_makes_no_sense_is_told_with_its_line(line: str, why: str) -> None:
    found = trouble("", f"10:05 {line}")
    assert found.startswith("story.txt:3: ")
    assert why in found


def test_all_that_is_wrong_is_told_at_once() -> None:
    found = trouble("10:05 host-9 dies", "10:04 host-1 dies", "10:06 metier foo").split("; ")
    assert [one.partition(": ")[0] for one in found] == [f"story.txt:{line}" for line in (2, 3, 4)]


def test_names_that_the_scenario_itself_makes_are_known() -> None:
    report = play(
        "10:05 metier tier create more --image web@1 --target 1 --minimum 0",
        "+1s metier tier activate more",
        "+1m guest more-1 dies",
        "+1s metier node add host-9 --vmm simulated --address 192.0.2.9",
        "+1s host-9 loses power",
        "+1s guest host-9/VM1 dies",
        "+1m end",
    )
    assert [fact.line for fact in report.missed] == [7]


def test_a_bad_site_is_told_with_the_line_that_names_it() -> None:
    from metier.app import rehearsal

    scenario = read("#\nsite x.json\n10:00 host-1 dies", "a.txt")
    other = site_text().replace('"version": 1', '"version": 99', 1)
    for text, why in (("{}", "no exported site"), (other, "form 99"), ("{", "not the JSON")):
        with pytest.raises(BadScenario, match=r"^a\.txt:2: cannot read x\.json") as caught:
            rehearsal(text, "x.json").simulate(scenario, Path())
        assert why in str(caught.value)


# --- properties ---------------------------------------------------------------------------

SENTENCES = [fault.sentence for fault in FAULTS] + [sentence for sentence, _ in SHORT_FORMS]
words = st.one_of(
    st.sampled_from(
        ["metier", "tier", "edit", "web", "host-1", "host-1/VM1", "--target", "--plan", "-o", "-"]
    ),
    st.text(max_size=5),
)
happenings = st.one_of(
    st.sampled_from(SENTENCES), st.lists(words, max_size=6).map(" ".join).map(lambda text: f"metier {text}")
)


@given(st.lists(happenings, min_size=1, max_size=3))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example(["metier '"])
@example(["metier --version"])
@example(["metier tier edit \ud800"])
def test_a_scenario_is_run_or_refused(lines: list[str]) -> None:
    text = "\n".join(["start 2026-03-02 10:00", *(f"10:05 {line}" for line in lines), "10:06 end"])
    with suppress(MetierError):
        the_rehearsal().simulate(read(text, "x"), Path())

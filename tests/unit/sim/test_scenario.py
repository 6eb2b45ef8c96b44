"""Scenarios are read, written and timed; whatever is wrong with one is told with its line."""

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from metier.domain.errors import MetierError
from metier.sim.scenario import SHORT_FORMS, After, At, BadScenario, Scenario, Step, parse, read, render
from metier.sim.schedule import AFTER_LAST, LONGEST, schedule

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)

WHOLE = """\
# A host dies at lunch

# Another comment.
site   my site.json
start 2026-03-02 11:55
seed 7

12:00        host-3 dies
12:05:30     metier tier edit web --target 6   # no comment
12:05:30.25  target of web 6
+1h30m       network to host-1 breaks
day 2 00:10  everything heals
2026-03-04 1:05  host-1 dies
until   quiet
"""


def test_a_whole_scenario() -> None:
    assert read(WHOLE, "lunch.txt") == Scenario(
        "",
        title="A host dies at lunch",
        site="my site.json",
        start=NOON - timedelta(minutes=5),
        seed=7,
        steps=(
            Step(At(time(12, 0)), "host-3 dies"),
            Step(At(time(12, 5, 30)), "metier tier edit web --target 6   # no comment"),
            Step(At(time(12, 5, 30, 250_000)), "target of web 6"),
            Step(After(5400), "network to host-1 breaks"),
            Step(At(time(0, 10), day=2), "everything heals"),
            Step(At(time(1, 5), on=date(2026, 3, 4)), "host-1 dies"),
        ),
        until_quiet=True,
    )


def test_the_lines_are_remembered() -> None:
    scenario = read(WHOLE, "lunch.txt")
    assert [step.line for step in scenario.steps] == [8, 9, 10, 11, 12, 13]
    assert scenario.site_line == 4


def test_an_empty_text_is_a_scenario_in_which_nothing_happens() -> None:
    assert read("", "x") == Scenario("x")


def test_windows_line_ends_and_tabs_are_fine() -> None:
    assert read("12:00\thost-3 dies\r\n+5m\tend\r\n", "x").end == Step(After(300), "end")


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("14:05", 1, "nothing happens at 14:05"),
        ("host-3 dies", 1, "does not begin with a time"),
        ("\n25:00 host-3 dies", 2, "does not begin with a time"),
        ("14:60 host-3 dies", 1, "does not begin with a time"),
        ("14:05:61 host-3 dies", 1, "does not begin with a time"),
        ("+ host-3 dies", 1, "does not begin with a time"),
        ("+5 host-3 dies", 1, "does not begin with a time"),
        ("+5x host-3 dies", 1, "does not begin with a time"),
        ("day 0 14:05 host-3 dies", 1, "does not begin with a time"),
        ("2026-02-30 14:05 host-3 dies", 1, "does not begin with a time"),
        ("١٤:٠٥ host-3 dies", 1, "does not begin with a time"),
        ("start today", 1, "start 'today' is no moment"),
        ("start 2026-03-02", 1, "is no moment"),
        ("seed -1", 1, "is no whole number"),
        ("seed", 1, "seed of what is not said"),
        ("site", 1, "site of what is not said"),
        ("seed 1\nseed 2", 2, "seed is there twice, first in line 1"),
        ("14:00 host-3 dies\nseed 2", 2, "seed stands behind what happens"),
        ("14:00 end\n15:00 host-3 dies", 2, "stands behind the end"),
        ("until quiet\n14:00 end", 2, "stands behind the end"),
        ("14:00 host-3 \x1b[31mdies", 1, "characters in it that cannot be shown"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, line: int, why: str) -> None:
    _, (trouble,) = parse(text, "lunch.txt")
    assert trouble.place == f"lunch.txt:{line}"
    assert why in trouble.why
    assert trouble.remedy
    with pytest.raises(BadScenario, match=r"lunch\.txt:"):
        read(text, "lunch.txt")


def test_all_that_is_wrong_is_told_at_once_in_order() -> None:
    _, troubles = parse("x\ny\nseed z\n", "a")
    assert [trouble.line for trouble in BadScenario(troubles[::-1]).troubles] == [1, 2, 3]


def test_one_that_is_too_long_is_not_read() -> None:
    scenario, (trouble,) = parse("#" * (1 << 21), "a")
    assert (scenario.steps, trouble.line) == ((), 0)
    _, troubles = parse("+1s x\n" * 10_001, "a")
    assert [trouble.line for trouble in troubles] == [10_001]


# --- short forms --------------------------------------------------------------------------


def test_short_forms_are_commands() -> None:
    assert Step(After(0), "target of web 6").command == "metier tier edit web --target 6"
    assert Step(After(0), "disengage host-1/VM2").command == "metier node disengage host-1/VM2"
    assert Step(After(0), "metier  status").command == "metier  status"
    assert not Step(After(0), "host-1 dies").command
    assert not Step(After(0), "target of web; rm 6").command


@pytest.mark.parametrize("sentence", [sentence for sentence, _ in SHORT_FORMS])
def test_every_short_form_is_understood(sentence: str) -> None:
    text = sentence.replace("TIER", "web").replace("NODE", "host-1").replace("N", "3")
    assert Step(After(0), text).command.startswith("metier ")


# --- times --------------------------------------------------------------------------------


def moments(text: str) -> list[str]:
    times, troubles = schedule(read(text, "x"), NOON)
    assert not troubles
    return [f"{moment:%d %H:%M:%S}" for moment in [*times.moments, times.end]]


def test_moments() -> None:
    text = "12:05 a\n+10m b\nday 2 00:10 c\n00:20 d\n2026-03-05 00:00 e\n+1h f\n01:00 end"
    wanted = ["02 12:05:00", "02 12:15:00", "03 00:10:00", "03 00:20:00", "05 00:00:00", "05 01:00:00"]
    assert moments(text) == [*wanted, "05 01:00:00"]


def test_the_end() -> None:
    times, _ = schedule(read("12:05 a", "x"), NOON)
    assert times.end - times.moments[-1] == AFTER_LAST
    times, _ = schedule(read("12:05 a\nuntil quiet", "x"), NOON)
    assert times.end == times.moments[-1]


@pytest.mark.parametrize(
    ("text", "why", "remedy"),
    [
        ("11:00 a", "11:00 lies before the start, 2026-03-02 12:00:00", "write one, or a later time"),
        ("start 2026-03-02 13:00\n12:59:59 a", "lies before the start", "write `day 2 12:59:59`"),
        ("12:05 a\n12:04 b", "12:04 lies before the line before, 2026-03-02 12:05:00", "`day 2 12:04`"),
        ("day 2 12:05 a\n12:04 b", "lies before the line before, 2026-03-03", "write `day 3 12:04`"),
        ("day 3 12:05 a\nday 2 12:04 b", "lies before the line before", "write a later one"),
        ("12:05 a\n12:04 end", "lies before the line before", "day 2"),
        ("day 400 12:05 a", f"more than {LONGEST.days} days after the start", "two scenarios"),
        ("+9999h a\n2027-09-09 00:00 b", "more than", "two scenarios"),
        ("9999-12-31 23:00 a\n", "more than", "two scenarios"),
        ("start 9999-12-31 23:00\n23:30 a", "it would begin at 9999-12-31", "start of these days"),
        ("start 0001-01-01 00:00\n23:30 a", "it would begin at", "start of these days"),
    ],
)
def test_times_that_cannot_be(text: str, why: str, remedy: str) -> None:
    times, troubles = schedule(read(text, "x"), NOON)
    assert why in troubles[0].why
    assert remedy in troubles[0].remedy
    assert len(times.moments) == len(read(text, "x").steps)


# --- properties -----------------------------------------------------------------------------

clocks = st.times().map(lambda clock: clock.replace(fold=0))
whens = st.one_of(
    st.builds(At, clocks),
    st.builds(At, clocks, day=st.integers(1, 9999)),
    st.builds(At, clocks, on=st.dates()),
    st.builds(After, st.integers(0, 10**7)),
)
words = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=8)
sentences = st.lists(words, min_size=1, max_size=5).map(" ".join).filter(lambda text: text != "end")
steps = st.builds(Step, whens, sentences)
scenarios = st.builds(
    Scenario,
    name=st.just("x"),
    title=sentences.map(lambda text: text.lstrip("#").strip()),
    site=st.one_of(st.just(""), sentences),
    start=st.one_of(st.none(), st.datetimes(timezones=st.just(UTC))),
    seed=st.integers(0, 10**18 - 1),
    steps=st.lists(steps, max_size=5).map(tuple),
    end=st.one_of(st.none(), st.builds(Step, whens, st.just("end"))),
)


@given(scenarios, st.booleans())
def test_what_is_written_is_read_back(scenario: Scenario, until_quiet: bool) -> None:
    scenario = replace(scenario, until_quiet=until_quiet and scenario.end is None)
    assert read(render(scenario), "x") == scenario


@given(st.text(max_size=200))
@example("2026-03-02 14:05 x\n+99999999s y\n\x00")
def test_random_text_is_a_scenario_or_an_error(text: str) -> None:
    with suppress(MetierError):
        schedule(read(text, "x"), NOON)

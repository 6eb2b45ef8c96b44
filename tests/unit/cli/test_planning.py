"""What would follow, as a person reads it."""

from typing import Any

import pytest

from metier.cli.planning import plan_text


def a_plan(**parts: Any) -> dict[str, Any]:
    return {"actions": [], "waiting": [], "seconds": 0.0, "dips": [], "displaced": [], **parts}


def an_action(after_s: float = 0.0, subject: str = "host-1") -> dict[str, Any]:
    return {"action": "power-on", "subject": subject, "why": "w", "rule": "R", "after_s": after_s}


def a_dip(**fields: Any) -> dict[str, Any]:
    known = {"tier": "web", "below": "minimum", "wanted": 2, "lowest": 1, "from_s": 5.0, "seconds": 40.0}
    return {**known, **fields}


def displaced(**fields: Any) -> dict[str, Any]:
    known = {"node": "h/VM1", "tier": "web", "slot": 2, "to": "g/VM1", "from_s": 65.0, "gap_s": 40.4}
    return {**known, **fields}


def a_duration(subject: str = "web@3", **fields: Any) -> dict[str, Any]:
    return {"activity": "guest-boot", "subject": subject, "seconds": 31.0, "samples": 12, **fields}


def sentences(title: str, form: str = "table", **parts: Any) -> list[str]:
    """Return the sentences under a title."""
    lines = plan_text(a_plan(**parts), form).splitlines()
    if f"{title}:" not in lines:
        return []
    rest = lines[lines.index(f"{title}:") + 1 :]
    end = next((n for n, line in enumerate(rest) if not line.startswith("  ")), len(rest))
    return [line.strip().removeprefix("- ") for line in rest[:end]]


def test_where_nothing_follows_it_is_said() -> None:
    assert plan_text(a_plan(), "table") == "actions: none\nwaiting: none"


@pytest.mark.parametrize(
    ("after_s", "at"), [(0.0, "+0:00"), (35.2, "+0:35"), (605.0, "+10:05"), (3723.0, "+1:02:03")]
)
def test_actions_have_their_times(after_s: float, at: str) -> None:
    lines = plan_text(a_plan(actions=[an_action(after_s)], seconds=after_s), "table").splitlines()
    assert lines[1].split() == ["AT", "ACTION", "SUBJECT", "WHY", "RULE"]
    assert lines[2].split()[0] == at
    assert ("takes about" in lines[3]) is bool(after_s)


def test_more_than_a_person_reads_is_counted() -> None:
    plan = a_plan(actions=[an_action(subject=f"host-{number}") for number in range(250)])
    assert "  … and 50 more; see all with -o wide" in plan_text(plan, "table").splitlines()
    assert "host-249" in plan_text(plan, "wide")
    assert len(sentences("dips", dips=[a_dip()] * 30)) == 21


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "web is below its minimum of 2 for about 40 s, from +0:05; lowest 1"),
        ({"from_s": 0.0}, "web is below its minimum of 2 until +0:40; lowest 1"),
        ({"seconds": None}, "web is below its minimum of 2 from +0:05 on; lowest 1"),
        ({"from_s": 0.0, "seconds": None}, "web stays below its minimum of 2; lowest 1"),
        ({"seconds": 3.25}, "web is below its minimum of 2 for about 3.2 s, from +0:05; lowest 1"),
        ({"seconds": 720.0}, "web is below its minimum of 2 for about 12 min, from +0:05; lowest 1"),
        ({"seconds": 9000.0}, "web is below its minimum of 2 for about 2.5 h, from +0:05; lowest 1"),
    ],
)
def test_a_dip_is_a_sentence(fields: dict[str, Any], sentence: str) -> None:
    assert sentences("dips", dips=[a_dip(**fields)]) == [sentence]


def test_a_tier_below_its_target_is_told_of_on_demand() -> None:
    dips = [a_dip(below="target", wanted=3)]
    assert sentences("dips", dips=dips) == []
    assert sentences("dips", "wide", dips=dips) == [
        "web is below its target of 3 for about 40 s, from +0:05; lowest 1"
    ]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "g/VM1 takes slot 2 of web over from h/VM1, after a gap of about 40 s from +1:05"),
        ({"to": None, "gap_s": None}, "h/VM1 leaves slot 2 of web at +1:05, and no node takes it over"),
        ({"to": "h/VM1"}, "h/VM1 does not serve in slot 2 of web for about 40 s, from +1:05"),
    ],
)
def test_a_displaced_guest_is_a_sentence(fields: dict[str, Any], sentence: str) -> None:
    assert sentences("displaced", displaced=[displaced(**fields)]) == [sentence]


def test_it_says_what_times_rest_on() -> None:
    boots = [a_duration(f"host-{n}", activity="power-on", seconds=180.0, samples=0) for n in (1, 2, 3)]
    assumed = [*boots, a_duration("db@1", samples=4), a_duration("x@1", seconds=1.0, samples=0)]
    assert sentences("times rest on", measured=[a_duration()], assumed=assumed) == [
        "guest boot of web@3: measured 12 times, median 31 s",
        "host boot of host-1 and 2 more: never measured, 180 s assumed",
        "guest boot of db@1: never measured, 31 s as for others",
    ]
    assert "measured once" in sentences("times rest on", measured=[a_duration(samples=1)])[0]
    assert len(sentences("times rest on", "wide", assumed=assumed)) == 3


def test_what_comes_from_outside_cannot_steer_a_terminal() -> None:
    text = plan_text(
        a_plan(dips=[a_dip(tier="w\x1b[2J")], notes=["\x1b]0;x\x07"], actions=[an_action(subject="\x9b1m")]),
        "table",
    )
    assert all(letter.isprintable() or letter == "\n" for letter in text)


def test_an_older_controller_tells_less() -> None:
    action = {"action": "power-on", "subject": "host-1", "why": "w", "rule": "R"}
    lines = plan_text({"actions": [action], "waiting": []}, "table").splitlines()
    assert lines[2].split()[0] == "+0:00"

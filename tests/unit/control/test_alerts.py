"""Findings become alerts that stand until they are gone."""

from datetime import timedelta

from metier.control import alerts
from metier.control.alerts import AlertBook
from metier.domain.fleet import Draft
from metier.domain.plan import Finding
from tests.builders import NOW, a_fleet, an_alert

SHORT = Finding("tier-short", "web", "web needs 1 more node")
STORM = Finding("storm", "web", "too many failed")


def update(book: AlertBook, draft: Draft, *findings: Finding, seconds: float = 0) -> list[tuple[int, str]]:
    """Return what happened, as numbers of alerts and words."""
    happened = book.update(draft, findings, NOW + timedelta(seconds=seconds))
    return [(alert.id, word) for alert, word in happened]


def test_a_finding_is_raised_once_and_cleared_when_it_is_gone() -> None:
    draft = a_fleet().edit()
    book = AlertBook(draft)
    assert update(book, draft, SHORT) == [(1, "raised")]
    assert update(book, draft, SHORT, seconds=1) == []
    assert update(book, draft, seconds=2) == [(1, "cleared")]
    assert draft.alerts[1].cleared == NOW + timedelta(seconds=2)


def test_one_that_comes_back_is_another_alert() -> None:
    draft = a_fleet().edit()
    book = AlertBook(draft)
    for findings in ((SHORT,), (), (SHORT,)):
        update(book, draft, *findings)
    assert sorted(draft.alerts) == [1, 2]
    assert draft.alerts[2].cleared is None


def test_other_words_for_the_same_thing_change_the_alert_and_raise_nothing() -> None:
    draft = a_fleet().edit()
    book = AlertBook(draft)
    update(book, draft, SHORT)
    assert update(book, draft, Finding("tier-short", "web", "web needs 2 more nodes")) == []
    assert draft.alerts[1].message == "web needs 2 more nodes"


def test_an_acknowledgement_survives_other_words() -> None:
    draft = a_fleet(an_alert(1, acknowledged="ann")).edit()
    update(AlertBook(draft), draft, SHORT)
    assert draft.alerts[1].acknowledged == "ann"


def test_a_new_book_knows_what_stands() -> None:
    fleet = a_fleet(an_alert(3), an_alert(4, code="storm", cleared=NOW))
    draft = fleet.edit()
    assert update(AlertBook(fleet), draft, SHORT, STORM) == [(5, "raised")]


def test_findings_that_are_not_complete_clear_nothing() -> None:
    draft = a_fleet().edit()
    book = AlertBook(draft)
    update(book, draft, SHORT)
    happened = book.update(draft, (STORM,), NOW, is_complete=False)
    assert [(alert.code, word) for alert, word in happened] == [("storm", "raised")]
    assert draft.alerts[1].cleared is None


def test_the_oldest_cleared_alerts_are_dropped_and_what_stands_is_kept() -> None:
    many = [an_alert(number, subject=f"t{number}", cleared=NOW) for number in range(2, alerts.KEPT + 4)]
    draft = a_fleet(an_alert(1), *many).edit()
    update(AlertBook(draft), draft, SHORT)
    assert 1 in draft.alerts
    assert 2 not in draft.alerts
    assert len(draft.alerts) <= alerts.KEPT + 1

"""How answers are counted while a tier changes."""

from metier.lab.prober import Count


def test_a_round_without_any_answer_is_dark() -> None:
    count = Count()
    count.add({"a": True, "b": True})
    count.add({"a": False, "b": True})
    assert (count.dark, count.fewest) == (0, 1)
    count.add({"a": False, "b": False})
    assert (count.rounds, count.requests, count.dark, count.fewest) == (3, 6, 1, 0)
    assert count.failed == {"a": 2, "b": 1}


def test_nothing_asked_is_nothing_counted() -> None:
    assert (Count().rounds, Count().requests, Count().dark) == (0, 0, 0)

"""Waiting asks, and asks again, and gives up in time."""

import time

from metier.lab.waiting import wait_until


def test_a_question_answered_at_once_is_asked_once() -> None:
    answers = iter([True])
    assert wait_until(lambda: next(answers), 0)
    assert list(answers) == []


def test_it_asks_until_the_answer_is_yes() -> None:
    answers = iter([False, False, True])
    assert wait_until(lambda: next(answers), 10, every_s=0.001)


def test_it_gives_up_when_the_time_is_up() -> None:
    start = time.monotonic()
    assert not wait_until(lambda: False, 0.05, every_s=0.01)
    assert time.monotonic() - start < 5

"""Waiting for something outside this process, without sleeping."""

import threading
import time
from collections.abc import Callable


def wait_until(question: Callable[[], bool], timeout_s: float, *, every_s: float = 0.02) -> bool:
    """Ask `question` until it says yes or the time is up, and return its last answer.

    It is asked at least once, and never after the time is up by more than one pause.

    Args:
        question: Something cheap to ask again and again.
        timeout_s: How long to go on asking, in seconds.
        every_s: The pause between two questions, in seconds.
    """
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while not question():
        if time.monotonic() >= deadline:
            return False
        pause.wait(every_s)
    return True

"""Asks one question after another, on a terminal or from standard input."""

import sys
from collections.abc import Callable, Mapping
from typing import Any

from metier.cli.failure import Failure, wrong_usage
from metier.cli.session import tell

TYPES = ("linux", "windows", "other")

NONE = "none"
"""The answer that takes away what the version before had."""


def ask(question: str, parse: Callable[[str], Any], default: str = "", *, is_implied: bool = False) -> Any:
    """Return the answer to a question, parsed; a wrong one is asked again on a terminal.

    Args:
        question: Without the mark at its end.
        parse: Raises ValueError for what is no answer.
        default: Shown in brackets; what an empty line stands for.
        is_implied: Who gets the answers knows the default: an empty line returns None.

    Raises:
        Failure: Standard input ended, or holds a wrong answer and nobody is there to try again.
    """
    while True:
        line = _line(question, default)
        try:
            return None if is_implied and not line else parse(line or default)
        except ValueError as error:
            if not sys.stdin.isatty():
                # The next line answers another question.
                raise wrong_usage(f"{question}: {error}") from error
            tell(f"  {error}")


def _line(question: str, default: str) -> str:
    sys.stderr.write(f"{question} [{default}]: " if default else f"{question}: ")
    sys.stderr.flush()
    line = sys.stdin.readline()
    if not line:
        tell("")
        raise Failure(
            f"standard input ended before the answer to: {question}",
            code="no-answer",
            remedy="answer every question with a line, or give the answers as options: see --help",
        )
    if not sys.stdin.isatty():
        tell(line.strip())
    return line.strip()


def a_type(text: str) -> str:
    """Return an image type; raises ValueError."""
    if text.lower() not in TYPES:
        raise ValueError(f"{text!r} is none of {', '.join(TYPES)}")
    return text.lower()


def a_number(text: str) -> int | str:
    """Return a whole number, or nothing for nothing; raises ValueError."""
    if not text:
        return ""
    if not (text.isascii() and text.isdecimal()):
        raise ValueError(f"{text!r} is not a whole number")
    return int(text)


def some_words(text: str) -> tuple[str, ...]:
    """Return words that commas or spaces set apart; `none` is the empty word."""
    return ("",) if text.lower() == NONE else tuple(text.replace(",", " ").split())


def a_word(text: str) -> str:
    """Return a single word; raises ValueError."""
    if len(text.split()) != 1:
        raise ValueError("say one word" if text else "an answer is needed")
    return text


def yes_or_no(text: str) -> bool:
    """Return whether the answer is yes; raises ValueError."""
    for words, meaning in ((("y", "yes"), True), (("n", "no"), False)):
        if text.lower() in words:
            return meaning
    raise ValueError("say yes or no")


_QUESTIONS: tuple[tuple[str, str, str, Callable[[str], Any]], ...] = (
    ("type", f"image type ({', '.join(TYPES)})", "other", a_type),
    ("minimum_memory_mib", "minimum memory in MiB, empty for what the VM has", "", a_number),
    ("attribute", "attributes that a node must have, empty for none", "", some_words),
    ("startup_seconds", "service startup time in seconds", "300", a_number),
    ("collector", "collectors (ping, tcp:PORT, http:PORT/PATH), empty for none", "", some_words),
)


def about_import(already: Mapping[str, Any]) -> dict[str, Any]:
    """Ask about an image that is imported what was not said already; raises as `ask` does."""
    answers: dict[str, Any] = {}
    for name, question, default, parse in _QUESTIONS:
        if name not in already:
            value = ask(question, parse, default)
            if value not in ("", (), ("",)):
                answers[name] = value
    return answers

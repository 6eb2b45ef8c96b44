"""Plays a story: a text file of commands and happenings, each followed by what it came to.

    # comment, in which the story names what it proves
    $ metier tier edit web --target 3      a command, typed as it stands; `< WORDS` under it is
    > guest web-2 dies                     what is typed when it asks; or something happens
        host-1/VM2  FailNode: …            what followed, indented: output, then actions and alerts

What follows is compared as it stands; `make bless` writes it anew, and whoever
reviews the change sees what behaves otherwise.  Lines before `---` set the scene
and show nothing.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from metier.store.api import Entry
from tests.builders import NOW
from tests.scenarios.happenings import Theatre, happen

INDENT = "    "
CURTAIN = "---"
SHOWN = frozenset({"action", "alert"})


@dataclass(slots=True)
class Step:
    """One line of a story that does something, or a comment.

    Attributes:
        answers: What is typed when the command asks.
        shows: Whether what follows is written down.
    """

    line: str
    answers: list[str] = field(default_factory=list)
    shows: bool = True

    @property
    def is_comment(self) -> bool:
        """Whether it only speaks to the reader."""
        return not self.line.startswith(("$", ">"))


def play(text: str) -> str:
    """Return the story as it went this time."""
    theatre = Theatre(NOW)
    told: list[str] = []
    seen = 0
    for step in _steps(text):
        told.append(step.line)
        told += [f"< {answer}".rstrip() for answer in step.answers]
        if step.is_comment:
            continue
        lines = _do(theatre, step)
        entries = theatre.simulation.controller.store.journal(after=seen, limit=1 << 30)
        seen += len(entries)
        if step.shows:
            lines += list(_happened(entries))
            told += [f"{INDENT}{line}".rstrip() for line in lines]
            told.append("")
    return "\n".join(told).rstrip() + "\n"


def _do(theatre: Theatre, step: Step) -> list[str]:
    sign, words = step.line[0], step.line[1:].strip()
    if sign == ">":
        happen(theatre, words)
        return []
    said = theatre.console.type(words, "".join(f"{answer}\n" for answer in step.answers))
    lines = said.text.splitlines()
    return [*lines, f"exit status {said.status}"] if said.status else lines


def _happened(entries: Iterable[Entry]) -> Iterator[str]:
    for entry in entries:
        if entry.kind in SHOWN:
            by = f" ({entry.by})" if entry.kind == "action" else ""
            yield f"{entry.subject}  {entry.message}{by}"


def _steps(text: str) -> Iterator[Step]:
    """Yield what a story does, without what followed the last time.

    Raises:
        ValueError: A line is nothing that a story has.
    """
    scene, curtain, play = text.partition(f"\n{CURTAIN}\n")
    if not curtain:
        raise ValueError(f"the story has no line {CURTAIN} between its scene and its play")
    # Behind the curtain empty lines only set apart what followed.
    told = [line for line in play.splitlines() if line and not line.startswith(INDENT)]
    yield from _parsed(scene.splitlines(), shows=False)
    yield Step(CURTAIN)
    yield from _parsed(told, shows=True)


def _parsed(lines: Iterable[str], *, shows: bool) -> Iterator[Step]:
    step: Step | None = None
    for line in lines:
        if line.startswith("<") and step is not None:
            step.answers.append(line[1:].strip())
            continue
        if line and not line.startswith(("$", ">", "#")):
            raise ValueError(f"{line!r} is no command, no happening and no comment")
        if step is not None:
            yield step
        step = Step(line, shows=shows)
    if step is not None:
        yield step


def stories() -> list[Path]:
    """Return all story files."""
    return sorted(Path(__file__).parent.glob("*.txt"))

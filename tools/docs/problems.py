"""Every alert there is."""

from metier.domain.problems import PROBLEMS
from tools.docs import markdown as md

_INTRODUCTION = """
An alert stands as long as its cause does, and clears by itself.  `metier alert list` shows those that
stand; `metier alert ack` notes that you have seen one, which changes nothing else.
"""


def problems_page() -> str:
    """Return the page."""
    blocks = [_INTRODUCTION]
    for row in PROBLEMS.values():
        blocks += [
            f"## {row.code}",
            f"*{row.severity}* – {row.title}",
            f"{md.sentence(row.meaning)}\n\nWhat to do: {md.sentence(row.remedy)}",
        ]
    return md.page("Problems", *blocks)

"""What is typed in the demonstration, whatever kind of hosts it runs on: `demo_commands.txt`."""

import re
from collections.abc import Iterable
from pathlib import Path

TYPED = Path(__file__).with_name("demo_commands.txt").read_text(encoding="utf-8").splitlines()


def typed(lines: Iterable[str]) -> list[str]:
    """Return what was typed, without what depends on the kind of host, the folder, and who was chosen."""
    return [_plain(line) for line in lines]


def _plain(line: str) -> str:
    if line.startswith("metier node add "):
        return " ".join(line.split()[:4]) + " …"
    if line.startswith(("metier node disengage ", "metier node shutdown ", "metier node engage ")):
        line = re.sub(r"\bhost-\d\b", "HOST", line)
    return re.sub(r"-f \S*/", "-f …/", line)

"""How long the command line takes to start, against the interpreter alone, in the same run."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median
from typing import Any, NamedTuple

# Enough for the quickest of each to be without interruption on a shared machine.
_ROUNDS = 15
_METIER = "import sys; from metier.cli.main import main; sys.argv[0] = 'metier'; main()"


def run() -> list[dict[str, Any]]:
    """Return a row for each command: its quickest start, and the interpreter's.

    The quickest counts, because everything slower is the machine's other work; the
    median is there to tell how much of that there was.
    """
    with tempfile.TemporaryDirectory(prefix="metier-bench-") as nowhere:
        commands = {
            "metier version": ("version",),
            "metier --help": ("--help",),
            "metier node list --help": ("node", "list", "--help"),
            "metier node list, no controller": ("--state", nowhere, "node", "list"),
        }
        # Turn by turn, so that each meets the same other work.
        floors: list[_Start] = []
        starts: dict[str, list[_Start]] = {name: [] for name in commands}
        for _ in range(_ROUNDS):
            floors.append(_started(["-c", "pass"]))
            for name, words in commands.items():
                starts[name].append(_started(["-c", _METIER, *words]))
    return [_row(name, found, floors) for name, found in starts.items()]


class _Start(NamedTuple):
    seconds: float
    cpu_seconds: float


def _row(name: str, found: Sequence[_Start], floors: Sequence[_Start]) -> dict[str, Any]:
    value, floor = min(found).seconds * 1000, min(floors).seconds * 1000
    return {
        "name": f"start of {name}",
        "value": round(value, 1),
        "floor": round(floor, 1),
        "ratio": round(value / floor, 2),
        "unit": "ms",
        "median": round(median(start.seconds for start in found) * 1000, 1),
        "cpu": round(min(start.cpu_seconds for start in found) * 1000, 1),
    }


def _started(arguments: Sequence[str]) -> _Start:
    environment = {"PATH": str(Path(sys.executable).parent), "LC_ALL": "C.UTF-8"}
    used_before = getrusage(RUSAGE_CHILDREN)
    began = time.perf_counter()
    # Some of these end in an error, on purpose: there is no controller.
    subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, check=False)
    seconds = time.perf_counter() - began
    used = getrusage(RUSAGE_CHILDREN)
    return _Start(seconds, used.ru_utime + used.ru_stime - used_before.ru_utime - used_before.ru_stime)


if __name__ == "__main__":
    for row in run():
        print(row)

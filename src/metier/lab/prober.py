"""Asks guests for their health all the time, and counts who answered: the customers of a lab's tier.

It runs inside the site, as a process of its own, until its standard input is closed; then it
prints what it counted.
"""

import json
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from metier.lab.datacentre import LabDatacentre

PAGE = "health"
PACE_S = 0.1
"""From one round to the next; a round asks every address once, all at the same time."""

PATIENCE_S = 2.0
"""How long a request may take: guests without hardware help are slow while others start."""

_END_S = 60.0


@dataclass(slots=True)
class Count:
    """What was asked and answered.

    Attributes:
        rounds: How often every address was asked.
        dark: Rounds in which no address answered.
        failed: By address, the requests that failed.
        fewest: The fewest addresses that answered in one round.
    """

    rounds: int = 0
    dark: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    fewest: int = 0

    @property
    def requests(self) -> int:
        """How many requests were sent in all."""
        return self.rounds * len(self.failed)

    def add(self, answers: dict[str, bool]) -> None:
        """Count one round."""
        good = sum(answers.values())
        self.fewest = good if self.rounds == 0 else min(self.fewest, good)
        self.rounds += 1
        self.dark += good == 0
        for address, answered in answers.items():
            self.failed[address] = self.failed.get(address, 0) + (not answered)


@contextmanager
def probing(lab: LabDatacentre, addresses: Sequence[str]) -> Iterator[Count]:
    """Ask `addresses` as long as the context lasts; the count is filled in at its end."""
    argv = lab.command_in_site([sys.executable, "-m", "metier.lab.prober", *addresses])
    count = Count()
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()  # it has begun
            yield count
            counted = json.loads(process.communicate(timeout=_END_S)[0])
        finally:
            process.kill()
    count.rounds, count.dark, count.fewest = counted["rounds"], counted["dark"], counted["fewest"]
    count.failed.update(counted["failed"])


def main(addresses: Sequence[str]) -> int:
    """Ask until standard input ends, and print the count."""
    ended = threading.Event()
    threading.Thread(target=_until_input_ends, args=(ended,), daemon=True).start()
    sys.stdout.write("begun\n")
    sys.stdout.flush()
    count = Count()
    with ThreadPoolExecutor(len(addresses)) as pool:
        while not ended.wait(PACE_S):
            count.add(dict(zip(addresses, pool.map(_answers, addresses), strict=True)))
    about = {"rounds": count.rounds, "dark": count.dark, "fewest": count.fewest, "failed": count.failed}
    sys.stdout.write(json.dumps(about))
    return 0


def _until_input_ends(ended: threading.Event) -> None:
    sys.stdin.read()
    ended.set()


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{address}/{PAGE}", timeout=PATIENCE_S) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

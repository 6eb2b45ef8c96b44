"""Network namespaces: making them, and ending all that lives in them."""

import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

from metier.lab.commands import run
from metier.lab.identity import PROC, end_process, identify

NETNS_FOLDER = Path("/run/netns")

# Time for an ordinary process to put its things in order before it is killed.
GRACE_S = 3.0
KILL_TIMEOUT_S = 5.0


def exists(namespace: str) -> bool:
    """Tell whether a network namespace of this name exists."""
    return (NETNS_FOLDER / namespace).exists()


def create(namespaces: Sequence[str]) -> None:
    """Make network namespaces, each with nothing in it but a loopback that is down."""
    run(["ip", "-batch", "-"], stdin="".join(f"netns add {name}\n" for name in namespaces))


def configure(namespace: str, lines: Sequence[str]) -> None:
    """Run lines of `ip` inside a namespace."""
    run(["ip", "-n", namespace, "-batch", "-"], stdin="\n".join(lines) + "\n")


def command_in(namespace: str, argv: Sequence[str]) -> list[str]:
    """Return the command line that runs `argv` inside a namespace."""
    return ["ip", "netns", "exec", namespace, *argv]


def processes_in(namespace: str) -> list[int]:
    """Return the numbers of the processes that live in a namespace."""
    return [int(number) for number in run(["ip", "netns", "pids", namespace]).split()]


def own_line() -> Iterator[int]:
    """Yield this process and its parents, which a lab that is taken down from inside must not kill."""
    pid = int((PROC / "self").readlink().name)
    while pid > 0:
        yield pid
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        pid = int(fields[1])


def end_all_in(namespace: str) -> None:
    """End every process in a namespace but the caller's own line: politely, then by force."""
    spared = set(own_line())
    found = [identify(pid) for pid in processes_in(namespace) if pid not in spared]
    processes = [process for process in found if process is not None]
    for process in processes:
        if not end_process(process, timeout_s=GRACE_S, by=signal.SIGTERM):
            end_process(process, timeout_s=KILL_TIMEOUT_S)


def remove(namespace: str) -> None:
    """End what lives in a namespace, then remove it with its links; nothing happens if there is none."""
    if exists(namespace):
        end_all_in(namespace)
        run(["ip", "netns", "delete", namespace])

"""Which process is meant: never by name, and never by a number that may have been given away again."""

import os
import select
import signal
from dataclasses import asdict, dataclass
from pathlib import Path

PROC = Path("/proc")
BOOT_ID = PROC / "sys/kernel/random/boot_id"

# States of /proc/<pid>/stat in which nothing of the process runs any more: zombie and dead.
ENDED_STATES = frozenset("ZXx")


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process of one boot of this machine.

    Attributes:
        pid: Its number, as its parent namespace knows it.
        start_ticks: When it started, in clock ticks since the machine booted.
        boot_id: Which boot of the machine that was.
    """

    pid: int
    start_ticks: int
    boot_id: str

    def as_json(self) -> dict[str, int | str]:
        """Return what `identity_from_json` reads."""
        return asdict(self)


def identity_from_json(data: object) -> ProcessIdentity | None:
    """Return the identity that `as_json` wrote, or None for anything else."""
    match data:
        case {"pid": int(pid), "start_ticks": int(start_ticks), "boot_id": str(boot_id)}:
            return ProcessIdentity(pid, start_ticks, boot_id)
        case _:
            return None


def parse_stat(text: str) -> tuple[int, str, int]:
    """Return (pid, state, start in ticks) from the text of a /proc/<pid>/stat.

    The program's name, in parentheses, may itself hold spaces and parentheses.
    """
    head, _, tail = text.rpartition(")")
    fields = tail.split()
    return int(head.split(None, 1)[0]), fields[0], int(fields[19])


def identify(pid: int | None = None) -> ProcessIdentity | None:
    """Return who has the number `pid` now (this process if not given), or None if nobody runs under it."""
    try:
        text = (PROC / ("self" if pid is None else str(pid)) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    number, state, start_ticks = parse_stat(text)
    if state in ENDED_STATES:
        return None
    return ProcessIdentity(number, start_ticks, BOOT_ID.read_text().strip())


def is_running(process: ProcessIdentity) -> bool:
    """Tell whether this very process still runs; a zombie does not."""
    return identify(process.pid) == process


def end_process(process: ProcessIdentity, *, timeout_s: float, by: signal.Signals = signal.SIGKILL) -> bool:
    """Signal this very process and wait for its end; return whether it has ended.

    A process that has already ended, or whose number now belongs to another, is left alone.

    Args:
        process: Whom to end.
        timeout_s: How long to wait for its end, in seconds.
        by: The signal sent.
    """
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return True
    try:
        # The handle is opened first: from here on the number cannot change hands unseen.
        if not is_running(process):
            return True
        signal.pidfd_send_signal(handle, by)
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        return bool(poll.poll(timeout_s * 1000))
    except ProcessLookupError:
        return True
    finally:
        os.close(handle)

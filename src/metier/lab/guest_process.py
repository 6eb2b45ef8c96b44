"""Finding the process of a guest on a host, for accidents on purpose.

libvirt records each guest's process number as the host's own PID namespace
counts; this translates it to the machine's.
"""

from collections.abc import Iterator

from metier.lab.errors import LabError
from metier.lab.host import HostFolder, read_init
from metier.lab.identity import PROC, ProcessIdentity, identify, is_running


def find_guest(folder: HostFolder, domain: str) -> ProcessIdentity:
    """Return the process that runs `domain` on a host.

    Raises:
        LabError: The host is off, or the domain does not run on it.
    """
    init = read_init(folder)
    if init is None or not is_running(init):
        raise LabError(f"cannot find {domain} on {folder.path.name}: the host is off")
    try:
        inner_pid = int((folder.path / "run/qemu" / f"{domain}.pid").read_text())
    except (FileNotFoundError, ValueError) as error:
        raise LabError(f"cannot find {domain} on {folder.path.name}: it does not run there") from error
    for pid in host_processes(init):
        process = identify(pid)
        if process is not None and inner_number(pid) == inner_pid:
            return process
    raise LabError(f"cannot find {domain} on {folder.path.name}: its process {inner_pid} has ended")


def host_processes(init: ProcessIdentity) -> Iterator[int]:
    """Yield the numbers of the processes in the PID namespace of a host's first process."""
    namespace = (PROC / str(init.pid) / "ns/pid").readlink()
    for entry in PROC.iterdir():
        try:
            if entry.name.isdecimal() and (entry / "ns/pid").readlink() == namespace:
                yield int(entry.name)
        except OSError:
            continue  # it has ended, or hides where it lives: none of the host's does


def inner_number(pid: int) -> int | None:
    """Return the number that a process has in its own PID namespace, or None if it has ended."""
    try:
        lines = (PROC / str(pid) / "status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return None
    numbers = next((line.split() for line in lines if line.startswith("NSpid:")), [])
    return int(numbers[-1]) if numbers else None

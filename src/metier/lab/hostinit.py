"""The first process of a lab host: it sets up the host's private view and buries its dead.

Started by `metier.lab.hostpower` inside fresh PID, mount and UTS namespaces.
As it is process 1 there, its end takes every process of the host with it,
which is what losing power does.
"""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

from metier.domain.errors import MetierError
from metier.lab.commands import find_program, run
from metier.lab.errors import LabError
from metier.lab.host import DAEMON_FOLDERS, HostConfig, HostFolder, read_host
from metier.lab.identity import identify

KVM_DEVICE = Path("/dev/kvm")


def main() -> NoReturn:
    """Become the host whose folder and reporting descriptor are the two arguments."""
    folder, report = HostFolder(Path(sys.argv[1])), int(sys.argv[2])
    try:
        daemon = become(folder)
    except MetierError as error:
        sys.exit(str(error))
    os.write(report, b"on\n")
    os.close(report)
    bury_orphans(daemon.pid, folder.daemon_exit_file)


def become(folder: HostFolder) -> subprocess.Popen[bytes]:
    """Turn this process into the host and return its libvirt daemon, just started."""
    hold_power_lock(folder)
    write_own_identity(folder)
    config = read_host(folder)
    socket.sethostname(config.name)
    take_private_view(folder, config)
    # Its usual /run/libvirtd.pid would be the same file for all hosts.
    argv = [find_program("libvirtd"), "--pid-file", "/run/libvirt/libvirtd.pid"]
    return subprocess.Popen(argv, stdin=subprocess.DEVNULL)


def hold_power_lock(folder: HostFolder) -> None:
    """Refuse to be a second process 1 of the same host; the lock ends with this process.

    Raises:
        LabError: The host is on.
    """
    lock = os.open(folder.path / "init.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise LabError(f"cannot start the host in {folder.path} twice: it is on") from error


def write_own_identity(folder: HostFolder) -> None:
    """Record who this process is, as the machine sees it.

    The /proc mounted so far is still the machine's, so it tells the number outside.
    """
    myself = identify()
    assert myself is not None, "this process reads its own state"
    draft = folder.init_file.with_suffix(".new")
    draft.write_text(json.dumps(myself.as_json()) + "\n")
    draft.rename(folder.init_file)


def take_private_view(folder: HostFolder, config: HostConfig) -> None:
    """Give this mount namespace its own /proc and its own libvirt folders."""
    for name, place in DAEMON_FOLDERS.items():
        Path(place).mkdir(parents=True, exist_ok=True)
        run(["mount", "--bind", folder.path / name, place])
    if not config.hardware_help:
        hide_kvm(folder)
    run(["mount", "-t", "proc", "proc", "/proc"])


def hide_kvm(folder: HostFolder) -> None:
    """Put a file that nobody may write in the place of /dev/kvm.

    libvirt believes in any /dev/kvm that it may open, even where no guest would run with it.
    """
    if KVM_DEVICE.exists():
        stand_in = folder.path / "no-kvm"
        stand_in.touch()
        run(["mount", "--bind", stand_in, KVM_DEVICE])
        run(["mount", "-o", "remount,bind,ro", KVM_DEVICE])


def bury_orphans(daemon_pid: int, daemon_exit_file: Path) -> NoReturn:
    """Wait for every child and orphan for ever; note the daemon's end."""
    while True:
        try:
            pid, status = os.wait()
        except ChildProcessError:
            signal.pause()
            continue
        if pid == daemon_pid:
            daemon_exit_file.write_text(f"{os.waitstatus_to_exitcode(status)}\n")


if __name__ == "__main__":
    main()

"""The power switch of a lab host: `python -m metier.lab.hostpower on|off|status <host-folder>`.

These are the operator's own commands that Metier's `command` power driver
calls.  Each ends within its deadline, and each may be repeated: switching on
what is on, or off what is off, does nothing.
"""

import argparse
import fcntl
import os
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import metier
from metier.domain.errors import MetierError
from metier.lab import namespaces
from metier.lab.commands import SYSTEM_FOLDERS, find_program
from metier.lab.errors import LabError
from metier.lab.host import HostConfig, HostFolder, read_host, read_init
from metier.lab.identity import end_process, is_running
from metier.lab.network import uplink_lines
from metier.lab.waiting import wait_until

# A first start probes every emulator; on a busy machine that takes long.
ON_TIMEOUT_S = 60.0
OFF_TIMEOUT_S = 20.0

# How long one question to the daemon may take before it counts as no answer.
ANSWER_TIMEOUT_S = 10.0

# Lines of the host's log that a refusal repeats.
LOG_LINES = 3


def power_on(folder: HostFolder, *, timeout_s: float = ON_TIMEOUT_S) -> None:
    """Switch the host on and return once its libvirt daemon answers.

    The host outlives this process.  Domains that were defined before are known and shut off.

    Args:
        folder: The host's folder.
        timeout_s: How long the host may take, in seconds.

    Raises:
        LabError: It is not a host, did not start, or its daemon does not answer.
    """
    config = read_host(folder)
    with power_lock(folder, config, timeout_s):
        if power_status(folder) == "off":
            clear_remains(folder)
            start_init(folder, config, timeout_s)
            plug_in(config, plugged_in=True)
        wait_for_daemon(folder, config, timeout_s)


def power_off(folder: HostFolder, *, timeout_s: float = OFF_TIMEOUT_S) -> None:
    """Cut the host's power: every process on it ends at once, guests included.

    Args:
        folder: The host's folder.
        timeout_s: How long to wait for their end, in seconds.

    Raises:
        LabError: It is not a host, or its processes did not end in time.
    """
    config = read_host(folder)
    with power_lock(folder, config, timeout_s):
        plug_in(config, plugged_in=False)
        init = read_init(folder)
        if init is not None and not end_process(init, timeout_s=timeout_s):
            raise LabError(
                f"cannot power off {config.name}: process {init.pid} still runs after {timeout_s:g} s"
            )
        clear_remains(folder)


def power_status(folder: HostFolder) -> Literal["on", "off"]:
    """Tell whether the host has power; its daemon may still be starting, or may have failed."""
    init = read_init(folder)
    return "on" if init is not None and is_running(init) else "off"


@contextmanager
def power_lock(folder: HostFolder, config: HostConfig, timeout_s: float) -> Iterator[None]:
    """Hold the host's switch alone.

    Raises:
        LabError: Another process did not let go of it in time.
    """
    with (folder.path / "power.lock").open("w") as lock:

        def taken() -> bool:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        if not wait_until(taken, timeout_s):
            raise LabError(
                f"cannot switch {config.name}: another process has held its switch for {timeout_s:g} s"
            )
        yield


def clear_remains(folder: HostFolder) -> None:
    """Remove what a host that lost power leaves: sockets, process numbers, states of running domains."""
    for remains in (folder.init_file, folder.daemon_exit_file):
        remains.unlink(missing_ok=True)
    for remains in (folder.path / "run").iterdir():
        if remains.is_dir():
            shutil.rmtree(remains)
        else:
            remains.unlink()


def start_init(folder: HostFolder, config: HostConfig, timeout_s: float) -> None:
    """Start the host's first process, detached from this one, and wait for its word.

    Raises:
        LabError: It ended before it could say that the host is on, or said nothing in time.
    """
    if not namespaces.exists(config.namespace):
        message = f"cannot power on {config.name}: its network namespace {config.namespace} is gone"
        raise LabError(message, remedy="take the lab down and bring it up again")
    hears, speaks = os.pipe()
    try:
        try:
            launch(folder, config, speaks)
        finally:
            os.close(speaks)
        ready, _, _ = select.select([hears], [], [], timeout_s)
        if not ready or not os.read(hears, 16):
            raise LabError(f"cannot power on {config.name}: {last_words(folder)}")
    finally:
        os.close(hears)


def launch(folder: HostFolder, config: HostConfig, report: int) -> None:
    """Start `metier.lab.hostinit` in the host's namespaces, as a child of nobody here."""
    argv = [
        *("setsid", "--fork", find_program("ip"), "netns", "exec", config.namespace),
        *("unshare", "--pid", "--fork", "--kill-child", "--mount", "--propagation", "slave", "--uts"),
        *(sys.executable, "-m", "metier.lab.hostinit", str(folder.path), str(report)),
    ]
    environment = {
        "PATH": SYSTEM_FOLDERS,
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(Path(metier.__file__).parents[1]),
    }
    with folder.power_log.open("wb") as log:
        subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[report],
            env=environment,
            cwd="/",
            check=True,
        )


def last_words(folder: HostFolder) -> str:
    """Return the end of what the host said, for a refusal."""
    lines = folder.power_log.read_text(errors="replace").strip().splitlines()
    return "; ".join(lines[-LOG_LINES:]) or f"it said nothing in {folder.power_log}"


def plug_in(config: HostConfig, *, plugged_in: bool) -> None:
    """Plug the host's network cable in or out: a host without power answers to nothing."""
    if namespaces.exists(config.namespace):
        namespaces.configure(config.namespace, uplink_lines(plugged_in=plugged_in))


def wait_for_daemon(folder: HostFolder, config: HostConfig, timeout_s: float) -> None:
    """Return once the host's libvirt daemon answers.

    Raises:
        LabError: It ended, or does not answer in time.
    """

    def settled() -> bool:
        return folder.daemon_exit_file.exists() or power_status(folder) == "off" or daemon_answers(folder)

    if not wait_until(settled, timeout_s):
        raise LabError(
            f"cannot use {config.name}: it is on, but libvirt does not answer within {timeout_s:g} s"
        )
    if folder.daemon_exit_file.exists() or power_status(folder) == "off":
        message = f"cannot use {config.name}: its libvirt daemon has ended: {last_words(folder)}"
        raise LabError(message, remedy="power it off and on again")


def daemon_answers(folder: HostFolder) -> bool:
    """Ask the daemon what it can run; the question also makes it look, once."""
    if not folder.socket.exists():
        return False
    argv = [find_program("virsh"), "--connect", folder.url, "capabilities"]
    try:
        return (
            subprocess.run(argv, capture_output=True, timeout=ANSWER_TIMEOUT_S, check=False).returncode == 0
        )
    except subprocess.TimeoutExpired:
        return False


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0 done, 1 failed with a message."""
    parser = argparse.ArgumentParser(prog="hostpower", description="The power switch of a lab host.")
    parser.add_argument("verb", choices=["on", "off", "status"])
    parser.add_argument("folder", type=Path, help="the host's folder")
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="how long it may take")
    chosen = parser.parse_args(arguments)
    folder = HostFolder(chosen.folder.absolute())
    try:
        match chosen.verb:
            case "on":
                power_on(folder, timeout_s=chosen.timeout or ON_TIMEOUT_S)
            case "off":
                power_off(folder, timeout_s=chosen.timeout or OFF_TIMEOUT_S)
            case _:
                read_host(folder)
                sys.stdout.write(power_status(folder) + "\n")
    except MetierError as error:
        sys.stderr.write("; ".join(filter(None, (error.message, error.remedy))) + "\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

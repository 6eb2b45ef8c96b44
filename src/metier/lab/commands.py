"""Running the system's own programs, each with a deadline and a readable refusal."""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from metier.lab.errors import LabError

# Administrators' programs live here; a plain user's PATH often leaves it out.
SYSTEM_FOLDERS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# Debian's names, so that a refusal can say what to install.
PACKAGES = {
    "busybox": "busybox-static",
    "depmod": "kmod",
    "dnsmasq": "dnsmasq-base",
    "ip": "iproute2",
    "libvirtd": "libvirt-daemon-system",
    "mcopy": "mtools",
    "mkfs.vfat": "dosfstools",
    "mmd": "mtools",
    "qemu-img": "qemu-utils",
    "qemu-system-x86_64": "qemu-system-x86",
    "syslinux": "syslinux",
    "unshare": "util-linux",
    "virsh": "libvirt-clients",
}


def find_program(name: str) -> str:
    """Return the absolute path of the system's program `name`.

    Raises:
        LabError: It is not installed.
    """
    found = shutil.which(name, path=SYSTEM_FOLDERS)
    if found is None:
        package = PACKAGES.get(name, name)
        message = f"cannot find the program {name} on this machine"
        raise LabError(message, code="lab-program-missing", remedy=f"install it: apt-get install {package}")
    return found


def run(
    argv: Sequence[str | Path],
    *,
    timeout_s: float = 60.0,
    stdin: str = "",
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run one program to its end and return what it printed.

    Args:
        argv: The program's name, looked up among the system's programs, and its arguments.
        timeout_s: How long it may take, in seconds; after that it is killed.
        stdin: What it reads.
        environment: All of its environment variables; this process's own if not given.

    Raises:
        LabError: It is not installed, failed, or took too long.
    """
    words = [find_program(str(argv[0])), *map(str, argv[1:])]
    what = " ".join([str(argv[0]), *words[1:3]])
    try:
        done = subprocess.run(
            words,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            env=environment,
        )
    except subprocess.TimeoutExpired as error:
        raise LabError(f"cannot finish `{what} …`: it took more than {timeout_s:g} s") from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        reason = said[-1] if said else "it said nothing"
        raise LabError(f"cannot finish `{what} …`: exit status {done.returncode}: {reason}")
    return done.stdout

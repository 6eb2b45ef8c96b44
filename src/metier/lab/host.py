"""What a lab host keeps on disk: its configuration, its daemon's folders and its disk store."""

import json
import shutil
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

from metier.lab.errors import LabError
from metier.lab.identity import ProcessIdentity, identity_from_json

# A Unix socket's path must fit into the 108 bytes of sockaddr_un with a zero at its end.
LONGEST_SOCKET_PATH = 107

# Where libvirt looks on every machine, and what each host has there instead.
DAEMON_FOLDERS = {
    "run": "/run/libvirt",
    "lib": "/var/lib/libvirt",
    "cache": "/var/cache/libvirt",
    "log": "/var/log/libvirt",
    "etc": "/etc/libvirt",
}

# Everything as root in one place: no virtlogd, no cgroups, no change of owners, no private /dev.
QEMU_CONF = """\
stdio_handler = "file"
security_driver = "none"
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
namespaces = []
cgroup_controllers = []
"""

# Hosts on one machine would otherwise share its hardware's identifier.
LIBVIRTD_CONF = """\
auth_unix_rw = "none"
unix_sock_rw_perms = "0700"
host_uuid = "{host_uuid}"
"""


@dataclass(frozen=True, slots=True)
class HostConfig:
    """What a host is, fixed when the lab is built.

    Attributes:
        name: Its name.
        namespace: Its network namespace.
        address: Its management address.
        hardware_help: It lets its guests use /dev/kvm.
    """

    name: str
    namespace: str
    address: str
    hardware_help: bool = False


@dataclass(frozen=True, slots=True)
class HostFolder:
    """The folder of one host.

    Attributes:
        path: Absolute, and the same inside the host's namespaces and outside.
    """

    path: Path

    @property
    def socket(self) -> Path:
        """Where its libvirt daemon answers."""
        return self.path / "run/libvirt-sock"

    @property
    def url(self) -> str:
        """The libvirt URL of the host, for any program on this machine."""
        return f"qemu+unix:///system?socket={quote(str(self.socket))}"

    @property
    def store(self) -> Path:
        """Where its guests' disks belong."""
        return self.path / "store"

    @property
    def config_file(self) -> Path:
        """What the host is."""
        return self.path / "host.json"

    @property
    def init_file(self) -> Path:
        """Which process is the host, while it is on."""
        return self.path / "init.json"

    @property
    def daemon_exit_file(self) -> Path:
        """There once its libvirt daemon has ended by itself, with the exit status."""
        return self.path / "daemon-exit"

    @property
    def power_log(self) -> Path:
        """What the host's first process and its daemon said."""
        return self.path / "log/power.log"


def create_host(folder: HostFolder, config: HostConfig) -> None:
    """Write the folder of a new host.

    Raises:
        LabError: The folder lies too deep for a Unix socket.
    """
    length = len(str(folder.socket).encode())
    if length > LONGEST_SOCKET_PATH:
        message = (
            f"cannot put a host into {folder.path}: the path of its socket has {length} bytes, "
            f"and {LONGEST_SOCKET_PATH} fit"
        )
        raise LabError(message, remedy="use a shorter folder")
    for name in (*DAEMON_FOLDERS, "store"):
        (folder.path / name).mkdir(parents=True, exist_ok=True)
    (folder.path / "etc/qemu.conf").write_text(QEMU_CONF)
    (folder.path / "etc/libvirtd.conf").write_text(LIBVIRTD_CONF.format(host_uuid=uuid.uuid4()))
    folder.config_file.write_text(json.dumps(asdict(config), indent=2) + "\n")


def read_host(folder: HostFolder) -> HostConfig:
    """Return what the host is.

    Raises:
        LabError: This is not the folder of a lab host.
    """
    try:
        return HostConfig(**json.loads(folder.config_file.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise LabError(f"cannot find a lab host in {folder.path}") from error


def read_init(folder: HostFolder) -> ProcessIdentity | None:
    """Return which process the host is or was, or None if it was never on or was switched off."""
    try:
        return identity_from_json(json.loads(folder.init_file.read_text()))
    except (FileNotFoundError, ValueError):
        return None


def share_capabilities(primed: HostFolder, other: HostFolder) -> None:
    """Spare `other` the probing of emulators that `primed`, on the same machine, has done."""
    shutil.copytree(primed.path / "cache", other.path / "cache", dirs_exist_ok=True)

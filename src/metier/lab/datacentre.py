"""A small real data centre on one machine: hosts with their own libvirt, a network, a DHCP server.

The controller under trial runs inside the site's network namespace
(`LabDatacentre.command_in_site`), from where it reaches guests and hosts by
address; the hosts' libvirt sockets and power switches are files and commands
that work from anywhere.  Nothing is sent outside the namespaces made here.
"""

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from metier.lab import namespaces
from metier.lab.commands import find_program
from metier.lab.errors import LabError
from metier.lab.guest_process import find_guest
from metier.lab.host import HostConfig, HostFolder, create_host, share_capabilities
from metier.lab.hostpower import power_off, power_on, power_status
from metier.lab.identity import ProcessIdentity, end_process, identify, is_running
from metier.lab.network import (
    HOST_BRIDGE,
    HostPlan,
    Lease,
    dnsmasq_arguments,
    host_lines,
    parse_leases,
    site_lines,
)
from metier.lab.state import STATE_FILE, LabHost, LabState, read_state, write_state
from metier.lab.waiting import wait_until

NEEDED_PROGRAMS = ("ip", "unshare", "libvirtd", "virsh", "dnsmasq", "qemu-system-x86_64", "qemu-img")

STOP_TIMEOUT_S = 5.0

# Several hosts at once would only compete for the machine's processors.
HOSTS_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class HostAccess:
    """What one needs to know to use a host of the lab.

    Attributes:
        name: Its name.
        address: Its management address, reachable inside the site.
        url: The libvirt URL, usable from anywhere on this machine.
        store: A folder for disks, the same path on the host and outside.
        bridge: The bridge on which its guests belong.
        namespace: Its network namespace.
        folder: Its folder, which `metier.lab.hostpower` takes.
    """

    name: str
    address: IPv4Address
    url: str
    store: Path
    bridge: str
    namespace: str
    folder: Path

    def power_command(self, verb: Literal["on", "off", "status"]) -> list[str]:
        """Return the operator's command line that switches this host or tells its state."""
        return [sys.executable, "-m", "metier.lab.hostpower", verb, str(self.folder)]


@dataclass(frozen=True, slots=True)
class LabStatus:
    """How a lab is.

    Attributes:
        state: `up`, `damaged` (parts are missing: take it down) or `down`.
        power: Each host's power, `on` or `off`.
        dhcp: The DHCP server runs.
    """

    state: Literal["up", "damaged", "down"]
    power: dict[str, Literal["on", "off"]]
    dhcp: bool


class LabDatacentre:
    """One lab in one folder; as a context manager it is up inside and gone afterwards.

    Args:
        folder: Where it keeps everything; made if missing.
        hosts: The hosts to have.
    """

    def __init__(self, folder: Path, hosts: Sequence[LabHost]) -> None:
        self.folder = folder.absolute()
        self._state = LabState(secrets.token_hex(3), tuple(hosts))
        self._plan = self._state.network

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Return the lab that an earlier process left in `folder`.

        Raises:
            LabError: There is none.
        """
        state = read_state(folder)
        if state is None:
            message = f"cannot find a lab in {folder}: it has no {STATE_FILE}"
            raise LabError(message, code="no-lab", remedy="bring one up first")
        lab = cls(folder, state.hosts)
        lab._state, lab._plan = state, state.network
        return lab

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    # --- what it has

    @property
    def hosts(self) -> tuple[HostAccess, ...]:
        """The hosts, in the order given."""
        return tuple(self._access(host) for host in self._plan.hosts)

    def host(self, name: str) -> HostAccess:
        """Return the host of this name.

        Raises:
            LabError: There is none.
        """
        for host in self.hosts:
            if host.name == name:
                return host
        raise LabError(f"cannot find host {name} in the lab in {self.folder}")

    @property
    def gateway(self) -> IPv4Address:
        """The site's own address."""
        return self._plan.gateway.ip

    @property
    def prefix_length(self) -> int:
        """The length of the site network's prefix."""
        return self._plan.gateway.network.prefixlen

    @property
    def static_addresses(self) -> tuple[IPv4Address, ...]:
        """The addresses that slots of tiers may have."""
        return self._plan.static_addresses

    @property
    def site_namespace(self) -> str:
        """The network namespace from which all guests and hosts can be reached."""
        return self._plan.namespace

    def command_in_site(self, argv: Sequence[str]) -> list[str]:
        """Return the command line that runs `argv` where guests and hosts can be reached."""
        return namespaces.command_in(self.site_namespace, argv)

    def leases(self) -> list[Lease]:
        """Return the addresses that the DHCP server gave away."""
        file = self._site_folder / "leases"
        return parse_leases(file.read_text()) if file.exists() else []

    def reserve(self, mac: str, address: IPv4Address, name: str) -> None:
        """Have the DHCP server always give this address and name to one interface."""
        (self._site_folder / "reservations" / name).write_text(f"{mac},{address},{name}\n")

    def guest_process(self, host: str, domain: str) -> ProcessIdentity:
        """Return the process that runs a domain, for accidents on purpose.

        Raises:
            LabError: The host is off or the domain does not run on it.
        """
        return find_guest(HostFolder(self.host(host).folder), domain)

    def kill_guest(self, host: str, domain: str) -> None:
        """Kill a running domain behind everybody's back.

        Raises:
            LabError: The host is off, or the domain does not run on it or does not end.
        """
        if not end_process(self.guest_process(host, domain), timeout_s=STOP_TIMEOUT_S):
            raise LabError(f"cannot kill {domain} on {host}: it still runs")

    def power_on(self, host: str) -> None:
        """Switch a host on and wait until its libvirt answers."""
        power_on(HostFolder(self.host(host).folder))

    def power_off(self, host: str) -> None:
        """Cut a host's power."""
        power_off(HostFolder(self.host(host).folder))

    def status(self) -> LabStatus:
        """Look at what is there of the lab."""
        power = {host.name: power_status(HostFolder(host.folder)) for host in self.hosts}
        server = self._state.dhcp_server
        dhcp = server is not None and is_running(server)
        whole = dhcp and all(namespaces.exists(name) for name in self._plan.namespaces)
        return LabStatus("up" if whole else "damaged", power, dhcp)

    # --- up and down

    def up(self) -> None:
        """Build everything and switch the hosts on; nothing is left behind on failure.

        Raises:
            LabError: The folder holds a lab already, this machine lacks something, or a step failed.
        """
        refuse_unfit_machine()
        if read_state(self.folder) is not None:
            message = f"cannot build a lab in {self.folder}: there is one"
            raise LabError(message, code="lab-exists", remedy="take it down first")
        self.folder.mkdir(parents=True, exist_ok=True)
        # Recorded before the first thing is made, so that whatever happens it can be taken down.
        write_state(self.folder, self._state)
        try:
            self._create_hosts()
            self._lay_cables()
            self._start_dhcp()
            self._switch_on()
        except BaseException:  # an interrupt, too, must leave nothing behind
            self.down()
            raise

    def down(self) -> None:
        """End and remove everything the lab made, whatever is left of it; may be repeated.

        Raises:
            LabError: Something of it does not end.
        """
        recorded = read_state(self.folder)
        if recorded is None or recorded.lab_id != self._state.lab_id:
            return
        # First whoever might switch a host on again: a controller lives in the site's namespace.
        if namespaces.exists(self.site_namespace):
            namespaces.end_all_in(self.site_namespace)
        if self._state.dhcp_server is not None:
            end_process(self._state.dhcp_server, timeout_s=STOP_TIMEOUT_S)
        for host in self._plan.hosts:
            folder = HostFolder(self.folder / host.name)
            if folder.config_file.exists():
                power_off(folder)
        for namespace in reversed(self._plan.namespaces):
            namespaces.remove(namespace)
        for path in (self._site_folder, *(self.folder / host.name for host in self._plan.hosts)):
            shutil.rmtree(path, ignore_errors=True)
        (self.folder / STATE_FILE).unlink(missing_ok=True)

    @property
    def _site_folder(self) -> Path:
        return self.folder / "site"

    def _access(self, host: HostPlan) -> HostAccess:
        folder = HostFolder(self.folder / host.name)
        address = host.address.ip
        return HostAccess(
            host.name, address, folder.url, folder.store, HOST_BRIDGE, host.namespace, folder.path
        )

    def _create_hosts(self) -> None:
        (self._site_folder / "reservations").mkdir(parents=True)
        for host, plan in zip(self._state.hosts, self._plan.hosts, strict=True):
            config = HostConfig(host.name, plan.namespace, str(plan.address.ip), host.hardware_help)
            create_host(HostFolder(self.folder / host.name), config)

    def _lay_cables(self) -> None:
        namespaces.create(self._plan.namespaces)
        namespaces.configure(self._plan.namespace, site_lines(self._plan))
        for host in self._plan.hosts:
            namespaces.configure(host.namespace, host_lines(host))

    def _start_dhcp(self) -> None:
        """Start the DHCP server so that it outlives this process, and record who it is."""
        arguments = dnsmasq_arguments(self._plan, str(self._site_folder))
        argv = self.command_in_site(["setsid", "--fork", find_program("dnsmasq"), *arguments])
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, capture_output=True, cwd="/")
        number = self._site_folder / "dnsmasq.pid"
        if not wait_until(lambda: number.exists() and number.read_text().strip() != "", STOP_TIMEOUT_S):
            log = self._site_folder / "dnsmasq.log"
            said = log.read_text().strip().splitlines() if log.exists() else []
            raise LabError(f"cannot start the lab's DHCP server: {said[-1] if said else 'it said nothing'}")
        self._state = replace(self._state, dhcp_server=identify(int(number.read_text())))
        write_state(self.folder, self._state)

    def _switch_on(self) -> None:
        """Switch all hosts on; the first one's look at the emulators serves the others too."""
        folders = [HostFolder(self.folder / host.name) for host in self._plan.hosts]
        for other in folders[:1]:
            power_on(other)
        for other in folders[1:]:
            share_capabilities(folders[0], other)
        with ThreadPoolExecutor(HOSTS_AT_ONCE) as pool:
            list(pool.map(power_on, folders[1:]))


def refuse_unfit_machine() -> None:
    """Raise LabError unless this machine can hold a lab at all."""
    if os.geteuid() != 0:
        raise LabError("cannot build a lab as a plain user: namespaces and bridges need root")
    for program in NEEDED_PROGRAMS:
        find_program(program)


def up(folder: Path, host_count: int = 2, *, hardware_help: bool = False) -> LabDatacentre:
    """Bring up a lab that outlives this process, with hosts `host-1`, `host-2`, ….

    Args:
        folder: Where it keeps everything; made if missing.
        host_count: How many hosts.
        hardware_help: Hosts let their guests use /dev/kvm; only for machines where that works.

    Raises:
        LabError: The folder holds a lab already, this machine lacks something, or a step failed.
    """
    lab = LabDatacentre(
        folder, [LabHost(f"host-{number}", hardware_help) for number in range(1, host_count + 1)]
    )
    lab.up()
    return lab


def down(folder: Path) -> bool:
    """Take down the lab in `folder`; return whether there was one."""
    if read_state(folder) is None:
        return False
    LabDatacentre.load(folder).down()
    return True


def status(folder: Path) -> LabStatus:
    """Look at the lab in `folder`."""
    if read_state(folder) is None:
        return LabStatus("down", {}, dhcp=False)
    return LabDatacentre.load(folder).status()

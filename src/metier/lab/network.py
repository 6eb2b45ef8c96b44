"""The lab's addresses, and the words for `ip` that lay its cables; pure.

Every lab has the same addresses: its network lives in a namespace of its own, so
two labs on one machine never meet.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from metier.lab.errors import LabError

# From the block set aside for benchmarks of network devices (RFC 2544): nobody routes it.
SITE_NETWORK = IPv4Network("198.18.0.0/24")
GATEWAY_NUMBER = 1
FIRST_HOST_NUMBER = 11
LAST_HOST_NUMBER = 59
DHCP_NUMBERS = (100, 199)
# What a tier may use for its slots: neither a host's address nor one that DHCP gives away.
FIRST_STATIC_NUMBER, LAST_STATIC_NUMBER = 60, 99

SITE_BRIDGE = "site0"
HOST_BRIDGE = "br0"
UPLINK = "uplink"

HOST_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
SITE_SUFFIX = "net"

BRIDGE_OPTIONS = "type bridge stp_state 0 forward_delay 0 mcast_snooping 0"


@dataclass(frozen=True, slots=True)
class HostPlan:
    """One host's place in the network.

    Attributes:
        name: The host's name.
        namespace: Its network namespace.
        port: The site's end of its cable.
        address: Its management address, which is the power IP of its virtual nodes.
    """

    name: str
    namespace: str
    port: str
    address: IPv4Interface


@dataclass(frozen=True, slots=True)
class NetworkPlan:
    """All namespaces and addresses of one lab.

    Attributes:
        namespace: The site's network namespace.
        gateway: The site's own address, where DHCP answers.
        hosts: The hosts in the order given.
    """

    namespace: str
    gateway: IPv4Interface
    hosts: tuple[HostPlan, ...]

    @property
    def namespaces(self) -> tuple[str, ...]:
        """All network namespaces, the site's first."""
        return (self.namespace, *(host.namespace for host in self.hosts))

    @property
    def dhcp_range(self) -> tuple[IPv4Address, IPv4Address]:
        """The first and last address that DHCP gives away."""
        first, last = DHCP_NUMBERS
        return self.gateway.network[first], self.gateway.network[last]

    @property
    def static_addresses(self) -> tuple[IPv4Address, ...]:
        """The addresses that are free for the slots of tiers."""
        numbers = range(FIRST_STATIC_NUMBER, LAST_STATIC_NUMBER + 1)
        return tuple(self.gateway.network[number] for number in numbers)


def plan_network(lab_id: str, host_names: Sequence[str], network: IPv4Network = SITE_NETWORK) -> NetworkPlan:
    """Give every host a namespace and an address.

    Args:
        lab_id: A word that no other lab on this machine has.
        host_names: The hosts in order.
        network: A network of 256 addresses.

    Raises:
        LabError: Two hosts of one name, a name that cannot be a host's, or too many hosts.
    """
    refuse_bad_names(host_names)
    hosts = (
        HostPlan(name, f"metier-{lab_id}-{name}", f"port-{place}", on(network, FIRST_HOST_NUMBER + place - 1))
        for place, name in enumerate(host_names, start=1)
    )
    return NetworkPlan(f"metier-{lab_id}-{SITE_SUFFIX}", on(network, GATEWAY_NUMBER), tuple(hosts))


def refuse_bad_names(host_names: Sequence[str]) -> None:
    """Raise LabError unless these can be the hosts of one lab."""
    for name in host_names:
        if not HOST_NAME.fullmatch(name) or name == SITE_SUFFIX:
            message = (
                f"cannot name a lab host {name!r}: use 1 to 32 lower-case letters, digits and inner hyphens"
            )
            raise LabError(message)
        if host_names.count(name) > 1:
            raise LabError(f"cannot build a lab with two hosts named {name}")
    most = LAST_HOST_NUMBER - FIRST_HOST_NUMBER + 1
    if len(host_names) > most:
        raise LabError(f"cannot build a lab of {len(host_names)} hosts: its network holds {most}")


def on(network: IPv4Network, number: int) -> IPv4Interface:
    """Return the address with this number, with the network's prefix."""
    return IPv4Interface((network[number], network.prefixlen))


def site_lines(plan: NetworkPlan) -> list[str]:
    """Return the lines for `ip -batch` inside the site's namespace; the host namespaces must exist."""
    lines = [
        f"link add name {SITE_BRIDGE} {BRIDGE_OPTIONS}",
        f"addr add {plan.gateway} dev {SITE_BRIDGE}",
        "link set lo up",
        f"link set {SITE_BRIDGE} up",
    ]
    for host in plan.hosts:
        lines += [
            f"link add name {host.port} type veth peer name {UPLINK} netns {host.namespace}",
            f"link set {host.port} master {SITE_BRIDGE} up",
        ]
    return lines


def host_lines(host: HostPlan) -> list[str]:
    """Return the lines for `ip -batch` inside a host's namespace; its cable is not plugged in."""
    return [
        f"link add name {HOST_BRIDGE} address {bridge_mac(host.address.ip)} {BRIDGE_OPTIONS}",
        f"link set {UPLINK} up",
        f"addr add {host.address} dev {HOST_BRIDGE}",
        "link set lo up",
        f"link set {HOST_BRIDGE} up",
    ]


def bridge_mac(address: IPv4Address) -> str:
    """Return the hardware address of a host's bridge; left to itself it would change with the guests."""
    return "02:00:" + address.packed.hex(":")


def uplink_lines(*, plugged_in: bool) -> list[str]:
    """Return the lines for `ip -batch` inside a host's namespace that plug its cable in or out.

    The cable leaves the bridge rather than going down: a link that comes up may take the kernel a
    second to notice.
    """
    return [f"link set {UPLINK} master {HOST_BRIDGE}" if plugged_in else f"link set {UPLINK} nomaster"]


def dnsmasq_arguments(plan: NetworkPlan, folder: str) -> list[str]:
    """Return the arguments for the site's DHCP server, which keeps its files in `folder`."""
    first, last = plan.dhcp_range
    return [
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--user=root",
        "--group=root",
        "--port=0",
        f"--interface={SITE_BRIDGE}",
        "--except-interface=lo",
        "--bind-interfaces",
        "--no-ping",
        "--dhcp-authoritative",
        f"--dhcp-range={first},{last},{plan.gateway.netmask},1h",
        f"--dhcp-option=option:router,{plan.gateway.ip}",
        f"--dhcp-leasefile={folder}/leases",
        f"--dhcp-hostsdir={folder}/reservations",
        f"--pid-file={folder}/dnsmasq.pid",
        f"--log-facility={folder}/dnsmasq.log",
    ]


@dataclass(frozen=True, slots=True)
class Lease:
    """An address that DHCP gave away.

    Attributes:
        mac: To which interface.
        address: Which address.
        name: The name that the guest gave itself, or nothing.
    """

    mac: str
    address: str
    name: str


def parse_leases(text: str) -> list[Lease]:
    """Return the leases in a dnsmasq lease file."""
    fields = (line.split() for line in text.splitlines())
    return [Lease(line[1], line[2], line[3].strip("*")) for line in fields if len(line) >= 4]

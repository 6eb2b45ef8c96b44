"""The lab's addresses and the lines that lay its cables."""

from ipaddress import IPv4Address

import pytest

from metier.lab.errors import LabError
from metier.lab.network import (
    Lease,
    dnsmasq_arguments,
    host_lines,
    parse_leases,
    plan_network,
    site_lines,
    uplink_lines,
)

PLAN = plan_network("a1b2c3", ["host-1", "host-2"])


def test_names_hold_the_labs_own_word_and_addresses_follow_the_order() -> None:
    assert PLAN.namespaces == ("metier-a1b2c3-net", "metier-a1b2c3-host-1", "metier-a1b2c3-host-2")
    assert str(PLAN.gateway) == "198.18.0.1/24"
    assert [str(host.address) for host in PLAN.hosts] == ["198.18.0.11/24", "198.18.0.12/24"]


def test_hosts_slots_and_dhcp_never_share_an_address() -> None:
    plan = plan_network("a1b2c3", [f"host-{number}" for number in range(1, 50)])
    first, last = plan.dhcp_range
    hosts = {host.address.ip for host in plan.hosts}
    assert not hosts & set(plan.static_addresses)
    assert not any(first <= address <= last for address in (*hosts, *plan.static_addresses))
    assert (first, last) == (IPv4Address("198.18.0.100"), IPv4Address("198.18.0.199"))


def test_interface_names_fit_into_the_kernels_fifteen_characters() -> None:
    plan = plan_network("a1b2c3", [f"{'x' * 29}{number:02}" for number in range(49)])
    assert all(len(host.port) <= 15 for host in plan.hosts)


@pytest.mark.parametrize("name", ["", "Host", "a b", "-a", "a-", "a/b", "net", "x" * 33])
def test_a_name_that_cannot_be_a_hosts_is_refused(name: str) -> None:
    with pytest.raises(LabError, match="cannot name a lab host"):
        plan_network("a1b2c3", [name])


def test_too_many_hosts_and_two_of_one_name_are_refused() -> None:
    with pytest.raises(LabError, match="two hosts named a"):
        plan_network("a1b2c3", ["a", "a"])
    with pytest.raises(LabError, match="50 hosts: its network holds 49"):
        plan_network("a1b2c3", [f"h{number}" for number in range(50)])


def test_the_site_has_a_bridge_with_a_cable_to_each_host() -> None:
    lines = site_lines(PLAN)
    assert lines[0].startswith("link add name site0 type bridge")
    assert "addr add 198.18.0.1/24 dev site0" in lines
    assert "link add name port-2 type veth peer name uplink netns metier-a1b2c3-host-2" in lines
    assert lines[-1] == "link set port-2 master site0 up"


def test_a_hosts_bridge_keeps_its_hardware_address_and_starts_unplugged() -> None:
    lines = host_lines(PLAN.hosts[1])
    assert lines[0].startswith("link add name br0 address 02:00:c6:12:00:0c type bridge")
    assert "addr add 198.18.0.12/24 dev br0" in lines
    assert not any("master" in line for line in lines)
    assert uplink_lines(plugged_in=True) == ["link set uplink master br0"]
    assert uplink_lines(plugged_in=False) == ["link set uplink nomaster"]


def test_the_dhcp_server_keeps_to_its_bridge_and_answers_no_names() -> None:
    arguments = dnsmasq_arguments(PLAN, "/lab/site")
    assert {"--port=0", "--interface=site0", "--bind-interfaces"} <= set(arguments)
    assert "--dhcp-range=198.18.0.100,198.18.0.199,255.255.255.0,1h" in arguments
    assert "--dhcp-leasefile=/lab/site/leases" in arguments


def test_leases_are_read_with_and_without_a_name() -> None:
    text = (
        "1795341111 52:54:00:00:00:01 198.18.0.150 web-3 01:52:54:00:00:00:01\n"
        "1795341112 52:54:00:00:00:02 198.18.0.151 * *\n"
    )
    assert parse_leases(text) == [
        Lease("52:54:00:00:00:01", "198.18.0.150", "web-3"),
        Lease("52:54:00:00:00:02", "198.18.0.151", ""),
    ]

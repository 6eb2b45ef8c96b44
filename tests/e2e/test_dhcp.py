"""Guests that take their address from the host's own network: libvirt gives it, and tells Metier."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.e2e.site import Site, create_host_tier, import_guest, running_site

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces and bridges need root"),
]

# `open`: libvirt's DHCP server without firewall rules of its own.
NETWORK = """
<network>
  <name>lan</name><forward mode='open'/><bridge name='virbr7'/>
  <ip address='198.18.7.1' netmask='255.255.255.0'>
    <dhcp><range start='198.18.7.100' end='198.18.7.150'/></dhcp>
  </ip>
</network>
"""


def test_a_guest_without_a_fixed_address_is_known_by_its_lease(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """S8: the default is no address of its own; its health is judged where its lease says that it is."""
    with running_site(tmp_path_factory.mktemp("site")) as site:
        _offer_network(site, "host-1")
        site.metier("node", "edit", "host-1", "--vmm-setting", "networks=default=network:lan")
        import_guest(site)
        create_host_tier(site)
        site.metier("tier", "edit", "hosts", "--target", "1")
        site.metier("tier", "activate", "hosts", "--wait", "--timeout", "120")
        site.metier("tier", "create", "web", "--image", "web@1", "--depends-on", "hosts")
        site.metier("tier", "activate", "web", "--wait", "--timeout", "180")
        member = site.nodes("--tier", "web")[0]
        assert member["address"].startswith("198.18.7.1")
        assert "web-1" in site.page(member["address"])


def _offer_network(site: Site, host: str) -> None:
    """Give a host a network with DHCP, and let the site's controller reach it through the host."""
    access = site.lab.host(host)
    file = Path(site.folder) / "lan.xml"
    file.write_text(NETWORK)
    site.virsh(host, "net-define", str(file))
    site.virsh(host, "net-start", "lan")
    for argv in (
        ["ip", "netns", "exec", access.namespace, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"],
        ["ip", "-n", site.lab.site_namespace, "route", "add", "198.18.7.0/24", "via", str(access.address)],
    ):
        subprocess.run(argv, check=True, timeout=30)

"""How a lab guest reads the network configuration of its seed."""

import json
import shutil
import subprocess
from importlib import resources

import pytest

SCRIPT = str(resources.files("metier.lab") / "guest_files/netconfig.awk")
INTERPRETERS = [argv for argv in (["busybox", "awk"], ["awk"]) if shutil.which(argv[0])]

VERSION_2 = """\
version: 2
ethernets:
  # the only one
  eth0:
    match:
      macaddress: "52:54:00:AA:BB:CC"
    set-name: eth0
    dhcp4: false
    addresses:
      - 198.18.0.60/24
    nameservers:
      addresses: [198.18.0.1, 198.18.0.2]
    routes:
      - to: default
        via: 198.18.0.1
"""
VERSION_1 = """\
version: 1
config:
  - type: physical
    name: eth0
    mac_address: '52:54:00:aa:bb:cc'
    subnets:
      - type: static
        address: 198.18.0.60
        netmask: 255.255.254.0
        gateway: 198.18.0.1
  - type: nameserver
    address: [198.18.0.2]
"""
DHCP_VERSION_1 = "version: 1\nconfig:\n- type: physical\n  name: eth0\n  subnets:\n  - type: dhcp4\n"
DHCP_VERSION_2 = "version: 2\nethernets: {eth0: {dhcp4: true}}\n"
ROUTES_IN_PLACE = (
    "version: 2\nethernets:\n  eth0: {addresses: [10.0.0.5/8], routes: [{to: 0.0.0.0/0, via: 10.0.0.1}]}\n"
)
AS_JSON = {"version": 2, "ethernets": {"e": {"addresses": ["198.18.0.60/24"], "gateway4": "198.18.0.1"}}}


def read(text: str, interpreter: list[str]) -> dict[str, str]:
    """Return what the guest's start script would set."""
    done = subprocess.run(
        [*interpreter, "-f", SCRIPT], input=text, capture_output=True, text=True, check=True, timeout=30
    )
    return dict(word.replace("'", "").split("=", 1) for word in done.stdout.split())


@pytest.mark.parametrize("interpreter", INTERPRETERS, ids=" ".join)
class TestNetworkConfig:
    def test_version_2(self, interpreter: list[str]) -> None:
        assert read(VERSION_2, interpreter) == {
            "address": "198.18.0.60/24",
            "gateway": "198.18.0.1",
            "mac": "52:54:00:aa:bb:cc",
            "dhcp": "no",
        }

    def test_version_1_with_a_netmask(self, interpreter: list[str]) -> None:
        assert read(VERSION_1, interpreter) == {
            "address": "198.18.0.60/23",
            "gateway": "198.18.0.1",
            "mac": "52:54:00:aa:bb:cc",
            "dhcp": "no",
        }

    def test_dhcp_in_both_versions(self, interpreter: list[str]) -> None:
        for text in (DHCP_VERSION_1, DHCP_VERSION_2):
            assert read(text, interpreter) == {"address": "", "gateway": "", "mac": "", "dhcp": "yes"}

    def test_flow_style(self, interpreter: list[str]) -> None:
        found = read(ROUTES_IN_PLACE, interpreter)
        assert (found["address"], found["gateway"]) == ("10.0.0.5/8", "10.0.0.1")

    def test_json_spread_out_and_compact(self, interpreter: list[str]) -> None:
        for text in (json.dumps(AS_JSON, indent=1), json.dumps(AS_JSON, separators=(",", ":"))):
            found = read(text, interpreter)
            assert (found["address"], found["gateway"]) == ("198.18.0.60/24", "198.18.0.1")

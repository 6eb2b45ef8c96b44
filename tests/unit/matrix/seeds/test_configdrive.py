"""The ConfigDrive: OpenStack's layout, as cloud-init reads it."""

import json
from typing import Any

import pytest

from metier.domain.errors import Refusal
from metier.domain.personality import NO_PERSONALITY, PersonalFile, Personality, SeedForm
from tests.unit.matrix.seeds.reading import MAC, label, names, read, seed

LATEST = "/openstack/latest"


def drive(personality: Personality = NO_PERSONALITY, **fields: Any) -> bytes:
    return seed(personality, SeedForm.CONFIGDRIVE, **fields)


def test_names_and_network_are_told_as_openstack_does() -> None:
    made = drive(Personality(name_servers=("10.0.0.2",)))
    assert label(made) == "config-2"
    meta = json.loads(read(made, f"{LATEST}/meta_data.json"))
    assert (meta["uuid"], meta["hostname"], meta["meta"]["slot"]) == ("web-1-7", "web-1", "1")
    network = json.loads(read(made, f"{LATEST}/network_data.json"))
    assert network["links"][0]["ethernet_mac_address"] == MAC.lower()
    assert network["networks"][0] | {"id": ""} == {
        "id": "",
        "network_id": "network0",
        "type": "ipv4",
        "link": "primary",
        "ip_address": "10.0.0.5",
        "netmask": "255.255.255.0",
        "routes": [{"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "10.0.0.1"}],
    }
    assert network["services"] == [{"type": "dns", "address": "10.0.0.2"}]


def test_without_an_address_the_guest_asks_dhcp_as_it_does_by_itself() -> None:
    assert names(drive(address=None, gateway=None)) == {f"{LATEST}/meta_data.json"}


def test_an_address_without_a_known_interface_is_refused() -> None:
    with pytest.raises(Refusal, match="its hardware address is not known"):
        drive(mac="")


def test_files_are_there_as_content_too() -> None:
    file = PersonalFile("/etc/motd", "slot {{ slot }}\n")
    made = drive(Personality(user_data="#cloud-config\n{}\n", files=(file,)))
    meta = json.loads(read(made, f"{LATEST}/meta_data.json"))
    assert meta["files"] == [{"path": "/etc/motd", "content_path": "/content/0000"}]
    assert read(made, "/openstack/content/0000") == b"slot 1\n"
    assert b"write_files" in read(made, f"{LATEST}/user_data")

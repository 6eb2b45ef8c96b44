"""What a lab remembers of itself."""

from pathlib import Path

import pytest

from metier.lab import datacentre
from metier.lab.errors import LabError
from metier.lab.identity import ProcessIdentity
from metier.lab.state import LabHost, LabState, read_state, state_from_json, state_to_json, write_state

STATE = LabState("a1b2c3", (LabHost("host-1"), LabHost("host-2", True)), ProcessIdentity(7, 99, "b00t"))


def test_a_state_survives_its_file(tmp_path: Path) -> None:
    write_state(tmp_path, STATE)
    assert read_state(tmp_path) == STATE
    assert [path.name for path in tmp_path.iterdir()] == ["lab.json"]


def test_a_lab_without_its_dhcp_server_yet_is_a_state_too() -> None:
    early = LabState("a1b2c3", (LabHost("host-1"),))
    assert state_from_json(state_to_json(early)) == early


def test_no_file_is_no_lab(tmp_path: Path) -> None:
    assert read_state(tmp_path) is None
    assert datacentre.status(tmp_path).state == "down"
    assert not datacentre.down(tmp_path)
    with pytest.raises(LabError, match=r"cannot find a lab in .*: it has no lab\.json"):
        datacentre.LabDatacentre.load(tmp_path)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"version": 2}', '{"version": 1, "lab_id": "x", "hosts": [1], "dhcp_server": null}'],
)
def test_a_damaged_file_is_said_to_be_damaged(tmp_path: Path, text: str) -> None:
    (tmp_path / "lab.json").write_text(text)
    with pytest.raises(LabError, match="damaged or from another version"):
        read_state(tmp_path)


def test_a_lab_that_was_recorded_but_is_gone_is_damaged_and_can_be_taken_down(tmp_path: Path) -> None:
    write_state(tmp_path, STATE)
    found = datacentre.status(tmp_path)
    assert (found.state, found.power, found.dhcp) == ("damaged", {"host-1": "off", "host-2": "off"}, False)
    assert datacentre.down(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_lab_never_takes_down_another_in_its_folder(tmp_path: Path) -> None:
    write_state(tmp_path, STATE)
    (tmp_path / "host-1").mkdir()
    datacentre.LabDatacentre(tmp_path, STATE.hosts).down()
    assert read_state(tmp_path) == STATE
    assert (tmp_path / "host-1").exists()


def test_hosts_are_found_by_name(tmp_path: Path) -> None:
    lab = datacentre.LabDatacentre(tmp_path, [LabHost("host-1"), LabHost("host-2")])
    host = lab.host("host-2")
    assert str(host.address) == "198.18.0.12"
    assert host.url == f"qemu+unix:///system?socket={tmp_path}/host-2/run/libvirt-sock"
    assert host.power_command("off")[1:] == ["-m", "metier.lab.hostpower", "off", f"{tmp_path}/host-2"]
    with pytest.raises(LabError, match="cannot find host host-9"):
        lab.host("host-9")


def test_commands_run_inside_the_sites_namespace(tmp_path: Path) -> None:
    lab = datacentre.LabDatacentre(tmp_path, [LabHost("host-1")])
    assert lab.command_in_site(["true"]) == ["ip", "netns", "exec", lab.site_namespace, "true"]
    assert lab.site_namespace.endswith("-net")

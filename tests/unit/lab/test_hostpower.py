"""The power switch of a lab host, as far as it needs no host."""

import json
import os
from pathlib import Path

import pytest

from metier.lab.errors import LabError
from metier.lab.guest_process import find_guest, inner_number
from metier.lab.host import HostConfig, HostFolder, create_host, read_host, share_capabilities
from metier.lab.hostpower import clear_remains, main, power_status

CONFIG = HostConfig("host-1", "metier-none-host-1", "198.18.0.11")


@pytest.fixture
def host(tmp_path: Path) -> HostFolder:
    """A host that was created and never switched on, without its network."""
    folder = HostFolder(tmp_path / "host-1")
    create_host(folder, CONFIG)
    return folder


def test_a_new_host_has_its_configuration_and_its_daemons(host: HostFolder) -> None:
    assert read_host(host) == CONFIG
    assert 'stdio_handler = "file"' in (host.path / "etc/qemu.conf").read_text()
    assert "host_uuid" in (host.path / "etc/libvirtd.conf").read_text()
    assert host.store.is_dir()


def test_a_host_never_switched_on_is_off(host: HostFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", str(host.path)]) == 0
    assert capsys.readouterr().out == "off\n"


def test_switching_off_what_is_off_does_nothing(host: HostFolder) -> None:
    assert main(["off", str(host.path)]) == 0
    assert main(["off", str(host.path)]) == 0


def test_a_folder_that_is_no_host_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("on", "off", "status"):
        assert main([verb, str(tmp_path)]) == 1
        assert capsys.readouterr().err == f"cannot find a lab host in {tmp_path}\n"


def test_a_host_without_its_network_says_what_to_do(
    host: HostFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["on", str(host.path)]) == 1
    assert capsys.readouterr().err == (
        "cannot power on host-1: its network namespace metier-none-host-1 is gone; "
        "take the lab down and bring it up again\n"
    )


def test_a_switch_that_another_holds_is_refused_in_time(
    host: HostFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    import fcntl

    with (host.path / "power.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main(["off", str(host.path), "--timeout", "0.05"]) == 1
    assert "another process has held its switch for 0.05 s" in capsys.readouterr().err


def test_a_folder_too_deep_for_a_socket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"its socket has \d+ bytes, and 107 fit"):
        create_host(HostFolder(tmp_path / ("x" * 100)), CONFIG)


def test_the_url_quotes_what_a_url_cannot_hold() -> None:
    assert HostFolder(Path("/my lab/h")).url == "qemu+unix:///system?socket=/my%20lab/h/run/libvirt-sock"


def test_a_recorded_process_that_is_gone_means_off(host: HostFolder) -> None:
    host.init_file.write_text(json.dumps({"pid": os.getpid(), "start_ticks": 1, "boot_id": "another"}))
    assert power_status(host) == "off"
    host.init_file.write_text("{")
    assert power_status(host) == "off"


def test_remains_of_a_lost_host_are_cleared_but_not_its_domains(host: HostFolder) -> None:
    (host.path / "run/qemu").mkdir()
    (host.path / "run/qemu/web-1.pid").write_text("17")
    host.socket.touch()
    host.daemon_exit_file.write_text("0\n")
    defined = host.path / "etc/qemu/web-1.xml"
    defined.parent.mkdir()
    defined.touch()
    clear_remains(host)
    assert list((host.path / "run").iterdir()) == []
    assert not host.daemon_exit_file.exists()
    assert defined.exists()


def test_one_host_spares_another_the_look_at_the_emulators(host: HostFolder, tmp_path: Path) -> None:
    (host.path / "cache/qemu").mkdir()
    (host.path / "cache/qemu/known.xml").write_text("<caps/>")
    other = HostFolder(tmp_path / "host-2")
    create_host(other, CONFIG)
    share_capabilities(host, other)
    assert (other.path / "cache/qemu/known.xml").read_text() == "<caps/>"


def test_a_guest_on_a_host_that_is_off_is_not_found(host: HostFolder) -> None:
    with pytest.raises(LabError, match="cannot find web-1 on host-1: the host is off"):
        find_guest(host, "web-1")


def test_a_process_has_its_number_in_its_own_namespace() -> None:
    assert inner_number(os.getpid()) == os.getpid()
    assert inner_number(2**22 + 1) is None

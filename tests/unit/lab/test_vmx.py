"""The VMware side of a lab guest: its description and its archive."""

import re
import tarfile
from pathlib import Path
from typing import get_args

import pytest

from metier.lab.archive import tar_machine
from metier.lab.errors import LabError
from metier.lab.vmx import DiskBus, VmwareMachine, companion_files, vmware_uuid, vmx_text


def settings(machine: VmwareMachine, disk_file: str = "web.vmdk") -> dict[str, str]:
    """Return the settings of a `.vmx` text, which must all have VMware's form."""
    lines = vmx_text(machine, disk_file).splitlines()
    pairs = [re.fullmatch(r'([\w.:]+) = "(.*)"', line) for line in lines]
    assert all(pairs)
    return {pair[1]: pair[2] for pair in pairs if pair}


def test_it_says_who_the_machine_is_and_how_big() -> None:
    found = settings(VmwareMachine("web", memory_mib=96, cpus=2))
    expected = {"config.version": "8", "displayName": "web", "memsize": "96", "numvcpus": "2"}
    assert expected.items() <= found.items()
    assert ".encoding" in next(iter(found))


@pytest.mark.parametrize(
    ("bus", "slot", "device"),
    [
        ("pvscsi", "scsi0:0", "pvscsi"),
        ("lsilogic", "scsi0:0", "lsilogic"),
        ("buslogic", "scsi0:0", "buslogic"),
        ("ide", "ide0:0", None),
        ("sata", "sata0:0", None),
    ],
)
def test_the_disk_hangs_on_its_controller(bus: DiskBus, slot: str, device: str | None) -> None:
    found = settings(VmwareMachine("web", disk_bus=bus))
    assert found[f"{slot}.fileName"] == "web.vmdk"
    assert found[f"{slot}.present"] == "TRUE"
    assert found.get("scsi0.virtualDev") == device
    disks = [key for key, value in found.items() if value == "web.vmdk"]
    assert disks == [f"{slot}.fileName"]


def test_every_bus_has_exactly_one_controller_of_its_kind() -> None:
    for bus in get_args(DiskBus):
        found = settings(VmwareMachine("web", disk_bus=bus))
        controllers = [key for key in found if re.fullmatch(r"(scsi0|sata0)\.present", key)]
        assert len(controllers) == (0 if bus == "ide" else 1)


def test_firmware_is_named_only_where_it_is_not_the_bios() -> None:
    assert "firmware" not in settings(VmwareMachine("web"))
    assert settings(VmwareMachine("web", firmware="efi"))["firmware"] == "efi"


def test_the_same_machine_is_described_the_same_way_twice() -> None:
    machine = VmwareMachine("web")
    assert vmx_text(machine, "web.vmdk") == vmx_text(machine, "web.vmdk")
    assert vmx_text(machine, "web.vmdk") != vmx_text(VmwareMachine("db"), "web.vmdk")
    assert re.fullmatch(
        r"([0-9a-f]{2} ){7}[0-9a-f]{2}-([0-9a-f]{2} ){7}[0-9a-f]{2}", vmware_uuid("web", "bios")
    )


def test_the_archive_holds_what_the_manuals_command_takes_under_bare_names(tmp_path: Path) -> None:
    home = tmp_path / "web"
    home.mkdir()
    for name in (
        "web.vmx",
        "web.vmdk",
        "web-s001.vmdk",
        "vmware.log",
        *companion_files(VmwareMachine("web")),
    ):
        (home / name).write_text(name)
    archive = tar_machine(home, tmp_path / "web.tgz")
    with tarfile.open(archive, "r:gz") as tar:
        names = tar.getnames()
    assert names == ["web-s001.vmdk", "web.vmdk", "web.vmsd", "web.vmx", "web.vmxf"]


def test_an_empty_folder_cannot_be_packed(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="it holds no file like"):
        tar_machine(tmp_path, tmp_path / "web.tgz")

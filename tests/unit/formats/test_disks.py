"""The form of a disk is told by its content; its name may not contradict."""

from contextlib import closing
from pathlib import Path

import pytest

from metier.domain.errors import Refusal
from metier.drivers.formats.api import Limits, Part
from metier.drivers.formats.disks import open_source
from tests.unit.formats.by_qemu import MIB, all_of, check_same, some_data, written

FORMS = [
    ("qcow2", "qcow2", ()),
    ("vmdk", "vmdk", ()),
    ("vpc", "vhd", ("-o", "force_size=on")),
    ("vpc", "vhd", ("-o", "force_size=on,subformat=fixed")),
    ("vhdx", "vhdx", ()),
    ("raw", "raw", ()),
]


def parts(folder: Path) -> dict[str, Part]:
    return {path.name: Part.whole(path) for path in folder.iterdir()}


@pytest.mark.parametrize(("of_qemu", "form", "options"), FORMS)
@pytest.mark.parametrize("suffix", ["", ".img", None])
def test_every_form_is_told_by_its_content(
    tmp_path: Path, of_qemu: str, form: str, options: tuple[str, ...], suffix: str | None
) -> None:
    name = f"disk{f'.{form}' if suffix is None else suffix}"
    written(tmp_path, some_data(MIB), of_qemu, *options, name=name)
    if form == "raw" and suffix == "":
        with pytest.raises(Refusal, match="nothing in it tells what form"):
            open_source(name, parts(tmp_path), Limits())
        return
    if form == "vmdk" and suffix is not None:
        (tmp_path / name).rename(tmp_path / "disk.vmdk")  # its descriptor names itself
        name = "disk.vmdk"
    with closing(open_source(name, parts(tmp_path), Limits())) as disk:
        assert disk.form == form
        check_same(tmp_path, disk, some_data(MIB))


@pytest.mark.parametrize(
    ("of_qemu", "name", "message"),
    [
        ("qcow2", "disk.raw", "its name says raw, and its content qcow2"),
        ("qcow2", "disk.VMDK", "its name says vmdk, and its content qcow2"),
        ("vpc", "disk.qcow2", "its name says qcow2, and its content vhd"),
        ("vhdx", "disk.vhd", "its name says vhd, and its content vhdx"),
        ("raw", "disk.qcow2", "nothing in it tells what form"),
        ("vdi", "disk.vdi", "a VDI disk of VirtualBox"),
        ("qed", "disk.img", "a QED disk"),
        ("parallels", "disk.hdd", "a disk of Parallels"),
        ("qcow", "disk.qcow", "a qcow disk of version 1"),
    ],
)
def test_other_forms_and_names_that_contradict_are_refused(
    tmp_path: Path, of_qemu: str, name: str, message: str
) -> None:
    written(tmp_path, some_data(MIB), of_qemu, name=name)
    with pytest.raises(Refusal) as caught:
        open_source(name, parts(tmp_path), Limits())
    assert message in caught.value.message
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("at", "magic", "message"),
    [
        (0, b"\x1f\x8b\x08", "compressed (gzip)"),
        (0, b"\xfd7zXZ\0", "compressed (xz)"),
        (0, b"BZh9", "compressed (bzip2)"),
        (0, b"\x28\xb5\x2f\xfd", "compressed (zstd)"),
        (0, b"LUKS\xba\xbe", "encrypted (LUKS)"),
        (0, b"PK\x03\x04", "a zip archive"),
        (257, b"ustar", "a tar archive"),
        (0, b"\x7fELF", "a program or kernel"),
        (32769, b"CD001", "an ISO medium"),
        (0, b"MSWIM\0\0\0", "a Windows image file"),
    ],
)
def test_files_that_are_no_disks_are_named(tmp_path: Path, at: int, magic: bytes, message: str) -> None:
    data = bytearray(MIB)
    data[at : at + len(magic)] = magic
    (tmp_path / "disk.raw").write_bytes(data)
    with pytest.raises(Refusal) as caught:
        open_source("disk.raw", parts(tmp_path), Limits())
    assert message in caught.value.message
    assert caught.value.remedy


@pytest.mark.parametrize("of_qemu", ["qcow2", "vmdk", "vpc", "vhdx", "raw"])
def test_disks_over_the_limit_are_refused(tmp_path: Path, of_qemu: str) -> None:
    name = f"disk.{'vhd' if of_qemu == 'vpc' else of_qemu}"
    written(tmp_path, some_data(2 * MIB), of_qemu, name=name)
    with pytest.raises(Refusal, match="the limit is 1"):
        open_source(name, parts(tmp_path), Limits(disk_bytes=MIB))


@pytest.mark.parametrize("of_qemu", ["qcow2", "vpc", "vhdx", "raw"])
def test_a_disk_is_read_where_it_lies_in_an_archive(tmp_path: Path, of_qemu: str) -> None:
    path = written(tmp_path, some_data(MIB), of_qemu, name="disk.img")
    data = path.read_bytes()
    (tmp_path / "archive").write_bytes(b"a" * 1024 + data + b"b" * 512)
    inside = {"disk.img": Part(tmp_path / "archive", 1024, len(data))}
    with closing(open_source("disk.img", inside, Limits())) as disk:
        assert all_of(disk)[:MIB] == some_data(MIB)
        check_same(tmp_path, disk, all_of(disk))

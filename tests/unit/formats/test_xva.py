"""Exports of XenServer: what XenServer writes is read, and nothing that it would not write."""

import io
import tarfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.domain.errors import Refusal
from metier.drivers.formats.api import BLOCK_BYTES, Limits, Part
from metier.drivers.formats.machine import MachineFound
from metier.drivers.formats.xva import open_export
from metier.drivers.formats.xva.machine import guest_of
from tests.unit.matrix import packages
from tests.unit.matrix.archives import MIB, member, raw_content
from tests.unit.matrix.packages import content, ova_xml, pack_plain, xen_objects, xva_members

BOOTABLE = (b"\xeb\x63".ljust(510, b"\0") + b"\x55\xaa").ljust(MIB, b"\0")


def read(path: Path, limits: Limits | None = None) -> tuple[MachineFound, list[bytes]]:
    export = open_export("web.xva", Part.whole(path), limits or Limits())
    with ExitStack() as stack:
        for disk in export.disks:
            stack.callback(disk.close)
        for disk in export.disks:
            disk.room_bytes(lambda _: None)
        return export.machine, [content(disk) for disk in export.disks]


def exported(path: Path, data: bytes, members: Mapping[str, bytes] | None = None, **vm: object) -> Path:
    description = ova_xml(xen_objects(len(data), vm=vm))
    return pack_plain(path, {"ova.xml": description, **(xva_members(data) if members is None else members)})


@pytest.mark.parametrize("size", [512, MIB, MIB + 512, 5 * MIB + 1536])
@pytest.mark.parametrize("sums", ["checksum", "xxhash", ""])
def test_the_content_is_that_of_the_pieces(tmp_path: Path, size: int, sums: str) -> None:
    data = raw_content(size)
    machine, found = read(exported(tmp_path / "x", data, xva_members(data, sums=sums)))
    assert found == [data]
    told = " ".join(machine.remarks)
    assert ("xxHash, and were not checked" in told, "without checksums" in told) == (
        sums == "xxhash",
        sums == "",
    )


def test_gaps_are_zeros_and_slices_are_as_the_whole(tmp_path: Path) -> None:
    data = bytearray(40 * MIB)
    data[20 * MIB : 20 * MIB + 5] = b"hello"
    export = open_export("x", Part.whole(exported(tmp_path / "x", bytes(data))), Limits())
    (disk,) = export.disks
    blocks = 40 * MIB // BLOCK_BYTES
    whole = dict(disk.blocks(0, blocks))
    assert len(whole) == 3 * 16
    for step in (1, 7, 16, 100):
        slices = [dict(disk.blocks(at, at + step)) for at in range(0, blocks, step)]
        assert {number: block for part in slices for number, block in part.items()} == whole
    assert disk.room_bytes(lambda _: None) >= 3 * MIB
    assert disk.qemu() is None
    disk.close()


def test_the_machine_is_the_guest_s(tmp_path: Path) -> None:
    machine, _ = read(exported(tmp_path / "x", bytes(MIB)))
    assert [(disk.slot, disk.bus) for disk in machine.disks] == [("xvda", "ide")]
    assert (machine.firmware, machine.memory_mib, machine.cpus) == ("bios", 512, 2)
    assert machine.nic_models == ("rtl8139",)
    machine, _ = read(exported(tmp_path / "y", bytes(MIB), HVM_boot_params={"firmware": "uefi"}))
    assert (machine.firmware, machine.disks[0].bus) == ("uefi", "sata")


def test_a_paravirtual_guest_is_taken_if_its_disk_can_be_booted_and_refused_otherwise(tmp_path: Path) -> None:
    machine, _ = read(exported(tmp_path / "x", BOOTABLE, HVM_boot_policy="", PV_bootloader="pygrub"))
    assert machine.disks[0].bus == "virtio"
    assert "paravirtualised under Xen" in machine.remarks[0]
    with pytest.raises(Refusal, match="only Xen can start it") as caught:
        read(exported(tmp_path / "y", raw_content(MIB), HVM_boot_policy="", PV_bootloader="pygrub"))
    assert "grub-install" in caught.value.remedy


GOOD = xva_members(raw_content(3 * MIB))


def test_damage_is_found_by_the_sum_of_the_piece(tmp_path: Path) -> None:
    members = dict(GOOD)
    members["Ref:3/00000001"] = members["Ref:3/00000001"].replace(members["Ref:3/00000001"][:4], b"\1\2\3\4")
    with pytest.raises(Refusal, match="cannot read Ref:3: piece 00000001 does not have the checksum"):
        read(exported(tmp_path / "x", bytes(3 * MIB), members))


PIECES = [
    ({"Ref:3/00000005": bytes(MIB)}, "piece 00000005 lies outside the disk"),
    ({"Ref:3/00000000": bytes(4096)}, "piece 00000000 has 4096 bytes"),
    ({"Ref:3/00000000": bytes(2 * MIB)}, "a piece has 1 MiB at most"),
    ({"Ref:3/00000001": bytes(MIB), "Ref:3/00000000": bytes(MIB)}, "twice, or in no order"),
    ({"Ref:3/00000000.checksum": b"0" * 40}, "does not follow the piece"),
    ({"Ref:3/00000000": bytes(MIB), "Ref:3/00000000.checksum": b"zz"}, "it is no checksum"),
    ({"Ref:3/00000000": bytes(MIB), "Ref:3/00000000.checksum": b"00" * 8}, "it is no SHA-1 checksum"),
    ({"Ref:9/00000000": bytes(MIB)}, "the disk 'Ref:3' that it describes is not in the export"),
    ({"passwd": b"x"}, "'passwd' belongs to no disk"),
    ({"../00000000": b"x"}, "the disk 'Ref:3' that it describes is not in the export"),
]


@pytest.mark.parametrize(("members", "why"), PIECES, ids=[why for _, why in PIECES])
def test_pieces_that_cannot_be(tmp_path: Path, members: dict[str, bytes], why: str) -> None:
    with pytest.raises(Refusal) as caught:
        read(exported(tmp_path / "x", bytes(3 * MIB), members))
    assert why in caught.value.message


def test_a_piece_that_is_there_twice(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with tarfile.open(path, "w") as tar:
        description = ova_xml(xen_objects(MIB))
        for name, data in (
            ("ova.xml", description),
            ("Ref:3/00000000", bytes(MIB)),
            ("Ref:3/00000000", bytes(MIB)),
        ):
            tar.addfile(member(name, len(data)), io.BytesIO(data))
    with pytest.raises(Refusal, match="twice, or in no order"):
        read(path)


def test_claims_beyond_the_limits(tmp_path: Path) -> None:
    path = exported(tmp_path / "x", bytes(MIB))
    with pytest.raises(Refusal, match=r"claims 1.0 MiB, the limit is 512.0 KiB"):
        read(path, Limits(disk_bytes=MIB // 2))
    with pytest.raises(Refusal, match="it claims"):
        read(path, Limits(vmx_bytes=10))


def test_an_export_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    path = exported(tmp_path / "x", raw_content(3 * MIB))
    whole = path.read_bytes()
    sizes = {*range(0, 4000, 333), *(len(whole) * part // 30 for part in range(30))}
    end = whole.rindex(b"Ref:3/00000002.checksum") + 1024
    for size in sorted(size for size in sizes if size < end):
        path.write_bytes(whole[:size])
        with pytest.raises(Refusal):
            read(path)


DESCRIPTIONS = [
    (b"", "it is no XML"),
    (b"<value>", "it is no XML"),
    (b"<value>x</value>", "is no description of a Xen guest"),
    (b"<value><struct/></value>", "it describes no VM"),
    (b"<appliance version='0.1'/>", "first version of the format"),
    (b"<!DOCTYPE x [<!ENTITY a 'b'>]><value>&a;</value>", "defines a document type"),
    ("<!DOCTYPE x><value/>".encode("utf-16"), "defines a document type"),
    (b"<value>" * 100 + b"</value>" * 100, "too deep"),
    (b"<value><struct><member><name>a</name></member></struct></value>", "stands where no product writes it"),
    (b"<value><int>zwei</int></value>", "stands where no product writes it"),
    (ova_xml(xen_objects(MIB) + xen_objects(MIB)), "it describes 2 VMs: web, web"),
    (ova_xml(xen_objects(MIB)[:1]), "it gives the guest no hard disk"),
    (ova_xml(xen_objects(MIB)[:3]), "is not described"),
    (ova_xml(xen_objects(100)), "the impossible size 100"),
    (ova_xml(xen_objects(MIB, vm={"VCPUs_max": "99999"})), "its number of CPUs is 99999"),
]


@pytest.mark.parametrize(("description", "why"), DESCRIPTIONS, ids=[why for _, why in DESCRIPTIONS])
def test_descriptions_that_cannot_be_taken(description: bytes, why: str) -> None:
    with pytest.raises(Refusal) as caught:
        guest_of(description, "ova.xml")
    assert why in caught.value.message


GOOD_XML = ova_xml(xen_objects(MIB))


@settings(max_examples=200)
@given(st.data())
def test_changed_descriptions_are_read_or_refused(data: st.DataObject) -> None:
    text = bytearray(GOOD_XML)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text) - 1))
        text[at : at + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=8))
    try:
        found = guest_of(bytes(text), "ova.xml")
    except Refusal:
        return
    assert len(found.machine.disks) == 1


VALUES = st.recursive(
    st.text(st.characters(codec="ascii", exclude_categories=["Cc"], exclude_characters="<&"), max_size=9)
    | st.booleans(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["VBDs", "objects", "class", "id", "snapshot", "VDI", "type"]), inner, max_size=4
        )
    ),
    max_leaves=8,
)


@given(
    VALUES,
    st.sampled_from(["VBDs", "VIFs", "platform", "memory_static_max", "HVM_boot_params", "name_label"]),
)
def test_fields_of_any_kind_are_read_or_refused(value: object, key: str) -> None:
    for data in (packages.value(value).encode(), ova_xml(xen_objects(MIB, vm={key: value}))):
        try:
            guest_of(data, "ova.xml")
        except Refusal:
            continue

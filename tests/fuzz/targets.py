"""What is fuzzed: each reader, given bytes, may refuse them and do nothing else."""

from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from metier.domain.errors import NoSpace, Refusal
from metier.drivers.formats import vhd, vhdx
from metier.drivers.formats.api import BLOCK_BYTES, Limits, Part, SourceDisk
from metier.drivers.formats.archive import Unpacking, contents_of
from metier.drivers.formats.disks import open_source
from metier.drivers.formats.ovf import parse_manifest, parse_ovf
from metier.drivers.formats.qcow2 import Qcow2Disk
from metier.drivers.formats.raw import RawDisk
from metier.drivers.formats.vmdk.descriptor import parse_descriptor
from metier.drivers.formats.vmx import machine_of, parse_vmx
from metier.drivers.formats.xva import open_export
from metier.drivers.formats.xva.machine import guest_of
from tests.fuzz import seeds

# Small enough that whatever is accepted is read to its end at once.
LIMITS = Limits(members=100, archive_bytes=4 << 20, disks=4, disk_bytes=8 << 20, extents=8, vmx_bytes=1 << 16)

Seeds = Callable[[Path], list[bytes]]


@dataclass(frozen=True, slots=True)
class Target:
    """One reader.

    Attributes:
        seeds: Makes whole files in an empty folder.
        feed: Gives bytes to the reader; may use the folder.
        words: What its files consist of, for the fuzzer to put in.
    """

    seeds: Seeds
    feed: Callable[[bytes, Path], None]
    words: tuple[bytes, ...] = ()

    def run(self, data: bytes, folder: Path) -> None:
        """Give bytes to the reader; anything but a refusal is a finding."""
        with suppress(Refusal, NoSpace):
            self.feed(data, folder)


def _read_through(disk: SourceDisk) -> None:
    """Do all that an import does with a disk, and check what a reader promises."""
    assert 0 < disk.capacity_bytes <= LIMITS.disk_bytes
    room = disk.room_bytes(lambda size: None)
    count = -(-disk.capacity_bytes // BLOCK_BYTES)
    assert 0 <= room <= (count + 4) * BLOCK_BYTES
    last = -1
    for number, block in disk.blocks(0, count + 1):
        assert last < number < count
        assert len(block) == BLOCK_BYTES
        last = number


def _part(data: bytes, folder: Path, name: str = "disk.img") -> Part:
    path = folder / name
    # A new file each time: a journalling file system brings one that is overwritten to the disk first.
    path.unlink(missing_ok=True)
    path.write_bytes(data)
    return Part.whole(path)


def _disk(data: bytes, folder: Path) -> None:
    with closing(open_source("disk.img", {"disk.img": _part(data, folder)}, LIMITS)) as disk:
        _read_through(disk)


def _split_vmdk(data: bytes, folder: Path) -> None:
    """Read a disk whose descriptor names the file that is fuzzed, whatever that claims."""
    text = (
        "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\n"
        'createType="twoGbMaxExtentSparse"\nRW 256 SPARSE "disk.img"\nRW 8 FLAT "disk.img.flat" 0\n'
    )
    names = {"disk.img": data, "disk.vmdk": text.encode(), "disk.img.flat": b"f" * 4096}
    parts = {name: _part(content, folder, name) for name, content in names.items()}
    with closing(open_source("disk.vmdk", parts, LIMITS)) as disk:
        _read_through(disk)


def _vmdk(data: bytes, folder: Path) -> None:
    with suppress(Refusal):
        _split_vmdk(data, folder)
    _disk(data, folder)


def _qcow2(data: bytes, folder: Path) -> None:
    parent = RawDisk(_part(b"p" * (BLOCK_BYTES + 512), folder, "parent").open(), "parent", LIMITS)
    with closing(parent), suppress(Refusal):
        child = Qcow2Disk(_part(data, folder).open(), "disk.img", parent, LIMITS)
        with closing(child):
            count = -(-child.capacity_bytes // BLOCK_BYTES)
            own = list(child.allocated(0, count))
            assert own == sorted(set(own))
            _read_through(child)
    _disk(data, folder)


def _vhd(data: bytes, folder: Path) -> None:
    with suppress(Refusal):
        _disk(data, folder)
    _disk(seeds.summed_vhd(data, vhd.checksum_of), folder)


def _believe(data: bytes) -> bool:
    """Take every sum for right."""
    return True


def _vhdx(data: bytes, folder: Path) -> None:
    path = folder / "disk.img"
    seeds.write_vhdx(path, data)
    # The sums cover 64 KiB each; nothing that is fuzzed would get past them.
    with (
        mock.patch.object(vhdx, "is_sound", _believe),
        closing(open_source(path.name, {path.name: Part.whole(path)}, LIMITS)) as disk,
    ):
        _read_through(disk)


def _archive(data: bytes, folder: Path) -> None:
    into = folder / "into"
    into.mkdir(exist_ok=True)
    try:
        order = Unpacking(into, LIMITS, lambda name: not name.startswith("-"), lambda size: None, _ignore)
        found = contents_of(_part(data, folder, "archive").path, order)
        for name, part in found.files.items():
            assert name not in ("", ".", "..")
            assert "/" not in name
            with closing(part.open()) as window:
                window.read(BLOCK_BYTES, 0)
        found.proof.close()
    finally:
        for path in into.iterdir():
            path.unlink()


def _ignore(done: int, total: int) -> None:
    """Hear of progress."""


def _xva(data: bytes, folder: Path) -> None:
    export = open_export("guest.xva", _part(data, folder), LIMITS)
    try:
        for disk in export.disks:
            _read_through(disk)
    finally:
        for disk in export.disks:
            disk.close()


def _description(data: bytes, folder: Path) -> None:
    found = parse_descriptor(data, "disk.vmdk", LIMITS.extents)
    assert all(not set(extent.file) & set('/\\:"\n\0') for extent in found.extents)


def _vmx(data: bytes, folder: Path) -> None:
    machine_of(parse_vmx(data, "web.vmx"))


def _ovf(data: bytes, folder: Path) -> None:
    parse_ovf(data, "web.ovf")


def _manifest(data: bytes, folder: Path) -> None:
    parse_manifest(data, "web.mf")


def _ova_xml(data: bytes, folder: Path) -> None:
    guest_of(data, "ova.xml")


TARGETS: Mapping[str, Target] = {
    "vmdk": Target(seeds.vmdk, _vmdk, (b"KDMV", b"\xff" * 8)),
    "vmdk-text": Target(seeds.vmdk_text, _description, seeds.VMDK_WORDS),
    "qcow2": Target(seeds.qcow2, _qcow2, (b"QFI\xfb", b"\x80\0\0\0\0\0", b"\x40\0\0\0\0\0")),
    "vhd": Target(seeds.vhd, _vhd, (b"conectix", b"cxsparse", b"\xff" * 4)),
    "vhdx": Target(seeds.vhdx, _vhdx, seeds.VHDX_WORDS),
    "archive": Target(seeds.archives, _archive, seeds.ARCHIVE_WORDS),
    "xva": Target(seeds.xva, _xva, seeds.XML_WORDS),
    "ova-xml": Target(seeds.ova_xml, _ova_xml, seeds.XML_WORDS),
    "ovf": Target(seeds.ovf, _ovf, seeds.XML_WORDS),
    "manifest": Target(seeds.manifest, _manifest, (b"SHA256(", b")= ", b"SHA1 (", b"\n")),
    "vmx": Target(seeds.vmx, _vmx, seeds.VMX_WORDS),
}

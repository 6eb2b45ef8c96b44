"""Archives that are not what they must be are refused in words and leave nothing (R-IMAGE-3, R-IMAGE-4)."""

import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from metier.domain.errors import Refusal
from metier.drivers.formats.api import Limits
from metier.matrix.folder_matrix import FolderMatrix
from tests.unit.matrix import archives
from tests.unit.matrix.archives import MIB, member

FLAT = 'RW 128 FLAT "disk-flat.vmdk" 0'


def silent(step: str, done: int, total: int | None) -> None:
    """Take a report and say nothing."""


def refusal(
    tmp_path: Path, archive: Path, limits: Limits | None = None, *, vmware_only: bool = False
) -> Refusal:
    """Import an archive that must be refused, and return how; nothing may be left behind."""
    matrix = FolderMatrix(tmp_path / "matrix", limits)
    with pytest.raises(Refusal) as caught:
        matrix.import_image(archives.order(archive, vmware_only=vmware_only), silent)
    assert [path for path in (tmp_path / "matrix").rglob("*") if path.is_file()] == []
    assert not archives.published(tmp_path / "matrix").exists()
    message = caught.value.message
    assert message[0].islower() or message.startswith(archive.name)
    assert not message.endswith(".")
    return caught.value


def with_disk(descriptor: bytes, **more: bytes) -> dict[str, bytes]:
    """Return the files of a VM whose disk is described so."""
    others = {name.replace("__", "."): data for name, data in more.items()}
    return {"web.vmx": archives.vmx_text("disk.vmdk").encode(), "disk.vmdk": descriptor, **others}


HOSTILE_MEMBERS = [
    (member("/etc/passwd"), "leads outside the archive"),
    (member("../web.vmx"), "leads outside the archive"),
    (member("web/../../web.vmx"), "leads outside the archive"),
    (member("evil.vmdk", 0, tarfile.SYMTYPE, "/etc/shadow"), "is a symbolic link"),
    (member("evil.vmdk", 0, tarfile.LNKTYPE, "web.vmx"), "is a hard link"),
    (member("evil.vmdk", 0, tarfile.CHRTYPE), "is a character device"),
    (member("evil.vmdk", 0, tarfile.BLKTYPE), "is a block device"),
    (member("evil.vmdk", 0, tarfile.FIFOTYPE), "is a fifo"),
    (member("evil.vmdk", 0, tarfile.GNUTYPE_SPARSE), "is a sparse file"),
    (member("evil.vmdk", 0, b"?"), "is of an unknown kind"),
    (member("web.vmx"), "is there twice"),
    (member("./web.vmx"), "is there twice"),
    (member("a\nb.vmdk"), "is no name for a file"),
]


@pytest.mark.parametrize(
    ("hostile", "why"), HOSTILE_MEMBERS, ids=lambda value: str(getattr(value, "name", value))
)
def test_members_that_no_archive_of_a_vm_holds(tmp_path: Path, hostile: tarfile.TarInfo, why: str) -> None:
    files = archives.vm_files(tmp_path / "vm")
    members = [(member(name, len(data)), data) for name, data in files.items()]
    error = refusal(tmp_path, archives.pack_members(tmp_path / "vm.tgz", [*members, (hostile, b"")]))
    assert why in error.message
    assert "tar -zcvf" in error.remedy


def test_too_many_members(tmp_path: Path) -> None:
    files = {f"{number}.vmsd": b"" for number in range(11)}
    error = refusal(tmp_path, archives.pack(tmp_path / "vm.tgz", files), Limits(members=10))
    assert "more than 10 members" in error.message


def test_a_member_that_claims_ten_terabytes_is_refused_at_its_header(tmp_path: Path) -> None:
    archive = tmp_path / "vm.tar"
    archive.write_bytes(member("disk.vmdk", 10_000_000_000_000).tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    assert "claims 9.1 TiB, the limit is 2.0 TiB" in refusal(tmp_path, archive).message


def test_an_archive_that_unpacks_without_end(tmp_path: Path) -> None:
    files = {"web.vmem": bytes(8 * MIB)}
    error = refusal(tmp_path, archives.pack(tmp_path / "vm.tgz", files), Limits(archive_bytes=4 * MIB))
    assert "it unpacks to more than 4194304 bytes" in error.message


def test_an_endless_tail_behind_the_end_mark(tmp_path: Path) -> None:
    archive = tmp_path / "vm.tar"
    with archive.open("wb") as file:
        file.write(member("web.vmsd").tobuf())
        file.truncate(200 * MIB)
    assert "follow the end of the archive" in refusal(tmp_path, archive).message


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("empty.tgz", b"", "it is empty"),
        ("vm.zip", b"PK\x03\x04" + bytes(600), "it has no zip directory at its end"),
        ("disk.vmdk", b"KDMV" + bytes(600), "it is a disk without its .vmx"),
        ("vm.tgz", b"\x1f\x8b" + b"\xff" * 600, "gzip data is damaged"),
        ("short.tgz", b"\x1f\x8b\x08\x00", "gzip data ends too early"),
    ],
)
def test_files_that_are_no_archive(tmp_path: Path, name: str, content: bytes, why: str) -> None:
    archive = tmp_path / name
    archive.write_bytes(content)
    assert why in refusal(tmp_path, archive, vmware_only=True).message


def test_what_is_neither_file_nor_folder(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path, tmp_path / "missing.tgz").message
    os.mkfifo(tmp_path / "fifo")
    assert "neither a file nor a folder" in refusal(tmp_path, tmp_path / "fifo").message


def test_an_archive_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    whole = archives.pack(tmp_path / "whole.tgz", archives.vm_files(tmp_path / "vm", size=MIB)).read_bytes()
    cut = tmp_path / "cut.tgz"
    for part in range(20):
        cut.write_bytes(whole[: len(whole) * part // 20])
        refusal(tmp_path, cut)
    cut.write_bytes(whole[:-1])
    refusal(tmp_path, cut)


def test_a_flipped_byte_in_the_archive_is_refused(tmp_path: Path) -> None:
    whole = bytearray(
        archives.pack(tmp_path / "vm.tgz", archives.vm_files(tmp_path / "vm", size=MIB)).read_bytes()
    )
    whole[len(whole) // 2] ^= 0x10
    (tmp_path / "vm.tgz").write_bytes(whole)
    assert "damaged" in refusal(tmp_path, tmp_path / "vm.tgz").message


MISSING: list[tuple[Callable[[dict[str, bytes]], object], str]] = [
    (lambda files: files.pop("web.vmx"), "it holds no .vmx"),
    (lambda files: files.pop("disk.vmdk"), "the disk 'disk.vmdk' of sata0:0 is not in it"),
    (lambda files: files.pop("disk-s001.vmdk"), "its extent 'disk-s001.vmdk' is not in the archive"),
    (lambda files: files.update({"b.vmx": b"x"}), "it holds 2 VMs: b.vmx, web.vmx"),
    (lambda files: files.clear(), "it holds no .vmx"),
]


@pytest.mark.parametrize(("change", "why"), MISSING, ids=[why for _, why in MISSING])
def test_archives_with_too_little_or_too_much(
    tmp_path: Path, change: Callable[[dict[str, bytes]], object], why: str
) -> None:
    files = archives.vm_files(tmp_path / "vm", "twoGbMaxExtentSparse")
    change(files)
    assert why in refusal(tmp_path, archives.pack(tmp_path / "vm.tgz", files), vmware_only=True).message


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"ova.xml": b"<value/>", "Ref:1/00000000": b"x"}, "it holds ova.xml, so it is a Xen guest image"),
        ({"guest.cfg": b"kernel=1", "disk.img": b"x"}, "it holds a .cfg and no .vmx: a Xen guest"),
        ({"a.vmx": b'guestOS = "xenlinux"'}, "it is a Xen guest image"),
    ],
)
def test_guests_of_other_products_are_refused_and_told_what_to_use(
    tmp_path: Path, files: dict[str, bytes], why: str
) -> None:
    error = refusal(tmp_path, archives.pack(tmp_path / "vm.tgz", files), vmware_only=True)
    assert why in error.message
    assert "metier image import" in error.remedy


DISKS = [
    (archives.descriptor('RW 128 VMFS "disk-flat.vmdk"', create_type="vmfs"), "copied as it is from a VMFS"),
    (
        archives.descriptor('RW 128 VMFSSPARSE "d-delta.vmdk"', create_type="vmfsSparse"),
        "copied as it is from a VMFS",
    ),
    (archives.descriptor('RW 128 VMFSRDM "d-rdm.vmdk"', create_type="vmfsRDM"), "maps a raw device"),
    (
        archives.descriptor('RW 128 SESPARSE "d-sesparse.vmdk"', create_type="seSparse"),
        "copied as it is from a VMFS",
    ),
    (archives.descriptor(FLAT, create_type="fullDevice"), "stands for a device of its old host"),
    (archives.descriptor(FLAT, create_type="newest"), 'createType="newest" is unknown'),
    (archives.descriptor('RW 128 FLAT "/etc/shadow" 0'), "'/etc/shadow' is not a file next to it"),
    (archives.descriptor('RW 128 FLAT "../disk-flat.vmdk" 0'), "is not a file next to it"),
    (archives.descriptor('RW 128 FLAT "nbd:10.0.0.1:10809" 0'), "is not a file next to it"),
    (archives.descriptor('RW 128 FLAT ".." 0'), "is not a file next to it"),
    (archives.descriptor("RW 128 ZERO"), "an extent of the kind ZERO"),
    (archives.descriptor(FLAT, FLAT), "names the extent 'disk-flat.vmdk' twice"),
    (archives.descriptor(), "it names no extent"),
    (archives.descriptor('RW 0 FLAT "disk-flat.vmdk" 0'), "impossible size 0 sectors"),
    (
        archives.descriptor('RW 256 FLAT "disk-flat.vmdk" 0'),
        "it has 65536 bytes, and its descriptor says 131072",
    ),
    (archives.descriptor(FLAT, extra='parentFileNameHint="base.vmdk"'), "it is a snapshot"),
    (archives.descriptor(FLAT).replace(b"parentCID=ffffffff", b"parentCID=12345678"), "it is a snapshot"),
    (archives.descriptor(FLAT).replace(b"parentCID=ffffffff", b"parentCID=zz"), "no hexadecimal number"),
    (
        archives.descriptor('RW 20000000000 FLAT "disk-flat.vmdk" 0'),
        "it claims 9.3 TiB, the limit is 2.0 TiB",
    ),
    (archives.descriptor('RW 128 SPARSE "disk-flat.vmdk"'), "cannot use disk-flat.vmdk: it is no VMDK"),
    (archives.descriptor("a line of no kind"), "a line of no known form"),
    (b"QFI\xfb" + bytes(1000), "it is a qcow2 disk"),
    (b"COWD" + bytes(1000), "it is a redo log of a VMFS"),
    (bytes(70000), "it is no VMDK, whatever its name says"),
    (b"", "it is no VMDK"),
    (archives.sparse_header(128), "it is an extent of a larger disk, or has no descriptor"),
]


@pytest.mark.parametrize(("disk", "why"), DISKS, ids=[why for _, why in DISKS])
def test_disks_that_cannot_be_imported(tmp_path: Path, disk: bytes, why: str) -> None:
    files = with_disk(disk, **{"disk-flat__vmdk": b"x" * 65536})
    assert why in refusal(tmp_path, archives.pack(tmp_path / "vm.tgz", files)).message


def test_a_raw_copy_from_vmfs_is_told_the_export_command(tmp_path: Path) -> None:
    disk = archives.descriptor('RW 128 VMFS "disk-flat.vmdk"', create_type="vmfs")
    files = with_disk(disk, **{"disk-flat__vmdk": b"x" * 65536})
    error = refusal(tmp_path, archives.pack(tmp_path / "vm.tgz", files))
    assert "vmkfstools -i disk.vmdk -d 2gbsparse" in error.remedy


SPARSE = [
    (archives.sparse_extent(128, {}, grain=3), "an impossible grain of 3 sectors"),
    (archives.sparse_extent(128, {}, grain=4), "an impossible grain of 4 sectors"),
    (archives.sparse_extent(128, {}, entries=256), "grain tables of 256 entries"),
    (archives.sparse_extent(128, {}, version=9), "the unknown version 9"),
    (archives.sparse_extent(128, {}, flags=1 << 16, method=7), "the unknown compression 7"),
    (archives.sparse_extent(128, {}, directory=1 << 60), "points outside the file"),
    (archives.sparse_extent(128, {}, directory=1 << 50), "it ends before its directory"),
    (archives.sparse_extent(128, {}, directory=0), "points outside the file"),
    (archives.sparse_extent(256, {}), "128 sectors, and the header there says 256"),
    (archives.sparse_extent(128, {0: b"x"})[:-600], "it ends before the data at 0"),
    (archives.sparse_extent(128, {0: b"x"})[:1100], "it ends before its grain table 0"),
    (archives.sparse_extent(128, {})[:300], "it ends within its header"),
    (archives.sparse_header(128).replace(b"\n \r\n", b"\n \n\n"), "transfer in text mode"),
]


@pytest.mark.parametrize(("extent", "why"), SPARSE, ids=[why for _, why in SPARSE])
def test_sparse_extents_that_cannot_be(tmp_path: Path, extent: bytes, why: str) -> None:
    files = with_disk(archives.descriptor('RW 128 SPARSE "disk-s001.vmdk"'), **{"disk-s001__vmdk": extent})
    assert why in refusal(tmp_path, archives.pack(tmp_path / "vm.tgz", files)).message


def test_a_small_file_that_claims_to_be_full_of_data(tmp_path: Path) -> None:
    # One table for the whole disk and one grain for the whole table: 128 GiB of data in 70 KiB.
    tables = 4096
    header = archives.sparse_header(tables * 512 * 128)
    directory = (33).to_bytes(4, "little") * tables
    extent = header + directory + (1).to_bytes(4, "little") * 512 + bytes(65536)
    disk = archives.descriptor(f'RW {tables * 512 * 128} SPARSE "disk-s001.vmdk"')
    files = with_disk(disk, **{"disk-s001__vmdk": extent})
    assert "its grains overlap" in refusal(tmp_path, archives.pack(tmp_path / "vm.tgz", files)).message


def test_two_disks_that_share_a_file(tmp_path: Path) -> None:
    files = {
        "web.vmx": archives.vmx_text("a.vmdk", "b.vmdk").encode(),
        "a.vmdk": archives.descriptor(FLAT),
        "b.vmdk": archives.descriptor(FLAT),
        "disk-flat.vmdk": bytes(65536),
    }
    assert (
        "shares a file with another disk"
        in refusal(tmp_path, archives.pack(tmp_path / "v.tgz", files)).message
    )


@pytest.mark.parametrize("kind", ["link", "fifo", "dangling"])
def test_a_folder_with_links_or_devices(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, data in archives.vm_files(tmp_path / "vm").items():
        (folder / name).write_bytes(data)
    if kind == "fifo":
        os.mkfifo(folder / "evil.vmdk")
    else:
        (folder / "evil.vmdk").symlink_to("/etc/shadow" if kind == "link" else "nowhere")
    assert "'evil.vmdk' is " in refusal(tmp_path, folder).message


def test_a_descriptor_of_qemu_s_own_making_never_reaches_qemu(tmp_path: Path) -> None:
    """An embedded descriptor that names another file is refused before QEMU could follow it."""
    text = archives.descriptor('RW 128 FLAT "/etc/shadow" 0', create_type="monolithicSparse").ljust(
        1024, b"\0"
    )
    disk = archives.sparse_header(128, text_at=1, text_size=2, directory=3) + text + bytes(4096)
    assert (
        "is not a file next to it"
        in refusal(tmp_path, archives.pack(tmp_path / "vm.tgz", with_disk(disk))).message
    )

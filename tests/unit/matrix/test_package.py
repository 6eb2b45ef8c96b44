"""What an import is given is understood: the machine, its disks, and what is not taken over."""

import gzip
import hashlib
import lzma
import subprocess
import zipfile
from pathlib import Path

import pytest

from metier.domain.errors import Refusal
from metier.domain.image import ImageType
from metier.drivers.formats.api import Limits
from metier.matrix.api import Hints
from tests.unit.matrix import archives, packages
from tests.unit.matrix.archives import MIB
from tests.unit.matrix.packages import contents, opened, ovf, pack_plain, xen_objects

CONTENT = archives.raw_content()


def converted(folder: Path, form: str, content: bytes = CONTENT) -> Path:
    """Write a disk with qemu-img."""
    folder.mkdir(exist_ok=True)
    (folder / "x").write_bytes(content)
    options = {"vpc": "force_size=on"}.get(form, "")
    target = folder / {"vpc": "disk.vhd"}.get(form, f"disk.{form}")
    command = ["qemu-img", "convert", "-f", "raw", "-O", form, *(["-o", options] if options else [])]
    subprocess.run([*command, folder / "x", target], check=True)
    (folder / "x").unlink()
    return target


def nothing_was_copied(into: Path) -> bool:
    return list(into.iterdir()) == []


@pytest.mark.parametrize("form", ["tar", "folder", "stored zip"])
@pytest.mark.parametrize("subformat", archives.SUBFORMATS)
def test_a_vm_is_read_where_it_lies(tmp_path: Path, form: str, subformat: str) -> None:
    files = archives.vm_files(tmp_path / "vm", subformat)
    path = packed(tmp_path, form, files)
    package = opened(path, tmp_path / "into")
    digest = "" if form == "folder" else f", sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}"
    assert package.source() == f"{'folder' if form == 'folder' else 'archive'} {path.name}{digest}"
    assert (package.form, package.remarks) == ("vmdk", ())
    assert contents(package) == [CONTENT]
    assert nothing_was_copied(tmp_path / "into")


@pytest.mark.parametrize("form", ["tgz", "zip"])
def test_a_packed_vm_is_unpacked(tmp_path: Path, form: str) -> None:
    path = packed(tmp_path, form, archives.vm_files(tmp_path / "vm", "twoGbMaxExtentSparse"))
    package = opened(path, tmp_path / "into")
    assert package.source().endswith(hashlib.sha256(path.read_bytes()).hexdigest())
    assert contents(package) == [CONTENT]
    assert not nothing_was_copied(tmp_path / "into")


def packed(tmp_path: Path, form: str, files: dict[str, bytes]) -> Path:
    if form == "folder":
        for name, data in files.items():
            (tmp_path / "folder").mkdir(exist_ok=True)
            (tmp_path / "folder" / name).write_bytes(data)
        return tmp_path / "folder"
    if form in ("zip", "stored zip"):
        method = zipfile.ZIP_DEFLATED if form == "zip" else zipfile.ZIP_STORED
        with zipfile.ZipFile(tmp_path / "vm.zip", "w", method) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return tmp_path / "vm.zip"
    return archives.pack(tmp_path / f"vm.{form}", files, "w" if form == "tar" else "w:gz")


@pytest.mark.parametrize(
    ("form", "word"), [("qcow2", "qcow2"), ("vmdk", "vmdk"), ("vpc", "vhd"), ("vhdx", "vhdx"), ("raw", "raw")]
)
def test_a_disk_by_itself(tmp_path: Path, form: str, word: str) -> None:
    content = archives.raw_content(4 * MIB)  # VHDX counts in MiB
    path = converted(tmp_path / "d", form, content)
    package = opened(path, tmp_path / "into")
    assert package.form == word
    assert package.source() == f"disk {path.name}, sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}"
    (disk,) = package.machine.disks
    assert (disk.bus, package.machine.firmware, package.machine.nic_models) == ("virtio", "bios", ("virtio",))
    assert package.machine.remarks == (
        "it comes without a description: BIOS, a disk on virtio, a network card virtio assumed",
    )
    assert contents(package) == [content]


def test_a_descriptor_by_itself_takes_its_extents_and_minds_nothing_else(tmp_path: Path) -> None:
    archives.write_vmdk(tmp_path / "d", CONTENT, "monolithicFlat")
    (tmp_path / "d/link.vmdk").symlink_to("/etc/shadow")
    (tmp_path / "d/folder.vmdk").mkdir()
    assert contents(opened(tmp_path / "d/disk.vmdk", tmp_path / "into")) == [CONTENT]


def test_a_link_that_was_given_is_followed(tmp_path: Path) -> None:
    (tmp_path / "newest.qcow2").symlink_to(converted(tmp_path / "d", "qcow2"))
    package = opened(tmp_path / "newest.qcow2", tmp_path / "into")
    assert package.source().startswith("disk newest.qcow2, sha256 ")
    assert contents(package) == [CONTENT]


def test_hints_go_before_descriptions_and_defaults(tmp_path: Path) -> None:
    hints = Hints(firmware="uefi", bus="sata", nic_model="e1000", memory_mib=700, cpus=3)
    with opened(converted(tmp_path / "d", "qcow2"), tmp_path / "i1", hints=hints) as package:
        machine = package.machine
        assert machine.remarks == ()
    with opened(
        packed(tmp_path, "tar", archives.vm_files(tmp_path / "vm")), tmp_path / "i2", hints=hints
    ) as package:
        told = package.machine
    for found in (machine, told):
        assert (found.firmware, found.disks[0].bus, found.memory_mib, found.cpus) == ("uefi", "sata", 700, 3)


def test_windows_gets_devices_that_it_has_drivers_for(tmp_path: Path) -> None:
    with opened(converted(tmp_path / "d", "qcow2"), tmp_path / "i", type=ImageType.WINDOWS) as package:
        assert (package.machine.disks[0].bus, package.machine.nic_models) == ("sata", ("e1000",))


@pytest.mark.parametrize(("boot_code", "firmware"), [(b"", "uefi"), (b"\xeb\x63", "bios")])
def test_a_disk_that_only_uefi_can_start_gets_uefi(tmp_path: Path, boot_code: bytes, firmware: str) -> None:
    table = boot_code.ljust(510, b"\0") + b"\x55\xaa" + b"EFI PART"
    path = converted(tmp_path / "d", "qcow2", table.ljust(MIB, b"\0"))
    with opened(path, tmp_path / "i") as package:
        assert package.machine.firmware == firmware


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_a_compressed_disk(tmp_path: Path, pack: type) -> None:
    raw = converted(tmp_path / "d", "qcow2").read_bytes()
    path = tmp_path / f"disk.qcow2.{'gz' if pack is gzip.compress else 'xz'}"
    path.write_bytes(pack(raw))
    package = opened(path, tmp_path / "into")
    assert package.source() == f"archive {path.name}, sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}"
    assert contents(package) == [CONTENT]


def test_an_archive_of_one_disk_and_no_description(tmp_path: Path) -> None:
    disk = converted(tmp_path / "d", "qcow2").read_bytes()
    path = archives.pack(tmp_path / "vm.tar", {"README": b"x", "disk.qcow2": disk}, "w")
    assert contents(opened(path, tmp_path / "i1")) == [CONTENT]
    files = archives.vm_files(tmp_path / "vm", "twoGbMaxExtentSparse")
    del files["web.vmx"]
    assert contents(opened(archives.pack(tmp_path / "b.tar", files, "w"), tmp_path / "i2")) == [CONTENT]


def ova(
    tmp_path: Path, description: bytes | None = None, subformat: str = "streamOptimized", **more: bytes
) -> Path:
    files = archives.vm_files(tmp_path / "vm", subformat)
    others = {name.replace("__", "."): data for name, data in more.items()}
    members = {"web.ovf": description or ovf(), **others, "disk.vmdk": files["disk.vmdk"]}
    return pack_plain(tmp_path / "web.ova", members)


def test_an_ova_is_read_where_it_lies(tmp_path: Path) -> None:
    package = opened(ova(tmp_path), tmp_path / "into")
    machine = package.machine
    assert [(disk.bus, disk.controller) for disk in machine.disks] == [("scsi", "vmpvscsi")]
    assert (machine.memory_mib, machine.cpus, machine.firmware) == (1024, 2, "bios")
    assert (machine.nic_models, machine.guest_os, machine.remarks) == (("vmxnet3",), "ubuntu64Guest", ())
    assert package.source().startswith("archive web.ova, sha256 ")
    assert contents(package) == [CONTENT]
    assert nothing_was_copied(tmp_path / "into")


def test_an_ovf_by_its_own_path_takes_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "app"
    archives.write_vmdk(folder, CONTENT, "streamOptimized")
    (folder / "web.ovf").write_bytes(ovf())
    (folder / "other.ovf").write_bytes(b"no matter")
    package = opened(folder / "web.ovf", tmp_path / "into")
    assert package.source().startswith("description web.ovf, sha256 ")
    assert contents(package) == [CONTENT]
    with pytest.raises(Refusal, match="it holds 2 VMs"):
        opened(folder, tmp_path / "into2")


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512"])
def test_a_manifest_is_checked(tmp_path: Path, algorithm: str) -> None:
    path = ova(tmp_path)
    disk = (tmp_path / "vm/disk.vmdk").read_bytes() + bytes(2 * MIB)  # large enough for the background
    good = hashlib.new(algorithm, disk).hexdigest()
    told = f"{algorithm.upper()}(web.ovf)= {hashlib.new(algorithm, ovf()).hexdigest()}\n"
    for number, digest in enumerate((good, good.replace(good[-1], "0" if good[-1] != "0" else "1"))):
        manifest = f"{told}{algorithm.upper()}(disk.vmdk)= {digest}\n".encode()
        path = pack_plain(path, {"web.ovf": ovf(), "web.mf": manifest, "web.cert": b"", "disk.vmdk": disk})
        with opened(path, tmp_path / f"i{number}") as package:
            assert package.remarks == ("its signature (web.cert) was not checked",)
            if digest == good:
                assert package.source()
                continue
            with pytest.raises(Refusal, match=r"cannot take disk.vmdk: its SHA-\d+ is"):
                package.source()


@pytest.mark.parametrize(
    ("manifest", "why"),
    [
        (b"SHA256(web.ovf)= " + b"0" * 64, "cannot take web.ovf: its SHA256 is"),
        (b"SHA256(gone.vmdk)= " + b"0" * 64, "names 'gone.vmdk', which is not there"),
        (b"MD5(web.ovf)= " + b"0" * 32, "gives no SHA digest"),
        (b"hello", "gives no SHA digest"),
    ],
)
def test_manifests_that_do_not_hold(tmp_path: Path, manifest: bytes, why: str) -> None:
    with pytest.raises(Refusal) as caught:
        opened(ova(tmp_path, web__mf=manifest), tmp_path / "into")
    assert why in caught.value.message


def test_a_gzipped_and_an_empty_disk_of_an_ovf(tmp_path: Path) -> None:
    archives.write_vmdk(tmp_path / "vm", CONTENT, "monolithicSparse")
    packed_disk = gzip.compress((tmp_path / "vm/disk.vmdk").read_bytes())
    description = ovf(["disk.vmdk.gz"], attributes='ovf:compression="gzip"').replace(
        b"</DiskSection>", b'<Disk ovf:diskId="empty" ovf:capacity="3145728"/></DiskSection>'
    )
    place = packages.item(17, 50, Parent="3", AddressOnParent="1", HostResource="ovf:/disk/empty")
    description = description.replace(
        b"</VirtualHardwareSection>", place.encode() + b"</VirtualHardwareSection>"
    )
    path = pack_plain(tmp_path / "web.ova", {"web.ovf": description, "disk.vmdk.gz": packed_disk})
    assert contents(opened(path, tmp_path / "into")) == [CONTENT, bytes(3 * MIB)]


def test_an_xva_is_read_where_it_lies(tmp_path: Path) -> None:
    data = CONTENT[: 3 * MIB] + bytes(2 * MIB) + b"end".ljust(2048, b"x")
    members = {"ova.xml": packages.ova_xml(xen_objects(len(data))), **packages.xva_members(data)}
    for number, path in enumerate((tmp_path / "web.xva", tmp_path / "web.xva.gz")):
        archives.pack(path, members, "w" if number == 0 else "w:gz")
        package = opened(path, tmp_path / f"into{number}")
        assert package.form == "xva"
        assert (package.machine.memory_mib, package.machine.cpus) == (512, 2)
        assert (
            package.source() == f"archive {path.name}, sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}"
        )
        assert contents(package) == [data]
    assert nothing_was_copied(tmp_path / "into0")


def test_what_is_no_vmware_vm_is_refused_by_r_and_told_the_command(tmp_path: Path) -> None:
    members = {"ova.xml": packages.ova_xml(xen_objects(MIB)), **packages.xva_members(bytes(MIB))}
    given = {
        "it holds ova.xml, so it is a Xen guest image": pack_plain(tmp_path / "a.xva", members),
        "it holds a .cfg and no .vmx: a Xen guest": archives.pack(
            tmp_path / "b.tgz", {"guest.cfg": b"", "disk.img": b"x"}
        ),
        "it is a disk without its .vmx": converted(tmp_path / "d", "qcow2"),
        "an OVF package of another product's VM": ova(tmp_path, ovf(kind="virtualbox-2.2")),
        "it holds no .vmx": archives.pack(tmp_path / "c.tgz", {"readme": b""}),
    }
    for number, (why, path) in enumerate(given.items()):
        with pytest.raises(Refusal) as caught:
            opened(path, tmp_path / f"i{number}", vmware_only=True)
        assert why in caught.value.message
        assert f"metier image import --file {path.name}" in caught.value.remedy
    with opened(ova(tmp_path), tmp_path / "i", vmware_only=True):
        pass


def test_a_raw_copy_from_vmfs_is_told_the_export_command(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/x.vmdk").write_bytes(archives.descriptor('RW 8 VMFS "x-flat.vmdk"', create_type="vmfs"))
    (tmp_path / "d/x-flat.vmdk").write_bytes(bytes(4096))
    for number, path in enumerate((tmp_path / "d/x.vmdk", tmp_path / "d")):
        with pytest.raises(Refusal) as caught:
            opened(path, tmp_path / f"i{number}")
        assert "vmkfstools -i" in caught.value.remedy


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"README": b""}, "it holds no .vmx, no .ovf and no disk"),
        (
            {"a.raw": b"x" * 512, "b.raw": b"x" * 512},
            "it holds several disks and no description of a VM: a.raw, b.raw",
        ),
        ({"a.vmx": b"a=1", "b.vmx": b"a=1"}, "it holds 2 VMs: a.vmx, b.vmx"),
        ({"x.txt": b"", "ova.xml": b"<value/>"}, "a Xen guest's export that was unpacked"),
        ({"a.vmx": archives.vmx_text("a.vmdk").encode()}, "the disk 'a.vmdk' of sata0:0 is not in it"),
        ({"a.ovf": ovf()}, "the disk 'disk.vmdk' of device 100 is not in the package"),
        ({"a.vmx": b"#" * (2 << 20)}, "claims 2.0 MiB, the limit is 1.0 MiB"),
    ],
)
def test_packages_with_too_little_or_too_much(tmp_path: Path, files: dict[str, bytes], why: str) -> None:
    with pytest.raises(Refusal) as caught:
        opened(archives.pack(tmp_path / "vm.tar", files, "w"), tmp_path / "into")
    assert why in caught.value.message


def test_more_disks_than_the_limit(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="more than 0 disks"):
        opened(ova(tmp_path), tmp_path / "into", limits=Limits(disks=0))


def test_a_refused_package_leaves_no_file_open(tmp_path: Path) -> None:
    files = archives.vm_files(tmp_path / "vm") | {
        "web.vmx": archives.vmx_text("disk.vmdk", "gone.vmdk").encode()
    }
    path = archives.pack(tmp_path / "vm.tar", files, "w")
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(Refusal, match=r"gone.vmdk"):
        opened(path, tmp_path / "into")
    assert len(list(Path("/proc/self/fd").iterdir())) == before

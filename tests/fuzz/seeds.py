"""Small whole files of every form, made anew for each run, and the words that they consist of."""

import gzip
import hashlib
import io
import struct
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from tests.fuzz.texts import MANIFEST, OVA_XML, OVF, VMDK, VMX

KIB, MIB = 1 << 10, 1 << 20

# Some data, a hole, and more that can be compressed.
CONTENT = bytes(range(256)) * 48 + bytes(96 * KIB) + b"data" * 2048 + b"end!" * 128

# What of a VHDX is fuzzed: where each stretch begins in the file, and how long it is.
_VHDX_STRETCHES = (
    *((0, 16), (64 * KIB, 80), (128 * KIB, 80), (192 * KIB, 80), (256 * KIB, 80)),
    *((2 * MIB, 64), (3 * MIB, 192), (3 * MIB + 64 * KIB, 64)),
)
_VHDX_BYTES = 10 * MIB

VHDX_WORDS = (b"vhdxfile", b"head", b"regi", b"metadata", b"\6\0\x40\0\0\0\0\0")
VMDK_WORDS = (b"RW ", b"FLAT", b"SPARSE", b"VMFS", b'"a.vmdk"', b"createType=", b"parentCID=", b"\n", b"# ")
VMX_WORDS = (b"scsi0:0.", b"fileName", b"present", b"TRUE", b" = ", b'"', b"\n", b"memsize", b"ethernet0.")
XML_WORDS = (b"<", b"/>", b"</", b"<![CDATA[", b"<!DOCTYPE", b"&amp;", b"<value>", b"<struct>", b"<Item>")
ARCHIVE_WORDS = (
    b"PK\3\4",
    b"PK\1\2",
    b"PK\5\6",
    b"PK\6\6",
    b"ustar\x0000",
    b"\x1f\x8b\x08",
    b"../",
    b"path=",
)


def _converted(folder: Path, form: str, *options: str, content: bytes = CONTENT) -> bytes:
    """Return a disk that qemu-img wrote; all of one file."""
    raw, disk = folder / "content.raw", folder / "seed"
    raw.write_bytes(content)
    command = ["qemu-img", "convert", *options, "-f", "raw", "-O", form, raw, disk]
    subprocess.run(command, check=True, capture_output=True)
    found = disk.read_bytes()
    raw.unlink()
    disk.unlink()
    return found


def vmdk(folder: Path) -> list[bytes]:
    """Return disks of one file, sparse and streamed."""
    forms = ("monolithicSparse", "streamOptimized", "monolithicSparse,zeroed_grain=on")
    return [_converted(folder, "vmdk", "-o", f"subformat={form}") for form in forms]


def vmdk_text(folder: Path) -> list[bytes]:
    """Return a descriptor."""
    return [VMDK]


def qcow2(folder: Path) -> list[bytes]:
    """Return disks with small clusters and large, compressed, and with parts of clusters."""
    forms = (
        ("-o", "cluster_size=512"),
        ("-c", "-o", "cluster_size=512"),
        ("-o", "compat=0.10,cluster_size=4k"),
        ("-o", "extended_l2=on,cluster_size=16k"),
        ("-c", "-o", "extended_l2=on,cluster_size=16k"),
        (),
    )
    return [_converted(folder, "qcow2", *options) for options in forms]


def vhd(folder: Path) -> list[bytes]:
    """Return a fixed disk, and a growing one with blocks that are smaller than QEMU's."""
    fixed = _converted(folder, "vpc", "-o", "subformat=fixed,force_size=on")
    growing = _converted(folder, "vpc", "-o", "force_size=on", content=bytes(len(CONTENT)))[:1536]
    header = bytearray(growing)
    header[512 + 28 : 512 + 36] = struct.pack(">II", 2, 64 * KIB)
    table = struct.pack(">II", 4, 0xFFFFFFFF).ljust(512, b"\xff")
    piece = b"\xff" * 16 + bytes(496) + CONTENT[: 64 * KIB]
    return [fixed, bytes(header + table + piece + header[:512])]


def summed_vhd(data: bytes, checksum_of: Callable[[bytes], int]) -> bytes:
    """Return a growing VHD with right sums, so that what is behind them is looked at."""
    if len(data) < 2048:
        return data
    summed = bytearray(data)
    summed[64:68] = struct.pack(">I", checksum_of(data[:512]))
    summed[548:552] = struct.pack(">I", checksum_of(data[512:1536]))
    summed[-512:] = summed[:512]
    return bytes(summed)


def vhdx(folder: Path) -> list[bytes]:
    """Return the stretches of a VHDX that are fuzzed, one behind the other."""
    whole = _converted(folder, "vhdx", "-o", "block_size=1M", content=CONTENT.ljust(2 * MIB, b"\0"))
    return [b"".join(whole[at : at + size] for at, size in _VHDX_STRETCHES)]


def write_vhdx(path: Path, stretches: bytes) -> None:
    """Write the file that such stretches belong to; the rest of it is empty."""
    source = io.BytesIO(stretches)
    path.unlink(missing_ok=True)
    with path.open("wb") as file:
        for at, size in _VHDX_STRETCHES:
            file.seek(at)
            file.write(source.read(size))
        file.truncate(_VHDX_BYTES)


def _tar(members: dict[str, bytes], form: int = tarfile.GNU_FORMAT) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=form, encoding="utf-8") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return target.getvalue()


def _zip(members: dict[str, bytes], method: int) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return target.getvalue()


def archives(folder: Path) -> list[bytes]:
    """Return archives of each kind, with a long name and one of another alphabet."""
    members = {"web.vmx": VMX, "a" * 120 + ".vmdk": b"d" * 700, "größe.vmdk": b"", "-left-out": b"x" * 600}
    plain = _tar(members)
    return [
        plain,
        _tar(members, tarfile.PAX_FORMAT),
        gzip.compress(plain, 1, mtime=0),
        gzip.compress(VMX, 1, mtime=0),
        _zip(members, zipfile.ZIP_STORED),
        _zip(members, zipfile.ZIP_DEFLATED),
    ]


def xva(folder: Path) -> list[bytes]:
    """Return an export of a guest with one disk of 2 MiB, of which one piece is there."""
    piece = CONTENT.ljust(MIB, b"\0")
    digest = hashlib.sha1(piece, usedforsecurity=False).hexdigest().encode()
    return [
        _tar({"ova.xml": OVA_XML, "Ref:9/00000000": piece, "Ref:9/00000001": bytes(MIB)}),
        _tar({"ova.xml": OVA_XML, "Ref:9/00000001": piece, "Ref:9/00000001.checksum": digest}),
    ]


def ova_xml(folder: Path) -> list[bytes]:
    """Return a description of a Xen guest."""
    return [OVA_XML]


def ovf(folder: Path) -> list[bytes]:
    """Return a description of a VM."""
    return [OVF]


def manifest(folder: Path) -> list[bytes]:
    """Return a manifest."""
    return [MANIFEST]


def vmx(folder: Path) -> list[bytes]:
    """Return a configuration."""
    return [VMX]

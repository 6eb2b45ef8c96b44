"""The descriptor: the text that says which extents a VMDK consists of."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from metier.domain.errors import Refusal
from metier.drivers.formats.api import readable

SECTOR_BYTES = 512
MAGIC = b"# Disk DescriptorFile"

_NO_PARENT = 0xFFFFFFFF

_EXTENT = re.compile(
    r"(?P<access>RW|RDONLY|NOACCESS)[ \t]+(?P<sectors>[0-9]{1,19})[ \t]+(?P<kind>[A-Z0-9]{1,20})"
    r"(?:[ \t]+\"(?P<file>[^\"]*)\"(?:[ \t]+(?P<offset>[0-9]{1,19}))?)?(?:[ \t]+.*)?"
)
_SETTING = re.compile(r"(?P<key>[A-Za-z][A-Za-z0-9._]*)[ \t]*=[ \t]*(?P<value>.*)")

_HOSTED = (
    "monolithicsparse",
    "monolithicflat",
    "twogbmaxextentsparse",
    "twogbmaxextentflat",
    "streamoptimized",
)
_FLAT, _SPARSE = "FLAT", "SPARSE"

EXPORT = "export it on the ESX host, and pack the copy: vmkfstools -i {file} -d 2gbsparse copy-of-{file}"


class ExtentLine(NamedTuple):
    """One extent: `sectors` of 512 bytes, in `file` from byte `offset_bytes` on (flat ones only)."""

    kind: str
    sectors: int
    file: str
    offset_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What a descriptor says, checked: a hosted disk, without parent, of flat and sparse extents."""

    create_type: str
    extents: tuple[ExtentLine, ...]

    @property
    def capacity_bytes(self) -> int:
        """Return the size that the guest sees."""
        return SECTOR_BYTES * sum(extent.sectors for extent in self.extents)


def parse_descriptor(data: bytes, file: str, most_extents: int) -> Descriptor:
    """Read and check a descriptor.

    Raises:
        Refusal: It is damaged; a copy out of a VMFS; a snapshot; or leads outside the archive.
    """
    text = readable(data.split(b"\0", 1)[0])
    settings: dict[str, str] = {}
    extents = []
    for line in map(str.strip, text.splitlines()):
        if not line or line.startswith("#"):
            continue
        if setting := _SETTING.fullmatch(line):
            settings.setdefault(setting["key"].lower(), setting["value"].strip().strip('"'))
        elif extent := _EXTENT.fullmatch(line):
            extents.append(_extent(extent, file))
            if len(extents) > most_extents:
                raise Refusal(
                    f"cannot use {file}: it has more than {most_extents} extents, which is the limit"
                )
        else:
            raise Refusal(f"cannot read {file}: its descriptor has a line of no known form: {line[:60]!r}")
    create_type = settings.get("createtype", "")
    _refuse_vmfs(create_type, extents, file)
    _refuse_child(data, settings, file)
    _refuse_unknown(create_type, extents, file)
    return Descriptor(create_type, tuple(extents))


def canonical(extents: Sequence[ExtentLine]) -> bytes:
    """Write the descriptor of a disk of these extents in our own words, for QEMU to read."""
    lines = [
        MAGIC.decode(),
        "version=1",
        "CID=fffffffe",
        "parentCID=ffffffff",
        'createType="twoGbMaxExtentSparse"',
    ]
    for extent in extents:
        offset = f" {extent.offset_bytes // SECTOR_BYTES}" if extent.kind == _FLAT else ""
        lines.append(f'RW {extent.sectors} {extent.kind} "{extent.file}"{offset}')
    return "\n".join([*lines, ""]).encode("ascii")


def _extent(match: re.Match[str], file: str) -> ExtentLine:
    sectors = int(match["sectors"])
    if match["access"] == "NOACCESS":
        raise Refusal(f"cannot use {file}: it has an extent without access")
    if not 0 < sectors < 1 << 54 or int(match["offset"] or 0) >= 1 << 54:
        raise Refusal(f"cannot read {file}: it has an extent of the impossible size {sectors} sectors")
    return ExtentLine(match["kind"], sectors, match["file"] or "", SECTOR_BYTES * int(match["offset"] or 0))


def _refuse_vmfs(create_type: str, extents: Sequence[ExtentLine], file: str) -> None:
    """Refuse what only an ESX host can read (R-IMAGE-4)."""
    lowered = create_type.lower()
    remedy = EXPORT.format(file=file)
    if lowered in ("vmfsraw", "vmfsrdm", "vmfsrdmp", "vmfsrawdevicemap", "vmfspassthroughrawdevicemap"):
        raise Refusal(
            f"cannot use {file}: it maps a raw device ({create_type}) and holds no data itself", remedy=remedy
        )
    if lowered.startswith(("vmfs", "sesparse")) or any(
        e.kind.startswith(("VMFS", "SESPARSE")) for e in extents
    ):
        raise Refusal(
            f'cannot use {file}: it was copied as it is from a VMFS (createType="{create_type}")',
            remedy=remedy,
        )
    if lowered in ("fulldevice", "partitioneddevice", "custom"):
        raise Refusal(
            f'cannot use {file}: it stands for a device of its old host (createType="{create_type}")',
            remedy="copy it into a virtual disk first, for example with VMware's vmware-vdiskmanager -r",
        )


def _refuse_child(data: bytes, settings: dict[str, str], file: str) -> None:
    """Refuse a disk that is only the difference to another."""
    parent = settings.get("parentcid", "")
    try:
        has_parent = bool(parent) and int(parent, 16) != _NO_PARENT
    except ValueError as error:
        raise Refusal(f"cannot read {file}: parentCID is {parent[:20]!r}, no hexadecimal number") from error
    # The whole text is searched, not only the lines understood here: QEMU searches it so.
    if has_parent or b"parentfilenamehint" in data.lower():
        raise Refusal(
            f"cannot use {file}: it is a snapshot, which holds only the difference to its parent disk",
            remedy="delete or consolidate the VM's snapshots in VMware, then pack it again",
        )


def _refuse_unknown(create_type: str, extents: Sequence[ExtentLine], file: str) -> None:
    if create_type.lower() not in _HOSTED:
        raise Refusal(
            f'cannot use {file}: createType="{create_type[:40]}" is unknown', remedy=EXPORT.format(file=file)
        )
    if not extents:
        raise Refusal(f"cannot use {file}: it names no extent")
    names: set[str] = set()
    for extent in extents:
        if extent.kind not in (_FLAT, _SPARSE):
            raise Refusal(f"cannot use {file}: it has an extent of the kind {extent.kind}")
        _refuse_path(extent.file, file)
        if extent.file in names:
            raise Refusal(f"cannot use {file}: it names the extent {extent.file!r} twice")
        names.add(extent.file)


def _refuse_path(name: str, file: str) -> None:
    """Refuse an extent that is not a file next to its descriptor."""
    if not name or name in (".", "..") or any(char in '/\\:"' or ord(char) < 32 for char in name):
        raise Refusal(
            f"cannot use {file}: its extent {name[:120]!r} is not a file next to it",
            remedy="the archive must hold every file of the disk, and no path may lead elsewhere",
        )

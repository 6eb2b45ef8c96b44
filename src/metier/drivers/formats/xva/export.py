"""An export of XenServer as a whole: its index, its guest and its disks."""

import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field

from metier.domain.errors import Refusal
from metier.drivers.formats.api import Limits, Part, Window, in_words
from metier.drivers.formats.archive.stream import PlacedStream
from metier.drivers.formats.archive.tar import (
    RECORD_BYTES,
    TarMember,
    first_name,
    looks_like_tar,
    tar_members,
)
from metier.drivers.formats.machine import MachineFound, bounded
from metier.drivers.formats.xva.disk import PIECE_BYTES, Pieces, XvaDisk
from metier.drivers.formats.xva.machine import Guest, guest_of

DESCRIPTION = "ova.xml"

_PIECE = re.compile(r"(?P<disk>[^/]{1,100})/(?P<number>[0-9]{8,12})(?:\.(?P<sum>checksum|xxhash))?")

# A sum in hex; anything longer is none.
_SUM_BYTES = 64

_BOOTABLE = b"\x55\xaa"
_BOOT_CODE_BYTES = 446


@dataclass(slots=True)
class _Index:
    """What lies where in the archive."""

    description: bytes = b""
    disks: dict[str, Pieces] = field(default_factory=dict)
    has_xxhash: bool = False
    without_sum: int = 0


@dataclass(frozen=True, slots=True)
class Export:
    """An opened export; the caller closes the disks, which are in the machine's order."""

    name: str
    machine: MachineFound
    disks: tuple[XvaDisk, ...]


def is_xva(window: Window) -> bool:
    """Tell whether a file begins as an export of XenServer does."""
    first = window.read(RECORD_BYTES, 0)
    return looks_like_tar(first) and first_name(first) == DESCRIPTION


def open_export(name: str, part: Part, limits: Limits) -> Export:
    """Open an export; nothing of it is copied.

    Raises:
        Refusal: It is damaged or cut short, or describes no guest that can be taken in.
        OSError: It cannot be opened.
    """
    with closing(part.open()) as window:
        index = _indexed(window, name, limits)
        guest = guest_of(index.description, DESCRIPTION)
    disks: list[XvaDisk] = []
    try:
        for found in guest.machine.disks:
            disks.append(_disk(found.file, found.capacity_bytes, index, part, limits))  # noqa: PERF401 - closed below
        if guest.is_paravirtual:
            _refuse_unbootable(guest, disks[0])
    except BaseException:  # whatever it is, no file may stay open
        for disk in disks:
            disk.close()
        raise
    return Export(guest.name, _with_remarks(guest.machine, index), tuple(disks))


def _indexed(window: Window, name: str, limits: Limits) -> _Index:
    """Go through all headers; each piece has one, and one for its sum."""
    index, stream = _Index(), PlacedStream(window, name)
    most = limits.disks * 2 * (limits.disk_bytes // PIECE_BYTES) + limits.members
    last: Pieces | None = None
    for member in tar_members(stream, name, most):
        at = stream.at
        stream.skip(member.size, repr(member.name))
        if member.name == DESCRIPTION:
            if index.description:
                raise Refusal(f"cannot take {name}: its member {DESCRIPTION!r} is there twice")
            index.description = _description(window, at, member, limits)
        elif match := _PIECE.fullmatch(member.name):
            last = _piece(index, match, window, at, member, last)
        elif not member.is_folder:
            raise Refusal(f"cannot take {name}: its member {member.name[:80]!r} belongs to no disk")
    return index


def _description(window: Window, at: int, member: TarMember, limits: Limits) -> bytes:
    # A pool's networks and storage are told too; a member beyond any of that is no description.
    most = 16 * limits.vmx_bytes
    if member.size > most:
        raise Refusal(
            f"cannot read {DESCRIPTION}: it claims {in_words(member.size)}, the limit is {in_words(most)}"
        )
    return window.read(member.size, at)


def _piece(
    index: _Index, match: re.Match[str], window: Window, at: int, member: TarMember, last: Pieces | None
) -> Pieces:
    """Add a piece, or the sum that follows its piece; returns the disk it belongs to."""
    pieces = index.disks.setdefault(match["disk"], Pieces())
    number = int(match["number"])
    if match["sum"]:
        if last is not pieces or not len(pieces) or pieces.numbers[-1] != number:
            raise Refusal(f"cannot read {member.name}: it does not follow the piece whose checksum it is")
        _sum(index, pieces, match["sum"], window.read(min(member.size, _SUM_BYTES), at), member)
        return pieces
    if len(pieces) and number <= pieces.numbers[-1]:
        raise Refusal(f"cannot read {member.name}: the pieces of its disk are there twice, or in no order")
    if member.size > PIECE_BYTES:
        raise Refusal(f"cannot read {member.name}: it has {member.size} bytes, and a piece has 1 MiB at most")
    pieces.add(number, at, member.size)
    index.without_sum += 1
    return pieces


def _sum(index: _Index, pieces: Pieces, kind: str, data: bytes, member: TarMember) -> None:
    index.without_sum -= 1
    if kind == "xxhash":
        index.has_xxhash = True
        return
    try:
        digest = bytes.fromhex(data.decode("ascii"))
    except ValueError as error:
        raise Refusal(f"cannot read {member.name}: it is no checksum") from error
    if len(digest) != 20 or member.size > _SUM_BYTES:
        raise Refusal(f"cannot read {member.name}: it is no SHA-1 checksum")
    pieces.set_sum(digest)


def _disk(reference: str, capacity: int, index: _Index, part: Part, limits: Limits) -> XvaDisk:
    if reference not in index.disks:
        raise Refusal(
            f"cannot use {DESCRIPTION}: the disk {reference[:60]!r} that it describes is not in the export",
            remedy="export the guest again with all its disks: xe vm-export",
        )
    if capacity > limits.disk_bytes:
        raise Refusal(
            f"cannot use {reference[:60]}: it claims {in_words(capacity)},"
            f" the limit is {in_words(limits.disk_bytes)}"
        )
    return XvaDisk(reference, capacity, index.disks[reference], part.open())


def _refuse_unbootable(guest: Guest, disk: XvaDisk) -> None:
    """Refuse a guest that only Xen can start: its disk has no boot code of its own."""
    first = next((block for number, block in disk.blocks(0, 1) if number == 0), b"")
    if first[510:512] != _BOOTABLE or not any(first[:_BOOT_CODE_BYTES]):
        raise Refusal(
            f"cannot import {guest.name or DESCRIPTION}: it is paravirtualised, and its first disk has no"
            " boot code of its own: only Xen can start it",
            remedy="on its Xen host, install a boot loader in the guest (grub-install), make it an HVM guest "
            "(xe vm-param-set HVM-boot-policy='BIOS order'), start it once, and export it again",
        )


def _with_remarks(machine: MachineFound, index: _Index) -> MachineFound:
    remarks = [*machine.remarks, *_remarks(machine, index)]
    return MachineFound(
        machine.disks,
        machine.firmware,
        machine.nic_models,
        machine.memory_mib,
        machine.cpus,
        machine.guest_os,
        bounded(remarks),
    )


def _remarks(machine: MachineFound, index: _Index) -> Iterator[str]:
    if index.has_xxhash:
        yield "the checksums of its pieces are of the kind xxHash, and were not checked"
    if index.without_sum:
        yield f"{index.without_sum} pieces of its disks come without checksums"
    unused = sorted(index.disks.keys() - {disk.file for disk in machine.disks})
    if unused:
        yield f"the guest does not use {', '.join(name[:60] for name in unused[:5])}"

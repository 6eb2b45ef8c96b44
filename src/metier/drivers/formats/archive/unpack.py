"""Takes the wanted files out of a tar archive or a folder, under names of our own."""

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from metier.domain.errors import NoSpace, Refusal
from metier.drivers.formats.api import Limits, in_words
from metier.drivers.formats.archive.folder import copied, folder_files, open_plainly
from metier.drivers.formats.archive.names import Names
from metier.drivers.formats.archive.sparse import write_sparsely
from metier.drivers.formats.archive.stream import ByteStream, in_background, inflated, raw_chunks
from metier.drivers.formats.archive.tar import RECORD_BYTES, looks_like_tar, tar_members

_OTHER_KINDS = (
    (b"PK\x03\x04", "a zip archive"),
    (b"\xfd7zXZ", "an xz file"),
    (b"BZh", "a bzip2 file"),
    (b"\x28\xb5\x2f\xfd", "a zstd file"),
    (b"7z\xbc\xaf", "a 7-Zip archive"),
    (b"KDMV", "a VMDK disk without its .vmx"),
    (b"# Disk Des", "a VMDK descriptor without its .vmx"),
    (b"QFI\xfb", "a qcow2 disk"),
)

Tell = Callable[[], None]

_REMEDY = "pack the VM's files from inside its folder: tar -zcvf NAME.tgz *.vm*"


@dataclass(frozen=True, slots=True)
class Contents:
    """What was taken out of an archive.

    Attributes:
        files: Where each wanted member now is, by its bare name.
        left_out: Bare names of the members that were not wanted.
        digest: SHA-256 of the archive in hex; empty for a folder.
    """

    files: dict[str, Path] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Unpacking:
    """How to unpack: where to, within which bounds, and whom to ask.

    Attributes:
        into: An empty folder of ours.
        wants: Whether a member of this bare name is to be taken; may raise to refuse it.
        make_room: Called with the size of each file before a byte of it is written; raises NoSpace.
        report: Called with bytes read of the archive, and its size.
    """

    into: Path
    limits: Limits
    wants: Callable[[str], bool]
    make_room: Callable[[int], None]
    report: Callable[[int, int], None]


def unpack(archive: Path, order: Unpacking) -> Contents:
    """Take the wanted files out of `archive`, a `.tgz`, `.tar` or folder.

    Raises:
        Refusal: It cannot be read, is damaged or cut short, or holds what no archive of a VM may.
        NoSpace: There is no room for it.
    """
    try:
        kind = archive.stat().st_mode
        if stat.S_ISDIR(kind):
            return _from_folder(archive, order)
        if stat.S_ISREG(kind):
            return _from_file(archive, order)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace(
                f"cannot unpack {archive.name}: the disk of the image matrix became full"
            ) from error
        raise Refusal(f"cannot read {archive}: {error.strerror or error}") from error
    raise Refusal(f"cannot read {archive}: it is neither a file nor a folder", remedy=_REMEDY)


def _from_file(archive: Path, order: Unpacking) -> Contents:
    digest, done, name = hashlib.sha256(), 0, archive.name
    with archive.open("rb") as file, ExitStack() as stack:
        total = os.fstat(file.fileno()).st_size
        is_gzip = _is_gzip(file, name)

        def count(size: int) -> None:
            nonlocal done
            done += size

        chunks = stack.enter_context(in_background(raw_chunks(file, digest, count)))
        if is_gzip:
            chunks = stack.enter_context(in_background(inflated(chunks, name)))
        stream = ByteStream(chunks, name, order.limits.archive_bytes)
        contents = _from_stream(stream, name, order, lambda: order.report(done, total))
    return Contents(contents.files, contents.left_out, digest.hexdigest())


def _is_gzip(file: BinaryIO, name: str) -> bool:
    """Tell a gzip file from a plain tar archive; refuses anything else by its name."""
    first = file.read(RECORD_BYTES)
    file.seek(0)
    if first[:2] == b"\x1f\x8b":
        return True
    if looks_like_tar(first):
        return False
    what = next((kind for magic, kind in _OTHER_KINDS if first.startswith(magic)), "no tar archive")
    raise Refusal(f"cannot read {name}: it is {what if first else 'empty'}", remedy=_REMEDY)


def _from_stream(stream: ByteStream, archive: str, order: Unpacking, tell: Tell) -> Contents:
    contents, names = Contents(), Names(archive)
    for member in tar_members(stream, archive, order.limits.members):
        bare = names.take(member.name, is_folder=member.is_folder)
        if member.is_folder:
            continue
        pieces = stream.pieces(member.size, repr(member.name))
        if bare is None or not order.wants(bare):
            contents.left_out.append(bare or member.name)
            for _ in pieces:
                tell()
            continue
        _refuse_size(bare, member.size, archive, order.limits)
        order.make_room(member.size)
        contents.files[bare] = _write(pieces, order.into / f"m{len(contents.files):05}", tell)
    tell()
    return contents


def _from_folder(folder: Path, order: Unpacking) -> Contents:
    contents = Contents()
    found, folders = folder_files(folder, order.limits.members)
    wanted = {name: file for name, file in found.items() if order.wants(name)}
    contents.left_out.extend(sorted([*folders, *(found.keys() - wanted.keys())]))
    for name, file in wanted.items():
        _refuse_size(name, file.size, folder.name, order.limits)
    total, done = sum(file.size for file in wanted.values()), 0

    def tell() -> None:
        order.report(done, total)

    for name in sorted(wanted):
        with open_plainly(folder, wanted[name].entry) as source:
            order.make_room(os.fstat(source.fileno()).st_blocks * 512)
            contents.files[name] = order.into / f"m{len(contents.files):05}"
            for size in copied(source, contents.files[name]):
                done += size
                tell()
    tell()
    return contents


def _refuse_size(name: str, size: int, archive: str, limits: Limits) -> None:
    # One file may hold a whole disk, and a 64th of its size in tables, which is plenty.
    most = limits.disk_bytes * 65 // 64 if name.lower().endswith(".vmdk") else limits.vmx_bytes
    if size > most:
        claim = f"claims {in_words(size)}, the limit is {in_words(most)}"
        raise Refusal(f"cannot take {archive}: its member {name!r} {claim}")


def _write(pieces: Iterator[bytes], path: Path, tell: Tell) -> Path:
    """Write a new file, leaving holes where whole blocks are zero."""
    with path.open("xb", buffering=0) as file:
        at = 0
        for piece in pieces:
            write_sparsely(file.fileno(), piece, at)
            at += len(piece)
            tell()
        file.truncate(at)
    return path

"""The wanted files of an archive or a folder: where they lie, or unpacked under names of our own."""

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

from metier.domain.errors import NoSpace, Refusal
from metier.drivers.formats.api import Limits, Part, Window, in_words, readable
from metier.drivers.formats.archive import zip as zip_form
from metier.drivers.formats.archive.folder import folder_files
from metier.drivers.formats.archive.names import Names
from metier.drivers.formats.archive.proof import Proof
from metier.drivers.formats.archive.sparse import written
from metier.drivers.formats.archive.stream import (
    ByteStream,
    PlacedStream,
    from_bzip2,
    from_xz,
    in_background,
    inflated,
    peeked,
    raw_chunks,
)
from metier.drivers.formats.archive.tar import RECORD_BYTES, first_name, looks_like_tar, tar_members
from metier.drivers.formats.archive.zip import DEFLATED, ZipMember, ZipReader

XVA_FIRST = "ova.xml"
"""The first member of an export of XenServer, which is read where it lies, by a reader of its own."""

_GZIP, _BZIP2, _XZ = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0"
_UNPACKERS: dict[bytes, Callable[[Iterator[bytes], str], Iterator[bytes]]] = {
    _GZIP: inflated,
    _BZIP2: from_bzip2,
    _XZ: from_xz,
}
_REFUSED = {
    b"\x28\xb5\x2f\xfd": ("a zstd file", "unpack it first (zstd -d)"),
    b"7z\xbc\xaf": ("a 7-Zip archive", "unpack it, and import the folder"),
    b"Rar!\x1a\x07": ("a RAR archive", "unpack it, and import the folder"),
    b"MSCF": ("a cabinet archive", "unpack it, and import the folder"),
    b"PK\x05\x06": ("an empty zip archive", ""),
    b"PK\x07\x08": ("one of several volumes of a zip archive", "unpack it, and import the folder"),
}
_ENDINGS = (".gz", ".bz2", ".xz", ".tgz")
_TAR_ENDINGS = (".tar", ".ova", ".tgz", ".tar.gz", ".tar.xz", ".tar.bz2")
_ARCHIVE_ENDINGS = (*_TAR_ENDINGS, ".zip", ".xva")

_REMEDY = "pack the VM's files from inside its folder: tar -zcvf NAME.tgz *.vm*"

# A member without a known end gets its room in pieces of this size.
_ROOM_BYTES = 64 << 20

_TEXT_ENDINGS = (".vmx", ".ovf", ".mf", ".cert", ".xml")


@dataclass(frozen=True, slots=True)
class Contents:
    """What an archive or a folder holds.

    Attributes:
        files: Where each wanted member is, by its bare name, in the archive's order.
        left_out: Bare names of the members that were not wanted.
        proof: Takes the archive's digest and checks its sums; not started yet.
    """

    files: dict[str, Part] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    proof: Proof = field(default_factory=Proof)


@dataclass(frozen=True, slots=True)
class Unpacking:
    """How to unpack what cannot be read where it lies: where to, within which bounds, and whom to ask.

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


def is_archive(path: Path) -> bool:
    """Tell whether `path` is a folder, or an archive of any known kind by its first bytes or its name.

    Raises:
        OSError: It cannot be read.
    """
    if not path.is_file():
        return True  # a folder, or what `contents_of` has words for
    with closing(Part.whole(path.resolve()).open()) as window:
        first = window.read(RECORD_BYTES, 0)
    is_packed = first.startswith((zip_form.MAGIC, *_UNPACKERS, *_REFUSED))
    return is_packed or not first or looks_like_tar(first) or path.name.lower().endswith(_ARCHIVE_ENDINGS)


def contents_of(archive: Path, order: Unpacking) -> Contents:
    """Find the wanted files of `archive`, a tar, packed or not, a zip, one packed file, or a folder.

    What can be read where it lies stays there; a packed member is unpacked.

    Raises:
        Refusal: It cannot be read, is damaged or cut short, or holds what no archive of a VM may.
        NoSpace: There is no room for it.
    """
    try:
        kind = archive.stat().st_mode
        if stat.S_ISDIR(kind):
            return _of_folder(archive, order)
        if stat.S_ISREG(kind):
            # A link that was given is followed; from here on no other takes its place.
            return _of_file(archive.resolve(), readable(os.fsencode(archive.name)), order)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace(
                f"cannot unpack {archive.name}: the disk of the image matrix became full"
            ) from error
        raise Refusal(f"cannot read {archive}: {error.strerror or error}") from error
    raise Refusal(f"cannot read {archive}: it is neither a file nor a folder", remedy=_REMEDY)


def unpacked(part: Part, name: str, order: Unpacking) -> Part:
    """Unpack one file that is packed with gzip.

    Raises:
        Refusal: It is damaged.
        NoSpace: There is no room for it.
    """
    with closing(part.open()) as window, ExitStack() as stack:
        chunks = stack.enter_context(in_background(raw_chunks(window, lambda _: None)))
        stream = ByteStream(inflated(chunks, name), name, order.limits.disk_bytes * 65 // 64)
        number = sum(1 for _ in order.into.iterdir())
        return _one_file(stream, order.into / f"g{number:05}", order, lambda: None)


def _of_folder(folder: Path, order: Unpacking) -> Contents:
    found, folders = folder_files(folder, order.limits.members)
    contents = Contents(left_out=folders)
    for name, part in found.items():
        _place(contents, name, part, order)
    contents.left_out.sort()
    return contents


def _of_file(path: Path, name: str, order: Unpacking) -> Contents:
    whole = Part.whole(path)
    with closing(whole.open()) as window:
        first = window.read(RECORD_BYTES, 0)
        unpack = next((unpack for magic, unpack in _UNPACKERS.items() if first.startswith(magic)), None)
        if unpack is not None:
            return _of_stream(window, name, unpack, order)
        if first.startswith(zip_form.MAGIC):
            return _of_zip(whole, window, name, order)
        if _is_tar(first, name):
            return _of_tar(whole, window, name, order)
    what, remedy = next(
        (known for magic, known in _REFUSED.items() if first.startswith(magic)), ("no tar archive", _REMEDY)
    )
    raise Refusal(f"cannot read {name}: it is {what if first else 'empty'}", remedy=remedy)


def _of_tar(whole: Part, window: Window, name: str, order: Unpacking) -> Contents:
    contents = Contents(proof=Proof(whole))
    if _is_xva(window.read(RECORD_BYTES, 0), order):
        contents.files[name] = whole
        return contents
    stream, names = PlacedStream(window, name), Names(name)
    for member in tar_members(stream, name, order.limits.members):
        bare = names.take(member.name, is_folder=member.is_folder)
        if bare is None and not member.is_folder:
            contents.left_out.append(member.name)
        if bare is not None:
            _place(contents, bare, Part(whole.path, stream.at, member.size), order)
        stream.skip(member.size, repr(member.name))
    return contents


def _of_zip(whole: Part, window: Window, name: str, order: Unpacking) -> Contents:
    contents, names = Contents(proof=Proof(whole)), Names(name)
    wanted: dict[str, ZipMember] = {}
    for member in ZipReader(window, name, order.limits.members).members():
        bare = names.take(member.name, is_folder=member.is_folder)
        if member.is_folder:
            continue
        if bare is None or not order.wants(bare):
            contents.left_out.append(bare or member.name)
            continue
        member.refuse_method(name)
        _refuse_size(bare, member.size, name, order.limits)
        wanted[bare] = member
    if sum(member.size for member in wanted.values()) > order.limits.archive_bytes:
        raise Refusal(f"cannot read {name}: it unpacks to more than {order.limits.archive_bytes} bytes")
    for bare, member in wanted.items():
        part = Part(whole.path, member.at, member.packed_size)
        if member.method == DEFLATED:
            order.make_room(member.size)
            pieces = member.pieces(window, name)
            part = written(
                pieces, _target(order, len(contents.files)), _zip_reporter(member, whole.size, order)
            )
        else:
            contents.proof.expect(part, "crc32", f"{member.crc:08x}", bare)
        contents.files[bare] = part
    return contents


def _zip_reporter(member: ZipMember, total: int, order: Unpacking) -> Callable[[int], None]:
    """Return what turns bytes written of a member into bytes read of the archive."""

    def tell(at: int) -> None:
        order.report(member.at + member.packed_size * at // max(member.size, 1), total)

    return tell


def _of_stream(
    window: Window, name: str, unpack: Callable[[Iterator[bytes], str], Iterator[bytes]], order: Unpacking
) -> Contents:
    digest, done = hashlib.sha256(), 0

    def count(size: int) -> None:
        nonlocal done
        done += size

    def tell() -> None:
        order.report(done, window.size_bytes)

    with ExitStack() as stack:
        chunks = stack.enter_context(in_background(raw_chunks(window, count, digest)))
        chunks = stack.enter_context(in_background(unpack(chunks, name)))
        first, chunks = peeked(chunks, RECORD_BYTES)
        is_tar = _is_tar(first, name)
        if not is_tar and name.lower().endswith(_TAR_ENDINGS):
            raise Refusal(f"cannot read {name}: it is no tar archive", remedy=_REMEDY)
        is_xva = is_tar and _is_xva(first, order)
        if is_tar and not is_xva:
            stream = ByteStream(chunks, name, order.limits.archive_bytes)
            contents = _of_packed_tar(stream, name, order, tell)
        else:
            most = order.limits.archive_bytes if is_xva else order.limits.disk_bytes * 65 // 64
            part = _one_file(ByteStream(chunks, name, most), _target(order, 0), order, tell)
            contents = Contents({_without_ending(name): part})
    return Contents(contents.files, contents.left_out, Proof(digest=digest.hexdigest()))


def _of_packed_tar(stream: ByteStream, name: str, order: Unpacking, tell: Callable[[], None]) -> Contents:
    contents, names = Contents(), Names(name)
    for member in tar_members(stream, name, order.limits.members):
        bare = names.take(member.name, is_folder=member.is_folder)
        if member.is_folder:
            continue
        pieces = stream.pieces(member.size, repr(member.name))
        if bare is None or not order.wants(bare):
            contents.left_out.append(bare or member.name)
            for _ in pieces:
                tell()
            continue
        _refuse_size(bare, member.size, name, order.limits)
        order.make_room(member.size)
        contents.files[bare] = written(pieces, _target(order, len(contents.files)), lambda _: tell())
    tell()
    return contents


def _one_file(stream: ByteStream, target: Path, order: Unpacking, tell: Callable[[], None]) -> Part:
    """Write all that comes into one file, and ask for room as it grows."""
    room = 0

    def grow(at: int) -> None:
        nonlocal room
        tell()
        if at + _ROOM_BYTES // 2 > room:
            order.make_room(_ROOM_BYTES)
            room = at + _ROOM_BYTES

    grow(0)
    return written(stream.rest(), target, grow)


def _place(contents: Contents, name: str, part: Part, order: Unpacking) -> None:
    if order.wants(name):
        _refuse_size(name, part.size, part.path.name, order.limits)
        contents.files[name] = part
    else:
        contents.left_out.append(name)


def _target(order: Unpacking, number: int) -> Path:
    """Return a name of our own for a file."""
    return order.into / f"m{number:05}"


def _is_tar(first: bytes, name: str) -> bool:
    """Tell whether a file that begins so is a tar archive; one without members begins with its end mark."""
    is_empty_tar = len(first) == RECORD_BYTES and not any(first) and name.lower().endswith(_TAR_ENDINGS)
    return looks_like_tar(first) or is_empty_tar


def _is_xva(first: bytes, order: Unpacking) -> bool:
    return first_name(first) == XVA_FIRST and order.wants(XVA_FIRST)


def _without_ending(name: str) -> str:
    return next((name[: -len(ending)] for ending in _ENDINGS if name.lower().endswith(ending)), name)


def _refuse_size(name: str, size: int, archive: str, limits: Limits) -> None:
    # One file may hold a whole disk, and a 64th of its size in tables, which is plenty.
    is_text = name.lower().endswith(_TEXT_ENDINGS)
    most = limits.vmx_bytes if is_text else limits.disk_bytes * 65 // 64
    if size > most:
        claim = f"claims {in_words(size)}, the limit is {in_words(most)}"
        raise Refusal(f"cannot take {archive}: its member {name!r} {claim}")

"""Tar headers, read one by one from a stream: names and sizes, and nothing that allocates by their word."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from metier.domain.errors import Refusal
from metier.drivers.formats.api import readable
from metier.drivers.formats.archive.stream import truncated

RECORD_BYTES = 512

# Names in extension headers; a real one is a few hundred bytes.
_EXTENSION_BYTES = 64 * 1024

# What may follow the end mark: tar fills up its last block, commonly 10 KiB.
_PADDING_BYTES = 64 << 20

_REGULAR = (b"0", b"\0", b"7")
_REFUSED = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"6": "a fifo",
    b"S": "a sparse file",
    b"M": "a part of a multi-volume archive",
}


class Source(Protocol):
    """Where the headers come from: `ByteStream` or `PlacedStream`."""

    def take(self, size: int, what: str) -> bytes: ...

    def at_end(self) -> bool: ...

    def drain(self, most_bytes: int) -> bool: ...


class TarMember(NamedTuple):
    """A regular file or folder in a tar archive; its data must be read before the next one is asked for."""

    name: str
    size: int
    is_folder: bool


def tar_members(stream: Source, archive: str, most_members: int) -> Iterator[TarMember]:
    """Yield the members; the caller reads or skips `size` bytes after each, the padding is skipped here.

    Raises:
        Refusal: Damaged, cut short, too many members, or one that is neither file nor folder.
    """
    extension: dict[str, str] = {}
    count = 0
    while True:
        header = _next_header(stream, archive)
        if header is None:
            break
        count += 1
        if count > most_members:
            raise Refusal(
                f"cannot read {archive}: it has more than {most_members} members, which is the limit"
            )
        kind, size = header[156:157], _number(header[124:136], archive)
        if kind in (b"x", b"g", b"L", b"K"):
            extension.update(_extension(stream, kind, size, archive))
            continue
        name = extension.pop("path", None) or _plain_name(header)
        size = _pax_size(extension.pop("size", None), size, archive)
        if any(key.startswith("GNU.sparse") for key in extension):
            kind = b"S"
        extension.clear()
        _refuse_kind(kind, name, archive)
        is_folder = kind == b"5" or name.endswith("/")
        member = TarMember(name, 0 if is_folder else size, is_folder)
        yield member
        _skip_padding(stream, member.size, name)
    if not stream.drain(_PADDING_BYTES):
        raise Refusal(
            f"cannot read {archive}: more than {_PADDING_BYTES} bytes follow the end of the archive"
        )


def looks_like_tar(first: bytes) -> bool:
    """Tell whether a file that begins with `first` is a tar archive: its first header's checksum holds."""
    return len(first) >= RECORD_BYTES and _checksum_holds(first[:RECORD_BYTES])


def first_name(first: bytes) -> str:
    """Return the name in the first header of a tar archive that begins with `first`."""
    return _plain_name(first[:RECORD_BYTES])


def _next_header(stream: Source, archive: str) -> bytes | None:
    if stream.at_end():
        raise truncated(archive, "it has no end mark")
    header = stream.take(RECORD_BYTES, "a header")
    if not any(header):
        return None
    if not _checksum_holds(header):
        raise Refusal(
            f"cannot read {archive}: a member's header is damaged, or it is no tar archive",
            remedy="make it with: tar -zcvf NAME.tgz *.vm*",
        )
    return header


def _checksum_holds(header: bytes) -> bool:
    text = header[148:156].strip(b" \0")
    try:
        wanted = int(text, 8)
    except ValueError:
        return False
    return wanted == sum(header[:148]) + 8 * ord(" ") + sum(header[156:])


def _number(field: bytes, archive: str) -> int:
    """Return an octal number, or GNU's base-256 one for sizes of 8 GiB and more."""
    if field[0] & 0x80:
        value = int.from_bytes(bytes((field[0] & 0x7F,)) + field[1:], "big")
        negative = field[0] & 0x40
    else:
        text = field.strip(b" \0")
        negative = 0
        try:
            value = int(text or b"0", 8)
        except ValueError as error:
            raise Refusal(f"cannot read {archive}: a member's size is no number") from error
    if negative or value >= 1 << 62 or value < 0:
        raise Refusal(f"cannot read {archive}: a member claims an impossible size")
    return value


def _plain_name(header: bytes) -> str:
    name = header[:100].split(b"\0", 1)[0]
    if header[257:263] == b"ustar\0":
        prefix = header[345:500].split(b"\0", 1)[0]
        name = prefix + b"/" + name if prefix else name
    return readable(name)


def _extension(stream: Source, kind: bytes, size: int, archive: str) -> dict[str, str]:
    if size > _EXTENSION_BYTES:
        raise Refusal(
            f"cannot read {archive}: an extension header claims {size} bytes, the limit is {_EXTENSION_BYTES}"
        )
    data = stream.take(size, "an extension header")
    _skip_padding(stream, size, "an extension header")
    if kind == b"x":
        return _pax_records(data, archive)
    if kind == b"L":
        return {"path": readable(data.split(b"\0", 1)[0])}
    return {}  # a long link name, which is refused with its link; and defaults for all members, not heeded


def _pax_records(data: bytes, archive: str) -> dict[str, str]:
    records = {}
    while data:
        length, blank, _ = data.partition(b" ")
        if not blank or not length.isdigit() or not len(length) + 3 <= int(length[:6]) <= len(data):
            raise Refusal(f"cannot read {archive}: an extension header is damaged")
        record, data = data[len(length) + 1 : int(length) - 1], data[int(length) :]
        key, _, value = record.partition(b"=")
        records[readable(key)] = readable(value)
    return records


def _pax_size(text: str | None, size: int, archive: str) -> int:
    if text is None:
        return size
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise Refusal(f"cannot read {archive}: a member claims the impossible size {text[:40]!r}")
    return int(text)


def _refuse_kind(kind: bytes, name: str, archive: str) -> None:
    if kind in _REGULAR or kind == b"5":
        return
    what = _REFUSED.get(kind, "of an unknown kind")
    remedy = "pack it again without links and devices, from inside the VM's folder: tar -zcvf NAME.tgz *.vm*"
    if kind == b"S":
        remedy = "pack it again without tar's option for sparse files (-S): tar -zcvf NAME.tgz *.vm*"
    raise Refusal(f"cannot take {archive}: its member {name!r} is {what}", remedy=remedy)


def _skip_padding(stream: Source, size: int, name: str) -> None:
    padding = -size % RECORD_BYTES
    if padding:
        stream.take(padding, repr(name))

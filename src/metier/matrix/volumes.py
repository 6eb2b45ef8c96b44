"""Where on a disk its file systems lie: partitions, and logical volumes that are in one piece after another.

What is read is hostile: every number is checked against the disk, every loop has an end.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

SECTOR = 512
_MOST_VOLUMES = 256
_MOST_TEXT = 1 << 20


class Bytes(Protocol):
    """Something that is read anywhere."""

    @property
    def size(self) -> int:
        """Return its length."""

    def read(self, offset: int, size: int) -> bytes:
        """Return what is there; beyond the end there is nothing."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a disk, or several put together: where each lies, and its length."""

    disk: Bytes
    pieces: tuple[tuple[int, int], ...]

    @property
    def size(self) -> int:
        """Return its length."""
        return sum(length for _, length in self.pieces)

    def read(self, offset: int, size: int) -> bytes:
        """Return what is there; beyond the end there is nothing."""
        found = []
        for start, length in self.pieces:
            if size > 0 and offset < length:
                piece = self.disk.read(start + offset, min(size, length - offset))
                found.append(piece)
                size -= len(piece)
                offset += len(piece)
            offset -= length
            if offset < 0:
                break
        return b"".join(found)


@dataclass(frozen=True, slots=True)
class Volume:
    """A place for a file system.

    Attributes:
        form: `ext`, `ntfs`, `fat` or `exfat` where it can be read, else what it is.
        why: Why it cannot be read; empty if it can.
    """

    name: str
    content: Bytes
    form: str = ""
    why: str = ""


def volumes(disk: Bytes, tsk: Any) -> Iterator[Volume]:
    """Yield the volumes of a disk; `tsk` is the pytsk3 module, which knows partition tables."""
    whole = told("whole disk", disk)
    if whole.form:
        yield from _unfolded(whole)
        return
    found = False
    for name, start, length in _partitions(disk, tsk):
        found = True
        yield from _unfolded(told(name, Stretch(disk, ((start, length),))))
    if not found:
        yield whole


def told(name: str, content: Bytes) -> Volume:
    """Say what a volume holds by its first bytes."""
    head = content.read(0, 4096)
    if head[1080:1082] == b"\x53\xef":
        return Volume(name, content, "ext")
    if head[3:11] == b"NTFS    ":
        return Volume(name, content, "ntfs")
    if head[3:11] == b"EXFAT   ":
        return Volume(name, content, "exfat")
    if head[510:512] == b"\x55\xaa" and (head[54:57] == b"FAT" or head[82:87] == b"FAT32"):
        return Volume(name, content, "fat")
    for form, place, magic in _OTHERS:
        if content.read(place, len(magic)) == magic:
            return Volume(name, content, form, f"Metier cannot read the files of {form}")
    return Volume(name, content, "", "no file system that Metier knows is on it")


_OTHERS = (
    ("XFS", 0, b"XFSB"),
    ("LUKS", 0, b"LUKS\xba\xbe"),
    ("BitLocker", 3, b"-FVE-FS-"),
    ("LVM", 512, b"LABELONE"),
    ("swap", 4086, b"SWAPSPACE2"),
    ("Btrfs", 65536 + 64, b"_BHRfS_M"),
    ("ISO 9660", 32769, b"CD001"),
)


def _partitions(disk: Bytes, tsk: Any) -> Iterator[tuple[str, int, int]]:
    """Yield name, start and length of the partitions of a GPT or an MBR, in the table's order."""
    is_gpt = disk.read(SECTOR, 8) == b"EFI PART"
    if not is_gpt and disk.read(510, 2) != b"\x55\xaa":
        return
    kind = tsk.TSK_VS_TYPE_GPT if is_gpt else tsk.TSK_VS_TYPE_DOS
    try:
        table = tsk.Volume_Info(tsk_image(tsk, disk), kind)
    except OSError:
        return
    number = 0
    for part in table:
        if int(part.flags) != int(tsk.TSK_VS_PART_FLAG_ALLOC):
            continue
        number += 1
        start, length = part.start * SECTOR, part.len * SECTOR
        if number <= _MOST_VOLUMES and 0 <= start < disk.size and length > 0:
            yield f"partition {number}", start, min(length, disk.size - start)


def tsk_image(tsk: Any, content: Bytes) -> Any:
    """Return bytes as the Sleuth Kit reads them."""

    class Image(tsk.Img_Info):  # type: ignore[misc]  # the module has no types
        def __init__(self) -> None:
            super().__init__(url="", type=tsk.TSK_IMG_TYPE_EXTERNAL)

        def read(self, offset: int, size: int) -> bytes:
            return content.read(offset, size)

        def get_size(self) -> int:
            return content.size

        def close(self) -> None:
            return None

    return Image()


# --- logical volumes -----------------------------------------------------------


def _unfolded(volume: Volume) -> Iterator[Volume]:
    """Yield a volume, or those within it if it is a physical volume of LVM that we can follow."""
    if volume.form != "LVM":
        yield volume
        return
    try:
        found = list(_logical(volume))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        found = []
    yield from found or [volume]


def _logical(volume: Volume) -> Iterator[Volume]:
    groups = parse_text(_metadata(volume.content))
    for group_name, group in groups.items():
        if not isinstance(group, dict) or "logical_volumes" not in group:
            continue
        extent = int(group["extent_size"]) * SECTOR
        starts = {name: int(pv["pe_start"]) * SECTOR for name, pv in group["physical_volumes"].items()}
        for name, logical in list(group["logical_volumes"].items())[:_MOST_VOLUMES]:
            title = f"{volume.name}, {group_name}/{name}"
            if len(starts) > 1:
                yield Volume(title, volume.content, "LVM", "its volume group has more than one disk")
                continue
            pieces = _pieces(logical, starts, extent)
            if pieces is None:
                yield Volume(
                    title, volume.content, "LVM", "its segments are of a kind that Metier cannot read"
                )
            else:
                yield told(title, Stretch(volume.content, pieces))


def _pieces(
    logical: dict[str, Any], starts: dict[str, int], extent: int
) -> tuple[tuple[int, int], ...] | None:
    """Return where the segments of a logical volume lie; None if they are not one after the other."""
    segments = [
        part for name, part in logical.items() if name.startswith("segment") and isinstance(part, dict)
    ]
    pieces, expected = [], 0
    for segment in sorted(segments, key=lambda part: int(part["start_extent"])):
        if segment["type"] != "striped" or int(segment["stripe_count"]) != 1:
            return None
        if int(segment["start_extent"]) != expected:
            return None
        expected += int(segment["extent_count"])
        disk, first = segment["stripes"]
        pieces.append((starts[disk] + int(first) * extent, int(segment["extent_count"]) * extent))
    return tuple(pieces)


def _metadata(content: Bytes) -> str:
    """Return the text of a physical volume's metadata."""
    label = content.read(SECTOR, SECTOR)
    place = SECTOR + int.from_bytes(label[20:24], "little")
    header = content.read(place, SECTOR)
    at = 40
    while int.from_bytes(header[at : at + 8], "little"):  # the data areas, up to an empty one
        at += 16
    at += 16
    area = int.from_bytes(header[at : at + 8], "little")
    length = int.from_bytes(header[at + 8 : at + 16], "little")
    front = content.read(area, SECTOR)
    if front[4:20] != b" LVM2 x[5A%r0N*>":
        raise ValueError("no metadata")
    offset, size = int.from_bytes(front[40:48], "little"), int.from_bytes(front[48:56], "little")
    if not 0 < size <= _MOST_TEXT or not SECTOR <= offset < length:
        raise ValueError("metadata outside its area")
    text = content.read(area + offset, min(size, length - offset))
    text += content.read(area + SECTOR, size - len(text))  # it goes on at the area's beginning
    return text.decode("utf-8", "replace")


def parse_text(text: str) -> dict[str, Any]:
    """Parse LVM's own text: `name { … }`, `name = value`, `name = [ … ]`.

    Raises:
        ValueError: It is no such text.
    """
    return _section(_Words(text), is_inner=False)


class _Words:
    """The words of the text, one by one."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0

    def next(self) -> str:
        """Return the next word or sign; a string keeps its first quote; empty at the end."""
        text, at = self._text, self._at
        while at < len(text) and (text[at].isspace() or text[at] in "#\0,"):
            at = (text.find("\n", at) + 1 or len(text)) if text[at] == "#" else at + 1
        start = at
        if at < len(text) and text[at] == '"':
            end = text.find('"', at + 1)
            while end > 0 and text[end - 1] == "\\":
                end = text.find('"', end + 1)
            if end < 0:
                raise ValueError("a string without end")
            self._at = end + 1
            return text[start:end]
        if at < len(text) and text[at] in "{}[]=":
            self._at = at + 1
            return text[at]
        while at < len(text) and not text[at].isspace() and text[at] not in '{}[]=,"#\0':
            at += 1
        self._at = at
        return text[start:at]


def _section(words: _Words, *, is_inner: bool, depth: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = {}
    while (name := words.next()) and name != "}":
        sign = words.next()
        if sign == "{" and depth < 8:
            found[name] = _section(words, is_inner=True, depth=depth + 1)
        elif sign == "=":
            found[name] = _value(words)
        else:
            raise ValueError(f"{name} is followed by neither a section nor a value")
    if is_inner and name != "}":
        raise ValueError("a section without end")
    return found


def _value(words: _Words) -> str | Sequence[str]:
    word = words.next()
    if word != "[":
        return word.removeprefix('"')
    found = []
    while (word := words.next()) and word != "]":
        found.append(word.removeprefix('"'))
    return found

"""Opens a disk from outside, whatever it is in: its content tells, never its name."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import PurePath

from metier.domain.errors import Refusal
from metier.drivers.formats import qcow2, vhd, vhdx, vmdk
from metier.drivers.formats.api import Limits, Part, SourceDisk, Window
from metier.drivers.formats.qcow2.header import MAGIC as QCOW2_MAGIC
from metier.drivers.formats.raw import RawDisk

_RAW_SUFFIXES = (".raw", ".img")
"""What a file without any sign of its form must be called to be taken for a flat disk."""

_FORM_OF_SUFFIX = {
    ".qcow2": "qcow2",
    ".vmdk": "vmdk",
    ".vhd": "vhd",
    ".vhdx": "vhdx",
    # Not `.img`: those that publish images for clouds call qcow2 disks so too.
    ".raw": "raw",
}

_LOOKED_AT_BYTES = 512


@dataclass(frozen=True, slots=True)
class _Stranger:
    """A form that is known and not taken.

    Attributes:
        remedy: What to do now; `{file}` stands for the disk's name.
    """

    magic: bytes
    what: str
    remedy: str
    at: int = 0


_CONVERT = "convert it where it came from: qemu-img convert -O qcow2 {file} disk.qcow2"
_UNPACK = "unpack it first"
_ARCHIVE = "import the archive itself, or unpack it first"
_STRANGERS = (
    _Stranger(b"\x7f\x10\xda\xbe", "a VDI disk of VirtualBox", _CONVERT, 64),
    _Stranger(b"QED\0", "a QED disk", _CONVERT),
    _Stranger(b"WithoutFreeSpace", "a disk of Parallels", _CONVERT),
    _Stranger(b"WithouFreSpacExt", "a disk of Parallels", _CONVERT),
    _Stranger(b"Bochs Virtual HD Image", "a disk of Bochs", _CONVERT),
    _Stranger(b"LUKS\xba\xbe", "encrypted (LUKS)", "decrypt it where its key is, and import the plain disk"),
    _Stranger(b"\x1f\x8b", "compressed (gzip)", _UNPACK),
    _Stranger(b"\xfd7zXZ\0", "compressed (xz)", _UNPACK),
    _Stranger(b"BZh", "compressed (bzip2)", _UNPACK),
    _Stranger(b"\x28\xb5\x2f\xfd", "compressed (zstd)", _UNPACK),
    _Stranger(b"PK\x03\x04", "a zip archive", _ARCHIVE),
    _Stranger(b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    _Stranger(b"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    _Stranger(b"ustar", "a tar archive", _ARCHIVE, 257),
    _Stranger(
        b"CD001",
        "an ISO medium, no disk",
        "install a VM from it, and import that VM's disk",
        32769,
    ),
    _Stranger(b"\x7fELF", "a program or kernel", "name the disk of a VM"),
    _Stranger(b"MSWIM\0\0\0", "a Windows image file (WIM)", "install a VM from it, and import its disk"),
    _Stranger(b"hsqs", "a squashfs file system, no disk", "name the disk of a VM"),
)


def open_source(name: str, parts: Mapping[str, Part], limits: Limits) -> SourceDisk:
    """Open the disk of a name; `parts` has every file that it may consist of, by bare name.

    The caller closes it.  What it claims is within `limits`; its tables are not yet checked,
    see `room_bytes`.

    Raises:
        Refusal: It is in no form that can be taken, its name says another one, or it is damaged.
        OSError: It cannot be opened.
    """
    window = parts[name].open()
    with ExitStack() as stack:
        stack.callback(window.close)
        form = _form(window, name)
        if form == "vmdk":
            return vmdk.open_disk(name, parts, limits)
        stack.pop_all()
    return _OPENERS[form](window, name, limits)


def _form(window: Window, name: str) -> str:
    """Tell the form by the content; what the name says may not contradict."""
    found = _form_by_content(window, name)
    suffix = PurePath(name).suffix.lower()
    if not found:
        _refuse_strangers(window, name)
        if suffix not in _RAW_SUFFIXES:
            raise Refusal(
                f"cannot use {name}: nothing in it tells what form of disk it is",
                remedy="copy it again; if it is a flat disk, call it NAME.raw",
            )
        return "raw"
    said = _FORM_OF_SUFFIX.get(suffix, found)
    if said != found:
        raise Refusal(
            f"cannot use {name}: its name says {said}, and its content {found}",
            remedy=f"find out what it is; if it is a {found} disk, call it NAME.{found}",
        )
    return found


def _form_by_content(window: Window, name: str) -> str:
    first = window.read(_LOOKED_AT_BYTES, 0)
    if first.startswith(QCOW2_MAGIC):
        if first[4:8] == b"\0\0\0\1":
            raise Refusal(
                f"cannot use {name}: it is a qcow disk of version 1", remedy=_remedy(_CONVERT, name)
            )
        return "qcow2"
    if first.startswith(vhdx.MAGIC):
        return "vhdx"
    if first.startswith(vhd.MAGIC) or vhd.find_footer(window):
        return "vhd"
    if first.startswith((b"KDMV", b"COWD")) or first.lstrip().lower().startswith(b"# disk descriptorfile"):
        return "vmdk"
    return ""


def _refuse_strangers(window: Window, name: str) -> None:
    for stranger in _STRANGERS:
        if window.read(len(stranger.magic), stranger.at) == stranger.magic:
            raise Refusal(f"cannot use {name}: it is {stranger.what}", remedy=_remedy(stranger.remedy, name))


def _remedy(text: str, name: str) -> str:
    return text.replace("{file}", name)


def _open_qcow2(window: Window, name: str, limits: Limits) -> SourceDisk:
    return qcow2.Qcow2Disk(window, name, limits=limits)


# Each takes over the window.
_OPENERS: dict[str, Callable[[Window, str, Limits], SourceDisk]] = {
    "qcow2": _open_qcow2,
    "vhd": vhd.open_vhd,
    "vhdx": vhdx.open_vhdx,
    "raw": RawDisk,
}

"""Lists the files of a stored disk: a program by itself, fenced in, for what it reads is hostile.

    python -m metier.matrix.file_walk '{"disk": 3, "base": 4}'

The numbers are open files.  It writes a JSON array a line: ["volume", …] and ["file", …]
in any order, and last ["end"].  Before the first byte of the disk is looked at, it gives up
its rights: it can open no file, no socket and start no program any more, and may use no
more time and memory than said here.
"""

import ctypes
import json
import os
import platform
import resource
import signal
import stat
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import lru_cache
from importlib import import_module
from typing import Any

from metier.drivers.formats.api import BLOCK_BYTES, ZERO_BLOCK, BlockReader, Window
from metier.drivers.formats.qcow2.reader import Qcow2Disk
from metier.matrix.volumes import Volume, tsk_image, volumes

CPU_S = 600
_MEMORY_BYTES = 2 << 30
_CACHED_BLOCKS = 512
_MOST_FILES = 5_000_000
_MOST_DEPTH = 200
_MOST_PATH = 8192
_NOBODY = 65534

READER = "pytsk3"
"""The package that knows file systems."""


def main(argument: str) -> int:
    """List the files; returns the exit status."""
    given = json.loads(argument)
    tsk: Any = import_module(READER)
    fence_in()
    with ExitStack() as opened:
        base = None
        if given.get("base") is not None:
            base = opened.enter_context(closing(Qcow2Disk(_window(given["base"]), "base")))
        disk = opened.enter_context(closing(Qcow2Disk(_window(given["disk"]), "disk", base)))
        for number, volume in enumerate(volumes(DiskBytes(disk), tsk)):
            _tell("volume", number, volume.name, volume.form, volume.content.size, volume.why)
            if not volume.why:
                _list_safely(number, volume, tsk)
    _tell("end")
    sys.stdout.flush()
    return 0


def _window(descriptor: int) -> Window:
    return Window(descriptor, 0, os.fstat(descriptor).st_size)


class DiskBytes:
    """A disk read at any place; keeps `volumes.Bytes`."""

    def __init__(self, disk: BlockReader) -> None:
        self.size = disk.capacity_bytes

        @lru_cache(_CACHED_BLOCKS)
        def block(number: int) -> bytes:
            return next((content for _, content in disk.blocks(number, number + 1)), ZERO_BLOCK)

        self._block: Callable[[int], bytes] = block

    def read(self, offset: int, size: int) -> bytes:
        """Return what is there; beyond the end there is nothing."""
        if offset < 0:
            return b""
        size = min(size, self.size - offset)
        found = []
        while size > 0:
            within = offset % BLOCK_BYTES
            piece = self._block(offset // BLOCK_BYTES)[within : within + size]
            found.append(piece)
            offset += len(piece)
            size -= len(piece)
        return b"".join(found)


def _list_safely(number: int, volume: Volume, tsk: Any) -> None:
    """List a volume; where it cannot be read further, say so as one more word on the volume."""
    kinds = {"ext": "EXT_DETECT", "ntfs": "NTFS", "fat": "FAT_DETECT", "exfat": "EXFAT"}
    try:
        kind = getattr(tsk, f"TSK_FS_TYPE_{kinds[volume.form]}")
        system = tsk.FS_Info(tsk_image(tsk, volume.content), 0, kind)
        for fields in files(system, tsk):
            _tell("file", number, *fields)
    except OSError as error:
        _tell("trouble", number, f"it cannot be read: {str(error).splitlines()[0][:200]}")


def files(system: Any, tsk: Any) -> Iterator[tuple[Any, ...]]:
    """Yield path, type, size, times, mode, owners, inode and link target of everything in a file system.

    Raises:
        OSError: It is damaged, or has more files or deeper folders than is accepted.
    """
    root = int(system.info.root_inum)
    waiting, seen, count = [(root, "", 0)], {root}, 0
    while waiting:
        inode, folder, depth = waiting.pop()
        for entry in _entries(system, inode):
            found = _fields(entry, folder, tsk)
            if found is None:
                continue
            count += 1
            path, number = found[0], found[8]
            if count > _MOST_FILES or depth > _MOST_DEPTH or len(path) > _MOST_PATH:
                raise OSError("more files, deeper folders or longer names than are accepted")
            yield found
            if found[1] == "folder" and number not in seen:
                seen.add(number)
                waiting.append((number, path, depth + 1))


def _entries(system: Any, inode: int) -> Iterator[Any]:
    yield from system.open_dir(inode=inode)


_TYPES = (
    ("TSK_FS_META_TYPE_REG", "file"),
    ("TSK_FS_META_TYPE_DIR", "folder"),
    ("TSK_FS_META_TYPE_LNK", "link"),
    ("TSK_FS_META_TYPE_CHR", "character device"),
    ("TSK_FS_META_TYPE_BLK", "block device"),
    ("TSK_FS_META_TYPE_FIFO", "pipe"),
    ("TSK_FS_META_TYPE_SOCK", "socket"),
)


def _fields(entry: Any, folder: str, tsk: Any) -> tuple[Any, ...] | None:
    """Return the fields of an entry; None for one that is deleted, or is the folder itself or its parent."""
    meta, name = entry.info.meta, entry.info.name
    if meta is None or name is None or int(name.flags) & int(tsk.TSK_FS_NAME_FLAG_UNALLOC):
        return None
    raw = bytes(name.name)
    kind = next((word for flag, word in _TYPES if int(getattr(tsk, flag)) == int(meta.type)), "")
    if raw in (b".", b"..") or not kind:
        return None
    link = meta.link if kind == "link" else None
    return (
        f"{folder}/{_text(raw)}",
        kind,
        int(meta.size),
        f"{int(meta.mtime)}.{int(meta.mtime_nano):09d}",
        f"{int(meta.ctime)}.{int(meta.ctime_nano):09d}",
        stat.S_IMODE(int(meta.mode)),
        int(meta.uid),
        int(meta.gid),
        int(meta.addr),
        _text(bytes(link))[:_MOST_PATH] if isinstance(link, bytes) else str(link or ""),
    )


def _text(raw: bytes) -> str:
    """Return a name as text without signs that steer anything; no two names become the same."""
    text = raw.decode("utf-8", "surrogateescape").replace("\\", "\\\\")
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in text)


def _escaped(letter: str) -> str:
    code = ord(letter)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    # Not by the codec of that name: it would be looked for in files, and none can be opened any more.
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _tell(*fields: object) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")


# --- the fence -------------------------------------------------------------------

_DENIED = {
    # open, socket, connect, clone, fork, vfork, execve, kill, ptrace, tkill, tgkill, openat, execveat,
    # process_vm_writev, pidfd_open, io_uring_setup, clone3, openat2
    "x86_64": (0xC000003E, (2, 41, 42, 56, 57, 58, 59, 62, 101, 200, 234, 257, 322, 311, 434, 425, 435, 437)),
    "aarch64": (0xC00000B7, (56, 198, 203, 220, 221, 129, 117, 130, 131, 281, 271, 434, 425, 435, 437)),
}
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000 | 1, 0x80000000
_SET_NO_NEW_PRIVILEGES, _SET_SECCOMP, _FILTER = 38, 22, 2


def fence_in() -> None:
    """Give up rights, for good; what cannot be given up ends the program.

    Raises:
        OSError: The kernel would not.
    """
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    for what, most in (
        (resource.RLIMIT_CPU, CPU_S),
        (resource.RLIMIT_AS, _MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    library = ctypes.CDLL(None, use_errno=True)
    _checked(library.prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0))
    program = _filter(platform.machine())
    buffer = ctypes.create_string_buffer(program, len(program))
    described = struct.pack("@HxxxxxxP", len(program) // 8, ctypes.addressof(buffer))
    _checked(library.prctl(_SET_SECCOMP, _FILTER, ctypes.c_char_p(described), 0, 0))


def _checked(status: int) -> None:
    if status:
        raise OSError(ctypes.get_errno(), "the kernel does not let this program give up its rights")


def _filter(machine: str) -> bytes:
    """Return a program for the kernel: refuse the calls that would reach beyond what is open."""
    if machine not in _DENIED:
        raise OSError(f"Metier knows no fence for {machine}")
    architecture, denied = _DENIED[machine]
    load_architecture, load_number = _step(0x20, 4), _step(0x20, 0)
    steps = [load_architecture, _step(0x15, architecture, 1, 0), _step(0x06, _KILL), load_number]
    steps += [_step(0x35, 0x40000000, 0, 1), _step(0x06, _KILL)]  # another way to the same calls
    for number in denied:
        steps += [_step(0x15, number, 0, 1), _step(0x06, _REFUSE)]
    return b"".join([*steps, _step(0x06, _ALLOW)])


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))

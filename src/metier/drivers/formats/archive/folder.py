"""A folder given in place of an archive: its plain files, and no link followed."""

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from metier.domain.errors import Refusal
from metier.drivers.formats.api import readable
from metier.drivers.formats.archive.names import Names
from metier.drivers.formats.archive.sparse import data_ranges, write_sparsely

_PIECE_BYTES = 4 << 20

# What the kernel answers when two files lie where it cannot copy between them by itself.
_CANNOT_COPY = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF)


class FolderFile(NamedTuple):
    """A plain file: its name as the system knows it, and its size."""

    entry: str
    size: int


def folder_files(folder: Path, most: int) -> tuple[dict[str, FolderFile], list[str]]:
    """Return the plain files in `folder` by readable name, and the names of the folders in it.

    Raises:
        Refusal: It holds a link, a device, a fifo or a socket, or more than `most` entries.
    """
    found: dict[str, FolderFile] = {}
    folders, names = [], Names(folder.name)
    with os.scandir(folder) as entries:
        for count, entry in enumerate(entries, 1):
            if count > most:
                raise Refusal(f"cannot take {folder}: it has more than {most} entries, which is the limit")
            status = entry.stat(follow_symlinks=False)
            name = readable(os.fsencode(entry.name))
            if stat.S_ISDIR(status.st_mode):
                folders.append(name)
                continue
            _refuse_kind(status.st_mode, folder, entry.name)
            if (bare := names.take(name)) is not None:
                found[bare] = FolderFile(entry.name, status.st_size)
    return found, folders


def open_plainly(folder: Path, name: str) -> BinaryIO:
    """Open a file of `folder`, refusing whatever is not, or is no longer, a plain file.

    Raises:
        Refusal: It is a link or no plain file.
    """
    path = folder / name
    _refuse_kind(path.lstat().st_mode, folder, name)
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    file = os.fdopen(descriptor, "rb", buffering=0)
    try:
        _refuse_kind(os.fstat(descriptor).st_mode, folder, name)
    except Refusal:
        file.close()
        raise
    return file


def copied(source: BinaryIO, target: Path) -> Iterator[int]:
    """Copy a file into a new one, holes as holes; yields the size of each piece done, holes included.

    Where the file system can share blocks between files, nothing is copied at all.

    Raises:
        Refusal: It became shorter meanwhile.
    """
    size, at = os.fstat(source.fileno()).st_size, 0
    with target.open("xb", buffering=0) as file:
        for begin, end in data_ranges(source.fileno(), size):
            yield begin - at
            at = begin
            while at < end:
                done = _copy_piece(source.fileno(), file.fileno(), at, min(_PIECE_BYTES, end - at))
                if not done:
                    raise Refusal(f"cannot read {source.name}: it became shorter while it was read")
                at += done
                yield done
        file.truncate(size)
        yield size - at


def _copy_piece(source: int, target: int, at: int, size: int) -> int:
    try:
        return os.copy_file_range(source, target, size, at, at)
    except OSError as error:
        if error.errno not in _CANNOT_COPY:
            raise
    piece = os.pread(source, size, at)
    write_sparsely(target, piece, at)
    return len(piece)


def _refuse_kind(mode: int, folder: Path, name: str) -> None:
    if stat.S_ISREG(mode):
        return
    what = "a symbolic link" if stat.S_ISLNK(mode) else "no plain file"
    remedy = "put copies of the VM's files into a folder of their own"
    raise Refusal(f"cannot take {folder}: {name!r} is {what}", remedy=remedy)

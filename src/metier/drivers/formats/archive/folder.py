"""A folder given in place of an archive: its plain files, where they are, and no link followed."""

import os
import stat
from pathlib import Path

from metier.domain.errors import Refusal
from metier.drivers.formats.api import Part, readable
from metier.drivers.formats.archive.names import Names


def folder_files(folder: Path, most: int) -> tuple[dict[str, Part], list[str]]:
    """Return the plain files in `folder` by readable name, and the names of the folders in it.

    Raises:
        Refusal: It holds a link, a device, a fifo or a socket, or more than `most` entries.
    """
    found: dict[str, Part] = {}
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
            _refuse_kind(status.st_mode, folder, name)
            if (bare := names.take(name)) is not None:
                found[bare] = Part(folder / entry.name, 0, status.st_size)
    return dict(sorted(found.items())), sorted(folders)


def _refuse_kind(mode: int, folder: Path, name: str) -> None:
    if stat.S_ISREG(mode):
        return
    what = "a symbolic link" if stat.S_ISLNK(mode) else "no plain file"
    remedy = "put copies of the VM's files into a folder of their own"
    raise Refusal(f"cannot take {folder}: {name!r} is {what}", remedy=remedy)

"""The guest's memory file system: BusyBox, the kernel modules and our start script, as one cpio archive.

Written here rather than by the `cpio` program, so that it needs no root (device
nodes) and is the same bytes for the same input.
"""

import gzip
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path, PurePosixPath

from metier.lab.commands import find_program
from metier.lab.errors import LabError
from metier.lab.kernel import GuestKernel, ModuleSet, alias_lines, read_module

DIRECTORY, FILE, LINK, CHARACTER_DEVICE = 0o040755, 0o100644, 0o120777, 0o020600
PROGRAM = 0o100755

# The console must exist before the start script can mount /dev.
CONSOLE_DEVICE = (5, 1)

# A dynamic program names its loader near its start.
INTERPRETER_WITHIN = 4096

APPLETS = (
    "acpid arping awk cat cmp cp cut echo findfs grep head hostname httpd ip kill ln mkdir modprobe mount"
    " poweroff printf ps sed sh sleep sort sync udhcpc umount usleep wget xargs"
)
FOLDERS = ("bin", "dev", "etc", "mnt", "proc", "run", "sys", "tmp", "var/log", "var/run", "www")
SCRIPTS = {
    "init": "init",
    "etc/netconfig.awk": "netconfig.awk",
    "etc/dhcp-event": "dhcp-event",
    # Where BusyBox's acpid looks for the power button's program.
    "etc/acpi/PWRF/00000080": "power-button",
    "www/cgi-bin/note": "note",
    "www/cgi-bin/shutdown": "shutdown",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One member of the archive.

    Attributes:
        path: Where it appears, without a leading slash.
        mode: Kind and permissions, as in `stat`.
        data: Content of a file, target of a link.
        device: Major and minor number of a device.
    """

    path: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def cpio(entries: Iterable[Entry]) -> bytes:
    """Return the archive in the `newc` form that the kernel unpacks."""
    archive = bytearray()
    for number, entry in enumerate([*entries, Entry("TRAILER!!!", 0)], start=1):
        archive += member(number, entry)
    return bytes(archive)


def member(number: int, entry: Entry) -> bytes:
    """Return one member: header, name and data, each padded to four bytes."""
    name = entry.path.encode() + b"\0"
    links = 2 if entry.mode == DIRECTORY else 1
    fields = (number, entry.mode, 0, 0, links, 0, len(entry.data), 0, 0, *entry.device, len(name), 0)
    header = b"070701" + b"".join(b"%08x" % field for field in fields)
    return padded(header + name) + padded(entry.data)


def padded(data: bytes) -> bytes:
    """Return `data` filled up with zeros to a multiple of four bytes."""
    return data + bytes(-len(data) % 4)


def with_folders(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Yield the entries, each after the folders that it lies in."""
    made: set[str] = set()
    for entry in entries:
        for parent in reversed(PurePosixPath(entry.path).parents[:-1]):
            if str(parent) not in made:
                made.add(str(parent))
                yield Entry(str(parent), DIRECTORY)
        if entry.mode != DIRECTORY or entry.path not in made:
            made.add(entry.path)
            yield entry


def build_initramfs(kernel: GuestKernel, modules: ModuleSet) -> bytes:
    """Return the compressed initramfs of a lab guest."""
    entries = [
        *(Entry(folder, DIRECTORY) for folder in FOLDERS),
        Entry("dev/console", CHARACTER_DEVICE, device=CONSOLE_DEVICE),
        *program_entries(static_program(kernel.busybox or Path(find_program("busybox")))),
        *(Entry(path, PROGRAM, script(name)) for path, name in SCRIPTS.items()),
        *module_entries(kernel, modules),
    ]
    return gzip.compress(cpio(with_folders(entries)), compresslevel=9, mtime=0)


def static_program(path: Path) -> bytes:
    """Return a program that needs no libraries.

    Raises:
        LabError: It needs some, so that the guest could not start it.
    """
    program = path.read_bytes()
    if b"/ld-linux" in program[:INTERPRETER_WITHIN]:
        message = f"cannot put {path} into the guest: it needs libraries"
        raise LabError(
            message, remedy="install busybox-static, or unpack it as bin/busybox beside the kernel"
        )
    return program


def program_entries(busybox: bytes) -> list[Entry]:
    """Return BusyBox and the names under which the start script calls it."""
    links = [Entry(f"bin/{applet}", LINK, b"busybox") for applet in APPLETS.split()]
    return [Entry("bin/busybox", PROGRAM, busybox), *links]


def script(name: str) -> bytes:
    """Return one of the guest's own files, which ship beside this module."""
    return (resources.files("metier.lab") / "guest_files" / name).read_bytes()


def module_entries(kernel: GuestKernel, modules: ModuleSet) -> list[Entry]:
    """Return the kernel modules with an index that leads from hardware to them."""
    folder = f"lib/modules/{kernel.release}"
    needs = {
        line.partition(":")[0]: line for line in (kernel.modules / "modules.dep").read_text().splitlines()
    }
    index = "\n".join(needs[file] for file in modules.files) + "\n"
    aliases = "\n".join(alias_lines(kernel, modules.files)) + "\n"
    plain = [(file.removesuffix(".xz"), read_module(kernel, file)) for file in modules.files]
    return [
        *(Entry(f"{folder}/{file}", FILE, data) for file, data in plain),
        Entry(f"{folder}/modules.dep", FILE, index.replace(".ko.xz", ".ko").encode()),
        Entry(f"{folder}/modules.alias", FILE, aliases.encode()),
    ]

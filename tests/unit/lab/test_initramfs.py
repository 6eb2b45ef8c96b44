"""The guest's memory file system, byte for byte."""

from pathlib import Path

import pytest

from metier.lab.errors import LabError
from metier.lab.initramfs import (
    CHARACTER_DEVICE,
    DIRECTORY,
    FILE,
    LINK,
    SCRIPTS,
    Entry,
    cpio,
    program_entries,
    script,
    static_program,
    with_folders,
)


def members(archive: bytes) -> list[tuple[str, int, bytes]]:
    """Return (path, mode, data) of each member of a `newc` archive, read by its published layout."""
    found: list[tuple[str, int, bytes]] = []
    at = 0
    while True:
        assert archive[at : at + 6] == b"070701"
        fields = [int(archive[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        name_end = at + 110 + fields[11]
        name = archive[at + 110 : name_end - 1].decode()
        data_at = (name_end + 3) // 4 * 4
        data = archive[data_at : data_at + fields[6]]
        at = (data_at + fields[6] + 3) // 4 * 4
        if name == "TRAILER!!!":
            assert at == len(archive)
            return found
        found.append((name, fields[1], data))


def test_the_archive_says_what_was_put_in() -> None:
    entries = [
        Entry("bin", DIRECTORY),
        Entry("bin/a", FILE, b"12345"),
        Entry("bin/b", LINK, b"a"),
        Entry("dev/console", CHARACTER_DEVICE, device=(5, 1)),
    ]
    assert members(cpio(entries)) == [(entry.path, entry.mode, entry.data) for entry in entries]


def test_device_numbers_stand_in_their_fields() -> None:
    archive = cpio([Entry("dev/console", CHARACTER_DEVICE, device=(5, 1))])
    assert archive[6 + 8 * 9 : 6 + 8 * 11] == b"00000005" + b"00000001"


def test_folders_come_before_what_lies_in_them_and_once() -> None:
    entries = [Entry("lib/modules/x.ko", FILE), Entry("lib/modules", DIRECTORY), Entry("lib/y", FILE)]
    paths = [entry.path for entry in with_folders(entries)]
    assert paths == ["lib", "lib/modules", "lib/modules/x.ko", "lib/y"]


def test_every_command_of_the_scripts_is_in_the_guest() -> None:
    names = {entry.path.removeprefix("bin/") for entry in program_entries(b"")}
    text = "\n".join(script(name).decode() for name in SCRIPTS.values())
    for command in ("awk", "cut", "findfs", "httpd", "ln", "modprobe", "udhcpc", "arping", "usleep", "acpid"):
        assert command in text
        assert command in names


def test_a_program_that_needs_libraries_is_refused(tmp_path: Path) -> None:
    program = tmp_path / "busybox"
    program.write_bytes(b"\x7fELF" + bytes(500) + b"/lib64/ld-linux-x86-64.so.2\0")
    with pytest.raises(LabError, match="it needs libraries"):
        static_program(program)
    program.write_bytes(b"\x7fELF" + bytes(5000))
    assert static_program(program) == program.read_bytes()

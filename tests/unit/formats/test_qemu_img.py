"""Running qemu-img: within limits, and its words passed on."""

import os
import sys
from pathlib import Path

import pytest

from metier.domain.errors import NoSpace, Refusal
from metier.drivers.formats.qemu_img import QemuImg


def program(folder: Path, script: str) -> QemuImg:
    """Return a stand-in for qemu-img that does what a shell script says."""
    path = folder / "qemu-img"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return QemuImg(str(path))


def silent(part: float) -> None:
    """Be alive and say nothing."""


def convert(folder: Path, script: str) -> None:
    program(folder, script).convert(folder / "disk", folder / "target", 1 << 20, silent)


def test_its_words_become_a_refusal_without_our_folders(tmp_path: Path) -> None:
    with pytest.raises(Refusal) as caught:
        convert(tmp_path, f"echo \"qemu-img: Could not open '{tmp_path}/m00001': broken\" >&2; exit 1")
    assert "qemu-img convert says: qemu-img: Could not open '/m00001': broken" in caught.value.message


def test_its_silence_becomes_a_refusal_with_the_status(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="it ended with status 3"):
        convert(tmp_path, "exit 3")


def test_a_full_disk_is_told_from_other_failures(tmp_path: Path) -> None:
    with pytest.raises(NoSpace):
        convert(tmp_path, "echo 'error while writing at byte 0: No space left on device' >&2; exit 1")


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(Refusal) as caught:
        QemuImg(str(tmp_path / "nowhere")).convert(tmp_path / "disk", tmp_path / "target", 1, silent)
    assert "it is not installed" in caught.value.message
    assert "qemu-utils" in caught.value.remedy


def test_it_runs_within_limits(tmp_path: Path) -> None:
    convert(tmp_path, f"ulimit -v -t -f -c -S > {tmp_path}/limits; cd /proc/self; pwd")
    limits = (tmp_path / "limits").read_text()
    assert "unlimited" not in limits.replace("core", ""), limits


def test_it_ends_when_the_caller_gives_up(tmp_path: Path) -> None:
    class GivenUp(Exception):
        pass

    def give_up(part: float) -> None:
        raise GivenUp

    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(GivenUp):
        # It waits for a writer that never comes.
        program(tmp_path, f"exec cat {fifo}").convert(tmp_path / "disk", tmp_path / "target", 1, give_up)
    with pytest.raises(OSError, match="No such device or address"):
        os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)  # nobody reads it any more


def test_memory_is_limited(tmp_path: Path) -> None:
    """A program that asks for more than two gigabytes is refused them."""
    with pytest.raises(Refusal, match="MemoryError"):
        convert(tmp_path, f'exec {sys.executable} -I -S -c "bytearray(3 << 30)"')

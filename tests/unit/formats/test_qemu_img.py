"""Running qemu-img: within limits, and its words passed on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from metier.domain.errors import NoSpace, Refusal
from metier.drivers.formats.api import QemuView
from metier.drivers.formats.qemu_img import QemuImg


def program(folder: Path, script: str) -> QemuImg:
    """Return a stand-in for qemu-img that does what a shell script says."""
    path = folder / "qemu-img"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return QemuImg(str(path))


def silent(part: float) -> None:
    """Be alive and say nothing."""


NOTHING = QemuView({"driver": "null-co"}, ())


def convert(folder: Path, script: str) -> None:
    program(folder, script).convert(NOTHING, folder / "target", "raw", 1 << 20, silent)


def test_its_words_become_a_refusal_without_what_it_was_told(tmp_path: Path) -> None:
    said = "qemu-img: Could not open 'json:{driver: vmdk}': broken"
    with pytest.raises(Refusal) as caught:
        convert(tmp_path, f'echo "{said}" >&2; exit 1')
    assert "qemu-img says: qemu-img: Could not open the disk: broken" in caught.value.message


def test_its_silence_becomes_a_refusal_with_the_status(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="it ended with status 3"):
        convert(tmp_path, "exit 3")


def test_a_full_disk_is_told_from_other_failures(tmp_path: Path) -> None:
    with pytest.raises(NoSpace):
        convert(tmp_path, "echo 'error while writing at byte 0: No space left on device' >&2; exit 1")


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(Refusal) as caught:
        QemuImg(str(tmp_path / "nowhere")).convert(NOTHING, tmp_path / "target", "raw", 1, silent)
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
        program(tmp_path, f"exec cat {fifo}").convert(NOTHING, tmp_path / "target", "raw", 1, give_up)
    with pytest.raises(OSError, match="No such device or address"):
        os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)  # nobody reads it any more


def test_memory_is_limited(tmp_path: Path) -> None:
    """A program that asks for more than two gigabytes is refused them."""
    with pytest.raises(Refusal, match="MemoryError"):
        convert(tmp_path, f'exec {sys.executable} -I -S -c "bytearray(3 << 30)"')


def qcow2(folder: Path, name: str, size: str = "300M", backing: str = "", write: str = "") -> QemuView:
    """Return QEMU's view of a new disk, with something written into it."""
    base = ["-b", backing, "-F", "qcow2"] if backing else []
    path = folder / name
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *base, path, size], check=True, cwd=folder)
    if write:
        subprocess.run(["qemu-io", "-c", write, path], check=True, cwd=folder, capture_output=True)
    file = {"driver": "file", "filename": str(path)}
    below = None
    if backing:
        below = {"driver": "qcow2", "file": {"driver": "file", "filename": str(folder / backing)}}
    return QemuView({"driver": "qcow2", "file": file, "backing": below}, ())


def told(one: QemuView, other: QemuView, mib: int = 300) -> tuple[bool, list[int]]:
    """Return whether QEMU finds two disks the same, and what it told of its progress."""
    reached: list[int] = []
    return QemuImg().is_same(one, other, mib << 20, reached.append), reached


def test_equal_disks_are_the_same_and_progress_is_told(tmp_path: Path) -> None:
    one = qcow2(tmp_path, "a", write="write -P 5 100M 30M")
    other = qcow2(tmp_path, "b", write="write -P 5 100M 30M")
    same, reached = told(one, other)
    assert same
    assert reached[-1] == 300 << 20
    assert reached == sorted(reached)


@pytest.mark.parametrize("at", ["0", "63M", "128M", "299M"])
def test_one_difference_in_any_slice_is_found(tmp_path: Path, at: str) -> None:
    one = qcow2(tmp_path, "a", write="write -P 5 100M 1M")
    other = qcow2(tmp_path, "b", write=f"write -P 6 {at} 512")
    assert not told(one, other)[0]


def test_what_lies_below_a_disk_counts(tmp_path: Path) -> None:
    """QEMU takes it for zeros where it is shown a slice: such disks are compared whole."""
    qcow2(tmp_path, "base", write="write -P 5 100M 1M")
    child = qcow2(tmp_path, "child", backing="base")
    same = qcow2(tmp_path, "same", write="write -P 5 100M 1M")
    empty = qcow2(tmp_path, "empty")
    assert told(child, same)[0]
    assert not told(child, empty)[0]
    other = qcow2(tmp_path, "other", backing="base", write="write -P 7 5M 512")
    assert not told(child, other)[0]

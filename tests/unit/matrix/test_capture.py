"""Captures: what a VM's disks hold, laid over their image, becomes a version of its own (R-CAPTURE-2)."""

import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from metier.domain.errors import NoSpace, Refusal
from metier.domain.ids import ImageRef
from metier.domain.image import Image, ImageType
from metier.matrix.api import Answers, Cancelled, CaptureOrder, Fetch, Fetched
from metier.matrix.folder_matrix import FolderMatrix
from metier.matrix.space import Space
from tests.unit.matrix import archives
from tests.unit.matrix.archives import CREATED, MIB, REF

NEW = ImageRef("w2k", "2")
SIZE = 24 * MIB


def silent(step: str, done: int, total: int | None) -> None:
    """Take a report and say nothing."""


def imported(root: Path, folder: Path) -> Image:
    """Import a VM with one disk of random data."""
    archives.write_vmdk(folder / "vm", archives.raw_content(SIZE), "monolithicSparse")
    (folder / "vm/web.vmx").write_text(archives.vmx_text("disk.vmdk"))
    return FolderMatrix(root).import_image(archives.order(folder / "vm"), silent)


def child_of(root: Path, folder: Path, *writes: str, backing: str = "") -> Path:
    """Return what a VM's disk holds: a child of the image's, with something written into it."""
    parent = archives.published(root) / "disk0.qcow2"
    path = folder / "child.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", parent, "-F", "qcow2", path], check=True)
    for write in writes:
        subprocess.run(["qemu-io", "-c", write, path], check=True, capture_output=True)
    if backing:
        subprocess.run(["qemu-img", "rebase", "-u", "-b", backing, "-F", "raw", path], check=True)
    return path


def brought(*files: Path, are_children: bool = True) -> Fetch:
    """Return what copies these files."""

    def fetch(into: Path, make_room: Callable[[int], None]) -> Fetched:
        make_room(sum(file.stat().st_size for file in files))
        copies = [into / f"disk{number}.qcow2" for number in range(len(files))]
        for file, copy in zip(files, copies, strict=True):
            copy.write_bytes(file.read_bytes())
        return Fetched(tuple(copies), are_children)

    return fetch


def order(parent: Image) -> CaptureOrder:
    answers = Answers(type=ImageType.WINDOWS, minimum_memory_mib=512)
    return CaptureOrder(NEW, parent, CREATED, answers, "captured from host-1/VM1")


def content_of(disk: Path, folder: Path) -> bytes:
    raw = folder / "back.raw"
    subprocess.run(["qemu-img", "convert", "-O", "raw", disk, raw], check=True)
    return raw.read_bytes()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "matrix"


def test_a_capture_holds_what_the_vm_s_disk_held(tmp_path: Path, root: Path) -> None:
    parent = imported(root, tmp_path)
    child = child_of(root, tmp_path, "write -P 7 1M 100k", "write -z 5M 1M", "discard 9M 64k")
    wanted = content_of(child, tmp_path)
    matrix = FolderMatrix(root)
    image = matrix.capture_image(order(parent), brought(child), silent)
    assert content_of(archives.published(root, NEW) / "disk0.qcow2", tmp_path) == wanted
    assert (image.ref, image.type, image.source) == (NEW, ImageType.WINDOWS, "captured from host-1/VM1")
    assert image.requirements.memory_mib == 512
    assert image.machine is not None
    assert parent.machine is not None
    assert replace(image.machine, disks=parent.machine.disks) == parent.machine
    assert matrix.verify(image, silent) == []
    assert matrix.verify(parent, silent) == []
    assert list((root / "work").iterdir()) == []


def test_a_capture_takes_the_room_of_what_changed(tmp_path: Path, root: Path) -> None:
    parent = imported(root, tmp_path)
    image = FolderMatrix(root).capture_image(
        order(parent), brought(child_of(root, tmp_path, "write -P 7 1M 100k")), silent
    )
    assert image.size_bytes < parent.size_bytes / 2
    FolderMatrix(root).delete(REF)
    assert FolderMatrix(root).verify(image, silent) == []


def test_whole_disks_are_taken_in_too(tmp_path: Path, root: Path) -> None:
    parent = imported(root, tmp_path)
    child = child_of(root, tmp_path, "write -P 7 1M 100k")
    whole = tmp_path / "whole.qcow2"
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", child, whole], check=True)
    FolderMatrix(root).capture_image(order(parent), brought(whole, are_children=False), silent)
    stored = archives.published(root, NEW) / "disk0.qcow2"
    assert content_of(stored, tmp_path) == content_of(child, tmp_path)


def test_what_a_child_names_as_its_parent_is_not_believed(tmp_path: Path, root: Path) -> None:
    parent = imported(root, tmp_path)
    honest = content_of(child_of(root, tmp_path, "write -P 7 1M 4k"), tmp_path)
    secret = tmp_path / "secret"
    secret.write_bytes(b"s" * SIZE)
    child = tmp_path / "child.qcow2"
    subprocess.run(["qemu-img", "rebase", "-u", "-b", secret, "-F", "raw", child], check=True)
    FolderMatrix(root).capture_image(order(parent), brought(child), silent)
    assert content_of(archives.published(root, NEW) / "disk0.qcow2", tmp_path) == honest


def spoilt(child: Path, how: str) -> list[Path]:
    content = child.read_bytes()
    match how:
        case "cut":
            child.write_bytes(content[: len(content) // 2])
        case "no qcow2":
            child.write_bytes(b"x" * len(content))
        case "empty":
            child.write_bytes(b"")
        case "two disks":
            return [child, child]
        case _:
            return []
    return [child]


@pytest.mark.parametrize("how", ["cut", "no qcow2", "empty", "two disks", "no disk"])
def test_what_is_damaged_is_refused_and_leaves_nothing(tmp_path: Path, root: Path, how: str) -> None:
    parent = imported(root, tmp_path)
    files = spoilt(child_of(root, tmp_path, "write -P 7 1M 900k"), how)
    with pytest.raises(Refusal):
        FolderMatrix(root).capture_image(order(parent), brought(*files), silent)
    assert_only_the_parent_is_there(root)


def test_a_version_that_exists_is_not_captured_over(tmp_path: Path, root: Path) -> None:
    parent = imported(root, tmp_path)
    child = child_of(root, tmp_path, "write -P 7 1M 4k")
    image = FolderMatrix(root).capture_image(order(parent), brought(child), silent)
    with pytest.raises(Refusal, match="that version exists already"):
        FolderMatrix(root).capture_image(order(parent), brought(child), silent)
    assert FolderMatrix(root).verify(image, silent) == []


def test_room_is_proved_before_anything_is_copied(tmp_path: Path, root: Path) -> None:
    parent = imported(root, tmp_path)
    child = child_of(root, tmp_path, "write -P 7 1M 2M")
    matrix = FolderMatrix(root, space=Space(root, lambda _: 17 * MIB))
    with pytest.raises(NoSpace, match=r"cannot capture w2k@2: it takes 2\.\d MiB, and 1\.0 MiB is free"):
        matrix.capture_image(order(parent), brought(child), silent)
    assert_only_the_parent_is_there(root)


@pytest.mark.parametrize("at", ["copying from the host", "checking", "writing", "comparing", "publishing"])
def test_a_cancelled_capture_leaves_nothing(tmp_path: Path, root: Path, at: str) -> None:
    parent = imported(root, tmp_path)

    def cancel(step: str, _done: int, _total: int | None) -> None:
        if step == at:
            raise Cancelled

    with pytest.raises(Cancelled):
        FolderMatrix(root).capture_image(
            order(parent), brought(child_of(root, tmp_path, "write -P 7 1M 4k")), cancel
        )
    assert_only_the_parent_is_there(root)


STEPS = ("copy", "check", "store disk 0", "write the manifest", "publish", "clean up")

# Dies by its own hand, as by a power failure: nothing of Python's own gets to run.
PROGRAM = """
import os, signal, sys
from pathlib import Path
from metier.matrix.folder_matrix import FolderMatrix
from tests.unit.matrix import archives, test_capture as t

root, child, vm, at = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
other = root.with_name("other")
parent = FolderMatrix(other).import_image(archives.order(vm), t.silent)

def die(step):
    if step == at:
        os.kill(os.getpid(), signal.SIGKILL)

FolderMatrix(root, step=die).capture_image(t.order(parent), t.brought(child), t.silent)
"""


@pytest.mark.parametrize("step", STEPS)
def test_killed_before_any_step(tmp_path: Path, root: Path, step: str) -> None:
    imported(root, tmp_path)
    child = child_of(root, tmp_path, "write -P 7 1M 100k")
    command = [sys.executable, "-c", PROGRAM, root, child, tmp_path / "vm", step]
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, check=False, cwd=Path(__file__).parents[3]
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert archives.published(root, NEW).exists() == (step == "clean up")
    FolderMatrix(root).sweep([REF])
    assert_only_the_parent_is_there(root)


def test_the_steps_are_all_the_steps(tmp_path: Path, root: Path) -> None:
    said: list[str] = []
    parent = imported(root, tmp_path)
    matrix = FolderMatrix(root, step=said.append)
    matrix.capture_image(order(parent), brought(child_of(root, tmp_path, "write -P 7 1M 4k")), silent)
    assert tuple(said) == STEPS


def assert_only_the_parent_is_there(root: Path) -> None:
    assert [path.name for path in (root / "images/w2k").iterdir()] == ["1"]
    assert list((root / "work").iterdir()) == []

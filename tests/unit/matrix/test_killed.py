"""Killed at any point, an import leaves nothing that `sweep` does not remove (R-IMAGE-1)."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from metier.matrix.folder_matrix import FolderMatrix
from tests.unit.matrix import archives

STEPS = (
    "fetch",
    "unpack",
    "check",
    "store disk 0",
    "store disk 1",
    "write the manifest",
    "publish",
    "clean up",
)

# Dies by its own hand, as by a power failure: nothing of Python's own gets to run.
PROGRAM = """
import os, signal, sys
from pathlib import Path
from metier.matrix.folder_matrix import FolderMatrix
from tests.unit.matrix.archives import order

def die(at):
    def look(what, *_):
        print(what, flush=True)
        if what == at:
            os.kill(os.getpid(), signal.SIGKILL)
    return look

archive, root, step, report = sys.argv[1:]
FolderMatrix(Path(root), step=die(step)).import_image(order(Path(archive)), die(report))
"""


def archive_of_two_disks(folder: Path) -> Path:
    files = {"web.vmx": archives.vmx_text("a.vmdk", "b.vmdk").encode()}
    for name in ("a", "b"):
        archives.write_vmdk(folder / name, archives.raw_content(), "monolithicSparse", f"{name}.vmdk")
        files[f"{name}.vmdk"] = (folder / name / f"{name}.vmdk").read_bytes()
    return archives.pack(folder / "vm.tgz", files)


def killed(archive: Path, root: Path, step: str = "", report: str = "") -> list[str]:
    """Run an import that dies at a step or report; return what it said until then."""
    command = [sys.executable, "-c", PROGRAM, archive, root, step, report]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[3])
    assert done.returncode == -signal.SIGKILL, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("step", STEPS)
def test_killed_before_any_step(tmp_path: Path, step: str) -> None:
    root = tmp_path / "matrix"
    killed(archive_of_two_disks(tmp_path), root, step=step)
    assert_nothing_visible_or_whole(root, published=step == "clean up")


@pytest.mark.parametrize("report", ["unpacking", "checking", "writing", "comparing", "publishing"])
def test_killed_within_any_stage(tmp_path: Path, report: str) -> None:
    root = tmp_path / "matrix"
    killed(archive_of_two_disks(tmp_path), root, report=report)
    assert_nothing_visible_or_whole(root, published=False)


def assert_nothing_visible_or_whole(root: Path, *, published: bool) -> None:
    matrix = FolderMatrix(root)
    assert archives.published(root).exists() == published
    matrix.sweep([])
    left = [path.relative_to(root).as_posix() for path in root.rglob("*")]
    assert sorted(left) in (["images", "work"], ["work"])


def test_the_steps_are_all_the_steps(tmp_path: Path) -> None:
    said: list[str] = []
    matrix = FolderMatrix(tmp_path / "matrix", step=said.append)
    matrix.import_image(archives.order(archive_of_two_disks(tmp_path)), lambda *_: None)
    assert tuple(said) == STEPS

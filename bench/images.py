"""Imports against unpacking and `qemu-img convert`, instances, captures, and what similar versions take.

The floor of an import brings its result to the disk, as the import does; it neither checks what it
is given, nor takes digests, nor reads anything back and compares it.  A disk that comes by itself
needs no unpacking, so its floor is the conversion alone.
"""

import argparse
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.disks import CASES, Case, write_disk

_DISK_MIB, _DATA_MIB = 1536, 512
_ROUNDS = 3
_VERSIONS = 5
_CHANGED_MIB = 16


def run(data_mib: int = _DATA_MIB, disk_mib: int = _DISK_MIB) -> list[dict[str, Any]]:
    """Return a row per form of import, and one each for versions and captures."""
    with tempfile.TemporaryDirectory(prefix="metier-bench-") as name:
        folder = Path(name)
        raw = folder / "disk.raw.source"
        write_disk(raw, data_mib, disk_mib)
        rows = [_import_row(folder, raw, case, data_mib) for case in CASES]
        rows.append(_versions_row(folder, raw, data_mib))
        return rows


# --- imports -------------------------------------------------------------------


def _import_row(folder: Path, raw: Path, case: Case, data_mib: int) -> dict[str, Any]:
    case.make(folder, raw)
    given = folder / case.file
    floor, ours, memory = [], [], 0.0
    for _ in range(_ROUNDS):
        # Interleaved, so that what else the machine does hits both.
        floor.append(_timed(lambda: _floor(folder, given, case)))
        answer = _import(folder, given)
        ours.append(answer["seconds"])
        memory = max(memory, answer["memory_mib"])
    other = _nbdcopy_s(folder, given, case)
    given.unlink()
    unpack = f"{' '.join(case.unpack)} + " if case.unpack else ""
    return {
        "case": case.name,
        "peer": f"{unpack}qemu-img convert + sync",
        "peer_s": round(min(floor), 3),
        "nbdcopy_s": other,
        "ours_s": round(min(ours), 3),
        "ratio": round(min(ours) / min(floor), 2),
        "limit": 1.0 if case.unpack else None,
        "cores": len(os.sched_getaffinity(0)),
        "data_mib_per_s": round(data_mib / min(ours)),
        "peak_memory_mib": round(memory),
        "memory_limit_mib": 200,
    }


def _timed(work: Callable[[], None]) -> float:
    subprocess.run(["sync"], check=True)
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _floor(folder: Path, given: Path, case: Case) -> None:
    into = folder / "floor"
    into.mkdir()
    try:
        source = given
        if case.unpack:
            subprocess.run([*case.unpack, str(given)], cwd=into, check=True)
            source = into / case.disk
        command = [
            "qemu-img",
            "convert",
            "-f",
            case.form,
            "-O",
            "qcow2",
            str(source),
            str(into / "out.qcow2"),
        ]
        subprocess.run(command, check=True)
        subprocess.run(["sync", str(into / "out.qcow2")], check=True)
    finally:
        shutil.rmtree(into)


def _nbdcopy_s(folder: Path, given: Path, case: Case) -> float | None:
    """Return the seconds of the other way to convert a disk by QEMU, and to sync it; None where it is not."""
    if case.unpack or shutil.which("nbdcopy") is None:
        return None
    target = folder / "copied.qcow2"

    def copy() -> None:
        target.unlink(missing_ok=True)
        size = _capacity(given, case.form)
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(target), str(size)], check=True)
        source = ["[", "qemu-nbd", "-r", "-e", "8", "-f", case.form, str(given), "]"]
        sink = ["[", "qemu-nbd", "-e", "8", "--discard=unmap", "-f", "qcow2", str(target), "]"]
        subprocess.run(["nbdcopy", "--target-is-zero", "--", *source, *sink], check=True)
        subprocess.run(["sync", str(target)], check=True)

    seconds = min(_timed(copy) for _ in range(_ROUNDS))
    target.unlink()
    return round(seconds, 3)


def _capacity(disk: Path, form: str) -> int:
    command = ["qemu-img", "info", "--output=json", "-f", form, str(disk)]
    told = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return int(told["virtual-size"])


def _import(folder: Path, given: Path) -> dict[str, float]:
    """Import in a process of its own, whose peak memory is ours alone; return seconds and MiB."""
    subprocess.run(["sync"], check=True)
    command = [sys.executable, "-m", "bench.images", "--once", str(given), str(folder / "matrix")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    shutil.rmtree(folder / "matrix")
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


def _once(given: Path, root: Path, version: str = "1") -> dict[str, float]:
    from metier.domain.ids import ImageRef
    from metier.domain.image import ImageType
    from metier.matrix.api import Answers, ImportOrder
    from metier.matrix.folder_matrix import FolderMatrix

    answers = Answers(type=ImageType.LINUX)
    order = ImportOrder(ImageRef("bench", version), str(given), datetime.now(UTC), answers)
    start = time.perf_counter()
    FolderMatrix(root).import_image(order, lambda *_: None)
    seconds = time.perf_counter() - start
    used = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return {"seconds": seconds, "memory_mib": max(resource.getrusage(who).ru_maxrss for who in used) / 1024}


# --- versions that differ little ---------------------------------------------------


def _versions_row(folder: Path, raw: Path, data_mib: int) -> dict[str, Any]:
    """Store versions each of which changes a little of the one before; compare with as many copies."""
    work = folder / "version.raw"
    shutil.copyfile(raw, work)
    matrix, chance = folder / "matrix", random.Random(7)
    taken, copies = [], 0
    for number in range(1, _VERSIONS + 1):
        if number > 1:
            with work.open("r+b") as file:
                for _ in range(_CHANGED_MIB * 4):  # pieces of 256 KiB
                    file.seek(chance.randrange(0, work.stat().st_size - (256 << 10)))
                    file.write(chance.randbytes(256 << 10))
        _once(work, matrix, str(number))
        taken.append(_disk_bytes(matrix))
        copy = folder / f"copy{number}.qcow2"
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", work, copy], check=True)
        copies += copy.stat().st_blocks * 512
        copy.unlink()
    shutil.rmtree(matrix)
    work.unlink()
    return {
        "case": f"{_VERSIONS} versions, {_CHANGED_MIB} MiB of {data_mib} changed in each",
        "peer": f"{_VERSIONS} copies as qcow2",
        "peer_mib": round(copies / (1 << 20)),
        "ours_mib": round(taken[-1] / (1 << 20)),
        "ratio": round(taken[-1] / copies, 2),
        "mib_after_each": [round(size / (1 << 20)) for size in taken],
    }


def _disk_bytes(folder: Path) -> int:
    """Return what files take on the disk, each once however many links it has."""
    files = {}
    for path in folder.rglob("*"):
        if path.is_file():
            status = path.stat()
            files[status.st_ino] = status.st_blocks * 512
    return sum(files.values())


def main() -> None:
    """Print the rows as JSON lines; `--once FILE ROOT` imports one file and tells what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--once", nargs=2, type=Path, metavar=("FILE", "ROOT"))
    parser.add_argument("--data-mib", type=int, default=_DATA_MIB)
    parser.add_argument("--disk-mib", type=int, default=_DISK_MIB)
    chosen = parser.parse_args()
    if chosen.once:
        print(json.dumps(_once(*chosen.once)))
        return
    for row in run(chosen.data_mib, chosen.disk_mib):
        print(json.dumps(row))


if __name__ == "__main__":
    main()

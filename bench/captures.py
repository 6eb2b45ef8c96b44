"""Captures: a VM that changed some of its image's disk, against `qemu-img convert` to a whole copy.

The floor reads nothing back and does not make sure that the result is on the disk; it writes all
of the disk anew, where a capture stores what changed.  Beside it stands the time of the same copy
when it is synced and compared with `qemu-img compare`, as a capture is.
"""

import argparse
import json
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from bench.disks import write_disk
from metier.domain.fleet import Kind
from metier.domain.ids import ImageRef
from metier.domain.image import Image, ImageType
from metier.matrix.api import Answers, CaptureOrder, ImportOrder
from metier.matrix.folder_matrix import FolderMatrix
from metier.store.records import body_text, record_of

_DISK_MIB, _DATA_MIB = 1536, 512
_CHANGED_MIB = (1, 64, 256)
_PIECE_BYTES = 256 << 10
_ROUNDS = 3
_VERSIONS = (ImageRef("bench", "1"), ImageRef("bench", "2"))
_ANSWERS = Answers(type=ImageType.LINUX)


def run(data_mib: int = _DATA_MIB, disk_mib: int = _DISK_MIB) -> list[dict[str, Any]]:
    """Return a row for each amount of change."""
    with tempfile.TemporaryDirectory(prefix="metier-bench-") as name:
        folder = Path(name)
        raw = folder / "disk.raw"
        write_disk(raw, data_mib, disk_mib)
        order = ImportOrder(_VERSIONS[0], str(raw), datetime.now(UTC), _ANSWERS)
        parent = FolderMatrix(folder / "matrix").import_image(order, lambda *_: None)
        raw.unlink()
        (folder / "parent.json").write_text(body_text(Kind.IMAGE, parent))
        return [_row(folder, changed, data_mib) for changed in _CHANGED_MIB]


def _row(folder: Path, changed_mib: int, data_mib: int) -> dict[str, Any]:
    child = folder / "child.qcow2"
    stored = folder / "matrix" / "images" / "bench" / "1" / "disk0.qcow2"
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", stored, child], check=True
    )
    _change(child, changed_mib)
    floor, proved, ours, answer, copied = [], [], [], {}, 0
    for _ in range(_ROUNDS):
        # Interleaved, so that what else the machine does hits both.
        copy = folder / "copy.qcow2"
        command = ["qemu-img", "convert", "-f", "qcow2", "-O", "qcow2", str(child), str(copy)]
        floor.append(_timed(partial(subprocess.run, command, check=True)))
        proved.append(floor[-1] + _timed(partial(_prove, child, copy), is_synced=False))
        copied = copy.stat().st_blocks * 512
        copy.unlink()
        answer = _capture(folder, child)
        ours.append(answer["seconds"])
    child.unlink()
    return {
        "case": f"{changed_mib} MiB changed of {data_mib}",
        "peer": "qemu-img convert to a copy",
        "peer_s": round(min(floor), 3),
        "ours_s": round(min(ours), 3),
        "ratio": round(min(ours) / min(floor), 2),
        "peer_proved_s": round(min(proved), 3),
        "ratio_to_proved": round(min(ours) / min(proved), 2),
        "peer_stored_mib": round(copied / (1 << 20), 1),
        "ours_stored_mib": round(answer["stored_bytes"] / (1 << 20), 1),
        "peak_memory_mib": round(answer["memory_mib"]),
        "memory_limit_mib": 200,
    }


def _timed(work: Callable[[], object], *, is_synced: bool = True) -> float:
    if is_synced:
        subprocess.run(["sync"], check=True)
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _prove(child: Path, copy: Path) -> None:
    """Bring a copy to the disk itself, and compare it with what it was made of."""
    subprocess.run(["sync", copy], check=True)
    compare = ["qemu-img", "compare", "-q", "-f", "qcow2", "-F", "qcow2", str(child), str(copy)]
    subprocess.run(compare, check=True)


def _change(child: Path, changed_mib: int) -> None:
    """Write new data here and there, as a guest does."""
    chance = random.Random(changed_mib)
    pieces = (changed_mib << 20) // _PIECE_BYTES
    places = chance.sample(range((_DISK_MIB << 20) // _PIECE_BYTES), pieces)
    piece = child.with_name("piece")
    piece.write_bytes(chance.randbytes(_PIECE_BYTES))
    commands = [f"write -q -s {piece} {place * _PIECE_BYTES} {_PIECE_BYTES}" for place in places]
    words = [word for command in commands for word in ("-c", command)]
    subprocess.run(["qemu-io", "-f", "qcow2", *words, str(child)], check=True)
    piece.unlink()


def _capture(folder: Path, child: Path) -> dict[str, float]:
    """Capture in a process of its own, whose peak memory is ours alone; the version is removed again."""
    subprocess.run(["sync"], check=True)
    command = [sys.executable, "-m", "bench.captures", "--once", str(folder), str(child)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


def _once(folder: Path, child: Path) -> dict[str, float]:
    parent: Image = record_of(Kind.IMAGE, (folder / "parent.json").read_text())
    matrix = FolderMatrix(folder / "matrix")

    def fetch(into: Path, make_room: Callable[[int], None]) -> Sequence[Path]:
        make_room(child.stat().st_size)
        return [Path(shutil.copyfile(child, into / "disk0.qcow2"))]

    order = CaptureOrder(
        ref=_VERSIONS[1],
        parent=parent,
        created=datetime.now(UTC),
        answers=_ANSWERS,
        are_children=True,
        source="bench",
    )
    start = time.perf_counter()
    matrix.capture_image(order, fetch, lambda *_: None)
    seconds = time.perf_counter() - start
    used = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    memory = max(resource.getrusage(who).ru_maxrss for who in used) / 1024
    stored = matrix.usage(_VERSIONS).own_bytes[_VERSIONS[1]]
    matrix.delete(_VERSIONS[1])
    return {"seconds": seconds, "memory_mib": memory, "stored_bytes": stored}


def main() -> None:
    """Print the rows as JSON lines; `--once FOLDER CHILD` captures one disk and tells what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--once", nargs=2, type=Path, metavar=("FOLDER", "CHILD"))
    chosen = parser.parse_args()
    if chosen.once:
        print(json.dumps(_once(*chosen.once)))
        return
    for row in run():
        print(json.dumps(row))


if __name__ == "__main__":
    main()

"""Import of a VMware archive against its floor: `tar xzf` and then `qemu-img convert`, in the same run.

The floor neither checks the archive, nor reads anything back, nor makes sure that the result is on
the disk; the import does all three.
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
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

SUBFORMATS = ("monolithicSparse", "twoGbMaxExtentSparse", "monolithicFlat", "streamOptimized")
_DISK_MIB, _DATA_MIB = 1536, 512
_ROUNDS = 3

_VMX = """config.version = "8"
guestOS = "other3xlinux-64"
memsize = "256"
sata0.present = "TRUE"
sata0:0.present = "TRUE"
sata0:0.fileName = "disk.vmdk"
"""


def run(data_mib: int = _DATA_MIB, disk_mib: int = _DISK_MIB) -> list[dict[str, Any]]:
    """Return one row per subformat: seconds of both, their ratio, throughput and peak memory."""
    with tempfile.TemporaryDirectory(prefix="metier-bench-") as name:
        folder = Path(name)
        raw = folder / "disk.raw"
        _write_disk(raw, data_mib, disk_mib)
        return [_row(folder, raw, subformat, data_mib) for subformat in SUBFORMATS]


def _row(folder: Path, raw: Path, subformat: str, data_mib: int) -> dict[str, Any]:
    archive = _pack(folder, raw, subformat)
    floor, ours, memory = [], [], 0.0
    for _ in range(_ROUNDS):
        # Interleaved, so that what else the machine does hits both.
        floor.append(_timed(lambda: _floor(folder, archive)))
        seconds, memory_mib = _import(folder, archive)
        ours.append(seconds)
        memory = max(memory, memory_mib)
    archive.unlink()
    return {
        "bench": "import",
        "case": subformat,
        "peer": "tar xzf + qemu-img convert",
        "peer_s": round(min(floor), 3),
        "ours_s": round(min(ours), 3),
        "ratio": round(min(ours) / min(floor), 2),
        "limit": 1.0,
        "data_mib_per_s": round(data_mib / min(ours)),
        "peak_memory_mib": round(memory),
        "memory_limit_mib": 200,
    }


def _timed(work: Callable[[], None]) -> float:
    _settle()
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _settle() -> None:
    subprocess.run(["sync"], check=True)


def _floor(folder: Path, archive: Path) -> None:
    into = folder / "floor"
    into.mkdir()
    try:
        subprocess.run(["tar", "xzf", archive, "-C", into], check=True)
        convert = ["qemu-img", "convert", "-f", "vmdk", "-O", "qcow2", "disk.vmdk", "disk.qcow2"]
        subprocess.run(convert, cwd=into, check=True)
    finally:
        shutil.rmtree(into)


def _import(folder: Path, archive: Path) -> tuple[float, float]:
    """Import in a process of its own, whose peak memory is ours alone; return seconds and MiB."""
    _settle()
    command = [sys.executable, "-m", "bench.import_image", "--once", archive, folder / "matrix"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    shutil.rmtree(folder / "matrix")
    answer = json.loads(done.stdout)
    return answer["seconds"], answer["memory_mib"]


def _once(archive: Path, root: Path) -> dict[str, float]:
    from metier.domain.ids import ImageRef
    from metier.domain.image import ImageType
    from metier.matrix.api import ImportOrder
    from metier.matrix.folder_matrix import FolderMatrix

    order = ImportOrder(ImageRef("bench", "1"), archive, ImageType.LINUX, datetime.now(UTC))
    start = time.perf_counter()
    FolderMatrix(root).import_image(order, lambda *_: None)
    seconds = time.perf_counter() - start
    used = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return {"seconds": seconds, "memory_mib": sum(resource.getrusage(who).ru_maxrss for who in used) / 1024}


def _write_disk(path: Path, data_mib: int, disk_mib: int) -> None:
    """Write a disk as systems leave them: runs of data, a third of it incompressible, between holes."""
    chance = random.Random(5)
    words = [chance.randbytes(chance.randint(3, 12)).hex().encode() for _ in range(4000)]
    with path.open("wb") as file:
        for number in range(data_mib):
            file.seek((number * disk_mib // data_mib) << 20)
            if number % 3 == 0:
                file.write(chance.randbytes(1 << 20))
            else:
                file.write(b" ".join(chance.choices(words, k=1 << 17))[: 1 << 20])
        file.truncate(disk_mib << 20)


def _pack(folder: Path, raw: Path, subformat: str) -> Path:
    home, archive = folder / "vm", folder / f"{subformat}.tgz"
    home.mkdir()
    convert = [
        "qemu-img",
        "convert",
        "-f",
        "raw",
        "-O",
        "vmdk",
        "-o",
        f"subformat={subformat}",
        raw,
        home / "disk.vmdk",
    ]
    subprocess.run(convert, check=True)
    (home / "vm.vmx").write_text(_VMX)
    subprocess.run(
        ["tar", "-zcf", archive, *sorted(path.name for path in home.iterdir())], cwd=home, check=True
    )
    shutil.rmtree(home)
    return archive


def main() -> None:
    """Print the rows as JSON lines; `--once ARCHIVE ROOT` imports one archive and tells what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--once", nargs=2, type=Path, metavar=("ARCHIVE", "ROOT"))
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

"""Storing disks: written by us, proved by QEMU, and little where versions are alike."""

import random
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from metier.domain.errors import Refusal
from metier.drivers.formats.api import BLOCK_BYTES, Limits, Part, QemuView, SourceDisk
from metier.drivers.formats.disks import open_source
from metier.matrix.progress import Progress
from metier.matrix.storing import PlainDisk, StoredFiles, keep

BLOCKS = 300
PROGRESS = Progress(lambda *_: None)


def content(changes: dict[int, bytes] | None = None, blocks: int = BLOCKS) -> bytes:
    """Return a disk of random blocks, every third of them empty, and with some changed."""
    chance = random.Random(1)
    parts = [bytes(BLOCK_BYTES) if n % 3 == 0 else chance.randbytes(BLOCK_BYTES) for n in range(blocks)]
    for number, block in (changes or {}).items():
        parts[number] = block
    return b"".join(parts)


def source(folder: Path, data: bytes, name: str) -> SourceDisk:
    path = folder / f"{name}.raw"
    path.write_bytes(data)
    return open_source(path.name, {path.name: Part.whole(path)}, Limits())


def stored(folder: Path, data: bytes, name: str, similar: StoredFiles | None = None) -> StoredFiles:
    """Store a disk as the first one of a version's folder."""
    files = StoredFiles(folder / name, 0)
    files.folder.mkdir()
    with closing(source(folder, data, name)) as disk:
        keep(disk, files, [] if similar is None else [similar], PROGRESS)
    return files


def read_back(files: StoredFiles) -> bytes:
    """Return what QEMU reads in a stored disk."""
    raw = files.folder.parent / "back.raw"
    subprocess.run(["qemu-img", "convert", "-O", "raw", files.disk, raw], check=True)
    return raw.read_bytes()


def plain_content(files: StoredFiles, digest: str) -> bytes:
    path = files.folder.parent / "plain.qcow2"
    plain = PlainDisk(files, digest)
    with plain.open() as file:
        path.write_bytes(file.read())
    assert path.stat().st_size == plain.size_bytes
    raw = path.with_suffix(".raw")
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", path, raw], check=True)
    return raw.read_bytes()


def test_a_disk_is_stored_whole(tmp_path: Path) -> None:
    files = stored(tmp_path, content(), "v1")
    assert read_back(files) == content()
    assert files.names() == ["disk0.qcow2", "disk0.blocks"]
    assert {path.stat().st_mode & 0o777 for path in (files.disk, files.index)} == {0o444}


def test_a_version_that_differs_little_is_stored_little(tmp_path: Path) -> None:
    first = stored(tmp_path, content(), "v1")
    changed = content({5: b"x" * BLOCK_BYTES, 7: bytes(BLOCK_BYTES), 9: b"y" * BLOCK_BYTES})
    second = stored(tmp_path, changed, "v2", similar=first)
    assert second.stored_bytes() < first.stored_bytes() / 20
    assert read_back(second) == changed
    assert read_back(first) == content()


def test_versions_are_whole_whichever_is_deleted(tmp_path: Path) -> None:
    data = [content({n: bytes([n]) * BLOCK_BYTES for n in range(count)}) for count in range(4)]
    versions: list[StoredFiles] = []
    for number, part in enumerate(data):
        similar = versions[-1] if versions else None
        versions.append(stored(tmp_path, part, f"v{number}", similar))
    for gone in (0, 2):
        for path in versions[gone].folder.iterdir():
            path.unlink()
        versions[gone].folder.rmdir()
    for left in (1, 3):
        assert read_back(versions[left]) == data[left]


def test_all_stand_on_one_base(tmp_path: Path) -> None:
    first = stored(tmp_path, content(), "v1")
    second = stored(tmp_path, content({1: b"2" * BLOCK_BYTES}), "v2", first)
    third = stored(tmp_path, content({2: b"3" * BLOCK_BYTES}), "v3", second)
    assert third.base_disk.stat().st_ino == first.disk.stat().st_ino


def test_an_older_version_serves_where_the_newest_is_another_disk(tmp_path: Path) -> None:
    first = stored(tmp_path, content(), "v1")
    newest = stored(tmp_path, bytes(BLOCKS * BLOCK_BYTES), "v2")
    files = StoredFiles(tmp_path / "v3", 0)
    files.folder.mkdir()
    with closing(source(tmp_path, content({1: b"3" * BLOCK_BYTES}), "v3")) as disk:
        keep(disk, files, [newest, first], PROGRESS)
    assert files.base_disk.stat().st_ino == first.disk.stat().st_ino


@pytest.mark.parametrize("other", ["another content", "another size", "nothing in it"])
def test_what_is_not_alike_is_stored_by_itself(tmp_path: Path, other: str) -> None:
    sizes = {"another size": BLOCKS - 1}
    data = {
        "another content": random.Random(2).randbytes(BLOCKS * BLOCK_BYTES),
        "another size": content(blocks=BLOCKS - 1),
        "nothing in it": bytes(BLOCKS * BLOCK_BYTES),
    }[other]
    assert len(data) == sizes.get(other, BLOCKS) * BLOCK_BYTES
    first = stored(tmp_path, data, "v1")
    second = stored(tmp_path, content(), "v2", first)
    assert not second.base_disk.exists()
    assert read_back(second) == content()


def test_a_damaged_base_is_not_built_upon(tmp_path: Path) -> None:
    first = stored(tmp_path, content(), "v1")
    first.disk.chmod(0o644)
    with first.disk.open("r+b") as file:
        file.seek(50 * BLOCK_BYTES)
        file.write(b"rot")
    second = stored(tmp_path, content({1: b"2" * BLOCK_BYTES}), "v2", first)
    assert not second.base_disk.exists()
    assert read_back(second) == content({1: b"2" * BLOCK_BYTES})


def test_a_base_without_an_index_is_not_used(tmp_path: Path) -> None:
    first = stored(tmp_path, content(), "v1")
    first.index.unlink()
    second = stored(tmp_path, content(), "v2", first)
    assert not second.base_disk.exists()


def test_hosts_get_a_plain_disk(tmp_path: Path) -> None:
    first = stored(tmp_path, content(), "v1")
    changed = content({4: b"4" * BLOCK_BYTES, 8: bytes(BLOCK_BYTES)})
    second = stored(tmp_path, changed, "v2", first)
    assert plain_content(first, first.index_digest(len(changed))) == content()
    assert plain_content(second, second.index_digest(len(changed))) == changed


def test_hosts_that_take_no_qcow2_get_its_blocks(tmp_path: Path) -> None:
    first = stored(tmp_path, content(), "v1")
    changed = content({4: b"4" * BLOCK_BYTES, 8: bytes(BLOCK_BYTES)})
    second = stored(tmp_path, changed, "v2", first)
    for files, expected in ((first, content()), (second, changed)):
        with PlainDisk(files, "unused").reader() as disk:
            assert disk.capacity_bytes == len(expected)
            found = dict(disk.blocks(0, BLOCKS))
        assert b"".join(found.get(number, bytes(BLOCK_BYTES)) for number in range(BLOCKS)) == expected


def test_a_damaged_index_is_not_sent_by(tmp_path: Path) -> None:
    first = stored(tmp_path, content(), "v1")
    second = stored(tmp_path, content({4: b"4" * BLOCK_BYTES}), "v2", first)
    with pytest.raises(Refusal, match=r"disk0\.blocks: it is damaged"):
        PlainDisk(second, "sha256-64k:other").open()


class Lying:
    """A source whose reader and QEMU do not agree."""

    form, name = "raw", "lying.raw"

    def __init__(self, honest: SourceDisk, other: SourceDisk) -> None:
        self._honest, self._other = honest, other
        self.capacity_bytes = honest.capacity_bytes

    def blocks(self, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
        return self._honest.blocks(start, stop)

    def room_bytes(self, advance: object) -> int:
        return self.capacity_bytes

    def qemu(self) -> QemuView | None:
        return self._other.qemu()

    def close(self) -> None:
        self._honest.close()
        self._other.close()


@pytest.mark.parametrize("number", [0, 1, 150, BLOCKS - 1])
def test_what_qemu_reads_differently_is_not_published(tmp_path: Path, number: int) -> None:
    ours, theirs = content(), content({number: b"!" * BLOCK_BYTES})
    files = StoredFiles(tmp_path / "v1", 0)
    files.folder.mkdir()
    lying = Lying(source(tmp_path, ours, "a"), source(tmp_path, theirs, "b"))
    with closing(lying), pytest.raises(Refusal, match="its content differs") as caught:
        keep(lying, files, [], PROGRESS)
    assert caught.value.code == "content-differs"

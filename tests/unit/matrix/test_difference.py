"""What changed between two stored disks: blocks, settings, and files on file systems made by other tools."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from metier.domain.errors import Refusal
from metier.domain.image import Machine
from metier.matrix.difference import changed_blocks, machine_changed, settings_changed
from metier.matrix.file_list import FileFilter, FileFindings, changed_files
from metier.matrix.index import record
from metier.matrix.progress import Progress
from metier.matrix.storing import StoredFiles
from tests.builders import an_image
from tests.unit.matrix import filesystems as fs

needs_reader = pytest.mark.skipif(find_spec("pytsk3") is None, reason="pytsk3 is not installed")
needs_tools = pytest.mark.skipif(
    shutil.which("debugfs", path=f"{os.environ.get('PATH', '')}:/sbin:/usr/sbin") is None,
    reason="e2fsprogs is not installed",
)

# --- blocks ----------------------------------------------------------------------

INDEXES = some.dictionaries(some.integers(0, 40), some.sampled_from([b"a" * 32, b"b" * 32]))


def index(path: Path, blocks: dict[int, bytes]) -> Path:
    path.write_bytes(b"".join(record(number, blocks[number]) for number in sorted(blocks)))
    return path


@given(before=INDEXES, after=INDEXES, taken=some.integers(1, 5))
def test_blocks_are_counted_as_a_comparison_of_all_of_them_would(
    before: dict[int, bytes], after: dict[int, bytes], taken: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("index")
    with pytest.MonkeyPatch.context() as patch:  # stretches so short that they end everywhere
        patch.setattr("metier.matrix.difference._TAKEN", taken)
        count = changed_blocks(index(folder / "before", before), index(folder / "after", after))
    both = before.keys() & after.keys()
    assert count.same == sum(before[number] == after[number] for number in both)
    assert count.changed == len(both) - count.same
    assert (count.added, count.removed) == (len(after) - len(both), len(before) - len(both))


@pytest.mark.parametrize(
    "content", [b"short", record(2, b"x" * 32) + record(1, b"x" * 32), record(1, b"x" * 32) * 2]
)
def test_a_damaged_index_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "damaged").write_bytes(content)
    good = index(tmp_path / "good", {3: b"y" * 32, 7: b"z" * 32})
    with pytest.raises(Refusal, match="cannot compare damaged"):
        changed_blocks(tmp_path / "damaged", good)


# --- settings and machine ----------------------------------------------------------


def test_only_settings_that_differ_are_told() -> None:
    before = an_image("web@1")
    after = replace(before, startup_s=77, active=False)
    assert settings_changed(before, after) == [
        {"what": "startup time", "before": f"{before.startup_s} s", "after": "77 s"},
        {"what": "active", "before": "yes", "after": "no"},
    ]
    assert settings_changed(before, before) == []


def test_a_machine_s_firmware_and_nics_are_told() -> None:
    before = Machine((), firmware="bios", nic_models=("e1000",))
    after = Machine((), firmware="uefi", nic_models=("e1000", "virtio"))
    assert [row["what"] for row in machine_changed(before, after)] == ["firmware", "NICs"]
    assert machine_changed(None, before)
    assert machine_changed(None, None) == []


# --- files ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def changed_ext4(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return an ext4 file system before and after six changes."""
    folder = tmp_path_factory.mktemp("ext4")
    content = {
        "etc/passwd": "root",
        "etc/old": "x",
        "etc/moved": "m" * 50,
        "usr/bin/ls": "ELF" * 1000,
        "evil/\x1b[31m\n": "red",
    }
    before = fs.ext4(folder / "before.raw", fs.tree(folder / "tree", content))
    after = folder / "after.raw"
    shutil.copy(before, after)
    (folder / "new").write_text("new content")
    fs.debugfs(
        after,
        "rm /etc/old",
        f"write {folder / 'new'} /etc/new",
        "sif /etc/passwd mode 0100600",
        "sif /etc/passwd uid 7",
        "ln /etc/moved /usr/moved",
        "unlink /etc/moved",
        "symlink /etc/link /target",
    )
    return before, after


CHANGES = [
    ("/etc/link", "added", "link to /target"),
    ("/etc/new", "added", "11 bytes"),
    ("/etc/old", "removed", "1 bytes"),
    ("/etc/passwd", "changed", "mode 0644 → 0600, owner 0:0 → 7:0"),
    ("/usr/moved", "moved", "from /etc/moved"),
]


def silent(_step: str, _done: int, _total: int | None) -> None:
    """Take a report and do nothing with it."""


def compared(folder: Path, before: Path, after: Path, wanted: FileFilter | None = None) -> FileFindings:
    old = fs.stored(before, folder / "stored-1")
    return listed(folder, [(old, fs.stored(after, folder / "stored-2", old))], wanted or FileFilter())


def listed(
    folder: Path, pairs: Sequence[tuple[StoredFiles, StoredFiles]], wanted: FileFilter
) -> FileFindings:
    work = folder / "work"
    work.mkdir()
    return changed_files(pairs, wanted, Progress(silent), work)


def told(found: FileFindings) -> list[tuple[object, object, object]]:
    return [(row["path"], row["change"], row["what"]) for row in found.shown]


@needs_reader
@needs_tools
class TestFiles:
    def test_each_change_of_a_file_is_told_in_order(
        self, tmp_path: Path, changed_ext4: tuple[Path, Path]
    ) -> None:
        found = compared(tmp_path, *changed_ext4)
        assert told(found) == CHANGES
        assert found.count == len(CHANGES)
        assert [(row["form"], row["why"]) for row in found.volumes] == [("ext", "")]

    def test_partitions_and_logical_volumes_are_read(
        self, tmp_path: Path, changed_ext4: tuple[Path, Path]
    ) -> None:
        disks = []
        for number, path in enumerate(changed_ext4):
            within = fs.lvm(tmp_path / f"lvm-{number}", path)
            disks.append(fs.partitioned(tmp_path / f"disk-{number}", path, within))
        found = compared(tmp_path, disks[0], disks[1])
        assert told(found) == CHANGES * 2
        assert {row["volume"] for row in found.shown} == {"partition 1", "partition 2, vg0/root"}
        mirror = found.volumes[-1]
        assert (mirror["volume"], mirror["form"]) == ("partition 2, vg0/mirror", "LVM")
        assert "cannot read" in str(mirror["why"])

    def test_a_folder_can_be_asked_about_alone(self, tmp_path: Path, changed_ext4: tuple[Path, Path]) -> None:
        found = compared(tmp_path, *changed_ext4, FileFilter(below="/usr/"))
        assert told(found) == [CHANGES[-1]]

    def test_only_the_first_changes_are_shown_unless_all_are_asked_for(self, tmp_path: Path) -> None:
        before = fs.ext4(tmp_path / "before", fs.tree(tmp_path / "a", {"x": "x"}))
        many = {f"many/{number:03}": "y" for number in range(250)}
        after = fs.ext4(tmp_path / "after", fs.tree(tmp_path / "b", {"x": "x", **many}))
        found = compared(tmp_path / "few", before, after)
        assert (len(found.shown), found.count) == (200, 251)
        found = compared(tmp_path / "all", before, after, FileFilter(show_all=True))
        assert (len(found.shown), found.count) == (251, 251)

    def test_a_name_that_would_steer_a_terminal_is_written_out(self, tmp_path: Path) -> None:
        before = fs.ext4(tmp_path / "before", fs.tree(tmp_path / "a", {"x": "x"}))
        after = fs.ext4(tmp_path / "after", fs.tree(tmp_path / "b", {"x": "x", "\x1b[31m\n": "red"}))
        assert told(compared(tmp_path, before, after)) == [("/\\x1b[31m\\x0a", "added", "3 bytes")]

    @pytest.mark.skipif(shutil.which("mcopy") is None, reason="mtools is not installed")
    def test_fat_is_read(self, tmp_path: Path) -> None:
        before = fs.fat(tmp_path / "before", fs.tree(tmp_path / "a", {"one.txt": "1", "sub/two.txt": "2"}))
        after = fs.fat(tmp_path / "after", fs.tree(tmp_path / "b", {"one.txt": "1+", "sub/two.txt": "2"}))
        found = compared(tmp_path, before, after)
        assert told(found) == [("/one.txt", "changed", "size 1 → 2")]
        assert found.volumes[0]["form"] == "fat"

    @pytest.mark.parametrize(
        ("place", "magic", "form"),
        [(0, b"XFSB", "XFS"), (0, b"LUKS\xba\xbe", "LUKS"), (65600, b"_BHRfS_M", "Btrfs"), (9, b"", "")],
    )
    def test_what_cannot_be_read_is_named(self, tmp_path: Path, place: int, magic: bytes, form: str) -> None:
        disk = tmp_path / "disk"
        disk.write_bytes((b"".ljust(place, b"\1") + magic).ljust(1 << 20, b"\0"))
        found = compared(tmp_path, disk, disk)
        assert [row["form"] for row in found.volumes] == [form]
        assert all(row["why"] for row in found.volumes)
        assert (found.shown, found.count) == ([], 0)

    @pytest.mark.parametrize("seed", range(12))
    def test_a_damaged_file_system_is_told_as_such_or_read(
        self, tmp_path: Path, changed_ext4: tuple[Path, Path], seed: int
    ) -> None:
        """Whatever is in it: an answer comes, and the program with its rights given up is what reads it."""
        content = bytearray(changed_ext4[0].read_bytes())
        for number in range(400):
            place = (seed * 7919 + number * 104_729) % (1 << 17)
            content[1024 + place] ^= 1 + (seed + number) % 255
        (tmp_path / "bad").write_bytes(content)
        found = compared(tmp_path, changed_ext4[0], tmp_path / "bad")
        assert found.volumes


def test_without_a_reader_the_refusal_names_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metier.matrix.file_list.READER", "metier_no_such_package")
    pair = (StoredFiles(tmp_path, 0), StoredFiles(tmp_path, 0))
    found = changed_files([pair], FileFilter(), Progress(silent), tmp_path)
    assert "metier[files]" in str(found.volumes[0]["why"])
    assert found.count == 0


# --- the fence ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "attempt",
    [
        "open('/etc/hostname')",
        "open('/dev/null', 'w')",
        "socket.socket()",
        "socket.socket(socket.AF_UNIX)",
        "os.fork()",
        "os.execv('/bin/true', ['true'])",
        "os.kill(os.getppid(), 0)",
        "os.posix_spawn('/bin/true', ['true'], {})",
        "os.setuid(0) if os.getuid() else os.fork()",
        "bytearray(4 << 30)",
    ],
)
def test_the_program_that_reads_hostile_disks_can_reach_nothing(attempt: str) -> None:
    code = f"""
import os, socket
from metier.matrix.file_walk import fence_in
fence_in()
try:
    {attempt}
except (OSError, MemoryError) as error:
    print("refused")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.returncode) == ("refused\n", 0), done.stderr

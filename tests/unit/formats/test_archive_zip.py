"""Zip archives: what Python's zipfile and Info-ZIP write is read, and no trick works."""

import io
import random
import struct
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.domain.errors import Refusal
from metier.drivers.formats.api import Limits, Part
from metier.drivers.formats.archive import Contents, Unpacking, contents_of

FILES = {
    "a.vmx": b"a" * 3000,
    "empty.vmdk": b"",
    "random.vmdk": random.Random(3).randbytes(300_000),
    "zeros.vmdk": bytes(2 << 20),
    "B\u00fcro.vmdk": b"x" * 100,
}


def found_in(archive: Path, limits: Limits | None = None) -> Contents:
    into = archive.parent / f"into-{archive.name}"
    into.mkdir(exist_ok=True)
    for path in into.iterdir():
        path.unlink()
    order = Unpacking(into, limits or Limits(), lambda _: True, lambda _: None, lambda *_: None)
    return contents_of(archive, order)


def read(archive: Path, limits: Limits | None = None) -> dict[str, bytes]:
    found = found_in(archive, limits)
    with closing(found.proof) as proof:
        proof.start()
        proof.result(lambda *_: None)
    return {name: bytes_of(part) for name, part in found.files.items()}


def bytes_of(part: Part) -> bytes:
    with closing(part.open()) as window:
        return window.read(part.size, 0)


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return held.getvalue()


class Unseekable(io.BytesIO):
    """As a pipe: zipfile then puts sizes behind the data."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: int) -> int:
        raise OSError("a pipe")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
@pytest.mark.parametrize("kind", ["file", "pipe", "zip64"])
def test_what_is_written_is_read(tmp_path: Path, method: int, kind: str) -> None:
    held = Unseekable() if kind == "pipe" else io.BytesIO()
    with zipfile.ZipFile(held, "w", method) as archive:
        archive.comment = b"made by hand"
        for name, data in FILES.items():
            with archive.open(name, "w", force_zip64=kind == "zip64") as member:
                member.write(data)
    (tmp_path / "vm.zip").write_bytes(held.getvalue())
    assert read(tmp_path / "vm.zip") == FILES
    assert (list((tmp_path / "into-vm.zip").iterdir()) == []) == (method == zipfile.ZIP_STORED)


def as_zip64(data: bytes) -> bytes:
    """Tell the directory's place in the way of large archives."""
    end = struct.unpack("<4s4H2IH", data[-22:])
    counted = struct.pack("<2Q2Q", end[3], end[4], end[5], end[6])
    record = struct.pack("<4sQ2H2I", b"PK\x06\x06", 44, 45, 45, 0, 0) + counted
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, len(data) - 22, 1)
    return (
        data[:-22] + record + locator + struct.pack("<4s4H2IH", end[0], *(0xFFFF,) * 4, *(0xFFFFFFFF,) * 2, 0)
    )


def test_the_directory_of_large_archives(tmp_path: Path) -> None:
    data = as_zip64(zipped(FILES))
    assert zipfile.ZipFile(io.BytesIO(data)).testzip() is None
    (tmp_path / "vm.zip").write_bytes(data)
    assert read(tmp_path / "vm.zip") == FILES
    with pytest.raises(Refusal, match="more than 4 members"):
        read(tmp_path / "vm.zip", Limits(members=4))
    (tmp_path / "vm.zip").write_bytes(data.replace(b"PK\x06\x06", b"PK\x06\x05"))
    with pytest.raises(Refusal, match="zip64 directory is not where it says"):
        read(tmp_path / "vm.zip")


def test_names_as_windows_writes_them(tmp_path: Path) -> None:
    data = zipped({"vm/web.vmx": b"x"}).replace(b"vm/web.vmx", b"vm\\web.vmx")
    data = data.replace(b"PK\x01\x02\x14\x03", b"PK\x01\x02\x14\x00")
    (tmp_path / "vm.zip").write_bytes(data)
    assert read(tmp_path / "vm.zip") == {"web.vmx": b"x"}


def entry(data: bytes) -> int:
    """Return where the first entry of the central directory begins."""
    return data.index(b"PK\x01\x02")


def changed(offset: int, new: bytes, local: int | None = None) -> Callable[[bytes], bytes]:
    """Return a change of the first entry, and at `local` of the first local header too."""

    def change(data: bytes) -> bytes:
        at = entry(data) + offset
        data = data[:at] + new + data[at + len(new) :]
        return data if local is None else data[:local] + new + data[local + len(new) :]

    return change


def with_link(data: bytes) -> bytes:
    at = entry(data) + 38
    return data[:at] + struct.pack("<I", 0o120777 << 16) + data[at + 4 :]


def overlapping(data: bytes) -> bytes:
    """Let the second entry use the data of the first."""
    first = entry(data)
    second = data.index(b"PK\x01\x02", first + 4)
    return data[: second + 42] + data[first + 42 : first + 46] + data[second + 46 :]


TRICKS: list[tuple[Callable[[bytes], bytes], str]] = [
    (changed(8, b"\x01\0", 6), "is encrypted"),
    (changed(8, b"\x20\0", 6), "is a patch"),
    (changed(10, b"\x0c\0", 8), "is packed by bzip2"),
    (changed(10, b"\x77\0", 8), "is packed by method 119"),
    (changed(10, b"\x00\0"), "claims an impossible size"),
    (changed(24, b"\xff\xff\xff\x0f"), "claims an impossible size"),
    (changed(24, b"\xff\xff\xff\xff"), "has no size"),
    (changed(24, b"\x01\0\0\0"), "is damaged"),
    (changed(16, b"\0\0\0\0"), "is damaged"),
    (changed(42, b"\x05\0\0\0"), "is not where its directory says"),
    (changed(42, b"\xff\xff\xff\x7f"), "is not where its directory says"),
    (changed(34, b"\x01\0"), "is one of several volumes"),
    (changed(46, b"b"), "is called or packed otherwise"),
    (changed(28, b"\xff\xff"), "its directory is damaged"),
    (with_link, "is a symbolic link"),
    (lambda data: data[:-22] + b"junk" + data[-22:], "its directory is not where it says"),
    (lambda data: zipped({"x": b""})[:30] + data, "its directory is not where it says"),
    (lambda data: data[:-2] + b"\x16\0" + data[-22:], "it has two ends"),
    (lambda data: data[:-1], "it has no zip directory"),
    (lambda data: data + b"x", "it has no zip directory"),
    (lambda data: data[: len(data) // 2], "it has no zip directory"),
    (overlapping, "is called or packed otherwise"),
    (lambda data: overlapping(data).replace(b"second", b"first.").replace(b"first.", b"second"), "otherwise"),
]


@pytest.mark.parametrize(("trick", "why"), TRICKS, ids=[f"{n} {why}" for n, (_, why) in enumerate(TRICKS)])
def test_tricks(tmp_path: Path, trick: Callable[[bytes], bytes], why: str) -> None:
    (tmp_path / "vm.zip").write_bytes(trick(zipped({"first.vmx": b"a" * 500, "second.vmx": b"b" * 500})))
    with pytest.raises(Refusal) as caught:
        read(tmp_path / "vm.zip")
    assert why in caught.value.message


def test_members_that_share_their_data(tmp_path: Path) -> None:
    """The bomb that unpacks without recursion: many members, one kernel, headers quoted within headers."""
    inner = zipped({"b.vmx": b"y" * 100}, zipfile.ZIP_STORED)
    quoted = inner[: inner.index(b"PK\x01\x02")]
    outer = bytearray(zipped({"a.vmx": quoted, "b.vmx": b"y" * 100}, zipfile.ZIP_STORED))
    second = outer.index(b"PK\x01\x02", entry(bytes(outer)) + 4)
    outer[second + 42 : second + 46] = struct.pack("<I", 30 + len("a.vmx"))
    (tmp_path / "vm.zip").write_bytes(outer)
    with pytest.raises(Refusal, match=r"'a.vmx' and 'b.vmx' overlap"):
        read(tmp_path / "vm.zip")


@pytest.mark.parametrize("name", ["../a.vmx", "/etc/passwd", "a/../../b", "a\nb", "x/a.vmx"])
def test_names_follow_the_rules_of_all_archives(tmp_path: Path, name: str) -> None:
    (tmp_path / "vm.zip").write_bytes(zipped({"a.vmx": b"", name: b""}))
    with pytest.raises(Refusal, match=r"leads outside|is no name|is there twice"):
        read(tmp_path / "vm.zip")


def test_a_stored_member_with_a_wrong_checksum_is_found_by_the_proof(tmp_path: Path) -> None:
    data = bytearray(zipped({"a.vmdk": b"x" * 5000}, zipfile.ZIP_STORED))
    data[2000] ^= 1
    (tmp_path / "vm.zip").write_bytes(data)
    with pytest.raises(Refusal, match=r"cannot take a.vmdk: its CRC-32 is"):
        read(tmp_path / "vm.zip")


def test_an_archive_larger_than_the_limit(tmp_path: Path) -> None:
    (tmp_path / "vm.zip").write_bytes(zipped({"a.vmdk": bytes(9000), "b.vmdk": bytes(9000)}))
    with pytest.raises(Refusal, match="unpacks to more than 10000 bytes"):
        read(tmp_path / "vm.zip", Limits(archive_bytes=10_000))


SMALL = zipped({"a.vmx": b"a" * 300, "b.vmdk": bytes(range(256))})


@settings(max_examples=80)
@given(st.integers(0, len(SMALL) - 1))
def test_an_archive_cut_short_anywhere_is_refused(
    tmp_path_factory: pytest.TempPathFactory, size: int
) -> None:
    path = tmp_path_factory.mktemp("cut") / "vm.zip"
    path.write_bytes(SMALL[:size])
    with pytest.raises(Refusal):
        read(path)


@settings(max_examples=150)
@given(st.lists(st.tuples(st.integers(0, len(SMALL) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_changed_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]]
) -> None:
    data = bytearray(SMALL)
    for at, byte in changes:
        data[at] = byte
    path = tmp_path_factory.mktemp("changed") / "vm.zip"
    path.write_bytes(data)
    try:
        found = read(path)
    except Refusal:
        return
    assert sorted(map(len, found.values())) in ([256, 300], [256], [300], [])

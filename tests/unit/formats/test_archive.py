"""Unpacking archives: the same as tar unpacks them, and nothing outside, whatever they say."""

import gzip
import hashlib
import io
import os
import random
import tarfile
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.domain.errors import Refusal
from metier.drivers.formats.api import Limits, Part
from metier.drivers.formats.archive import Contents, Unpacking, contents_of
from metier.drivers.formats.archive.names import Names
from metier.drivers.formats.archive.stream import ByteStream, in_background, inflated
from metier.drivers.formats.archive.tar import tar_members
from tests.unit.matrix import archives
from tests.unit.matrix.archives import MIB, member


def unpacked(archive: Path, into: Path) -> Contents:
    into.mkdir()
    return contents_of(archive, Unpacking(into, Limits(), lambda _: True, lambda _: None, lambda *_: None))


def bytes_of(part: Part) -> bytes:
    with closing(part.open()) as window:
        return window.read(part.size, 0)


def all_of(found: Contents) -> dict[str, bytes]:
    return {name: bytes_of(part) for name, part in found.files.items()}


def digest_of(found: Contents) -> str:
    with closing(found.proof) as proof:
        proof.start()
        return proof.result(lambda *_: None)


FILES = {
    "a.vmx": b"a",
    "empty.vmdk": b"",
    "exact.vmdk": bytes(512) + b"x" * 512,
    "holes.vmdk": bytes(3 * MIB) + b"data" + bytes(MIB),
    "B\u00fcro " + "long " * 40 + ".vmdk": random.Random(1).randbytes(700_000),
}


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_every_form_of_tar_is_read(tmp_path: Path, form: int, mode: str) -> None:
    files = {name: data for name, data in FILES.items() if form != tarfile.USTAR_FORMAT or len(name) < 100}
    archive = tmp_path / "vm.tgz"
    with tarfile.open(archive, mode, format=form) as tar:
        for name, data in files.items():
            tar.addfile(member(name, len(data)), io.BytesIO(data))
    assert all_of(unpacked(archive, tmp_path / "out")) == files


def test_holes_are_left_as_holes(tmp_path: Path) -> None:
    found = unpacked(archives.pack(tmp_path / "vm.tgz", FILES), tmp_path / "out")
    assert found.files["holes.vmdk"].path.stat().st_blocks * 512 < 200_000


def test_gzip_in_several_parts_and_with_padding(tmp_path: Path) -> None:
    whole = archives.pack(tmp_path / "vm.tar", FILES, "w").read_bytes()
    half = len(whole) // 2
    archive = tmp_path / "vm.tgz"
    archive.write_bytes(
        gzip.compress(whole[:half]) + gzip.compress(b"") + gzip.compress(whole[half:]) + bytes(999)
    )
    assert all_of(unpacked(archive, tmp_path / "out")) == FILES


def test_what_macos_adds_is_left_alone(tmp_path: Path) -> None:
    archive = archives.pack(
        tmp_path / "vm.tgz", {"._a.vmx": b"mac", "a.vmx": b"a", "a.vmx.lck/M1.lck": b"", "x/y/z.vmx": b""}
    )
    assert all_of(unpacked(archive, tmp_path / "out")).keys() == {"a.vmx", "M1.lck"}


def test_a_folder_and_a_plain_tar_are_read_where_they_are(tmp_path: Path) -> None:
    folder = tmp_path / "vm"
    (folder / "caches").mkdir(parents=True)
    files = {name[-40:]: data for name, data in FILES.items()}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    found = unpacked(folder, tmp_path / "out")
    assert all_of(found) == files
    assert found.left_out == ["caches"]
    assert digest_of(found) == ""
    in_tar = unpacked(archives.pack(tmp_path / "vm.tar", files, "w"), tmp_path / "out2")
    assert all_of(in_tar) == files
    assert {part.path for part in in_tar.files.values()} == {tmp_path / "vm.tar"}
    assert [*(tmp_path / "out").iterdir(), *(tmp_path / "out2").iterdir()] == []


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz", "w:bz2"])
def test_the_archive_s_own_digest_is_that_of_sha256sum(tmp_path: Path, mode: str) -> None:
    archive = archives.pack(tmp_path / "vm.any", FILES, mode)
    found = unpacked(archive, tmp_path / "out")
    assert all_of(found) == FILES
    assert digest_of(found) == hashlib.sha256(archive.read_bytes()).hexdigest()


NAME_PARTS = st.lists(
    st.sampled_from(["..", ".", "", "a", "b.vmx", "\0", "\n", "/", " ", "a\\b"]), max_size=5
)


@given(NAME_PARTS.map("/".join), st.booleans())
def test_names_are_bare_or_refused(name: str, is_folder: bool) -> None:
    try:
        bare = Names("vm.tgz").take(name, is_folder=is_folder)
    except Refusal:
        return
    assert bare is None or (bare not in ("", ".", "..") and "/" not in bare and bare.isprintable())


def read_all(data: bytes, limit: int = 1 << 20) -> list[str]:
    stream = ByteStream(iter([data[at : at + 700] for at in range(0, len(data), 700)]), "vm.tar", limit)
    names = []
    for found in tar_members(stream, "vm.tar", 100):
        names.append(found.name)
        for _ in stream.pieces(found.size, found.name):
            pass
    return names


@given(st.binary(max_size=4000))
def test_any_bytes_are_an_archive_or_refused(data: bytes) -> None:
    with pytest.raises(Refusal):
        read_all(data)


@given(st.data())
def test_headers_with_changed_bytes_are_read_or_refused(data: st.DataObject) -> None:
    """The checksum is set right again, so that what lies behind it is reached."""
    header = bytearray(member("a.vmdk", 600).tobuf(tarfile.GNU_FORMAT))
    for _ in range(data.draw(st.integers(1, 4))):
        header[data.draw(st.integers(0, 511))] = data.draw(st.integers(0, 255))
    total = sum(header[:148]) + 8 * 32 + sum(header[156:])
    header[148:156] = b"%06o\0 " % total
    try:
        names = read_all(bytes(header) + bytes(1024) + bytes(1024))
    except Refusal:
        return
    assert len(names) <= 1


PAX = st.text(st.sampled_from("0123456789 =\npathsize"), max_size=40)


@given(PAX)
def test_extension_headers_are_read_or_refused(text: str) -> None:
    data = text.encode()
    header = member("pax", len(data), tarfile.XHDTYPE).tobuf(tarfile.GNU_FORMAT)
    body = data.ljust(-(-len(data) // 512) * 512, b"\0")
    try:
        read_all(header + body + member("a.vmdk").tobuf() + bytes(1024))
    except Refusal:
        return


def test_sizes_beyond_eight_gigabytes_are_understood() -> None:
    for size in (8 << 30, 1 << 50):
        header = member("a.vmdk", size).tobuf(tarfile.GNU_FORMAT)
        stream = ByteStream(iter([header]), "vm.tar", 1 << 60)
        assert next(tar_members(stream, "vm.tar", 10)).size == size


@pytest.mark.parametrize("size", [b"\xff" * 12, b"\x80" + b"\xff" * 11, b"-1\0", b"9\0", b"0x10"])
def test_impossible_sizes_are_refused(size: bytes) -> None:
    header = bytearray(member("a.vmdk").tobuf(tarfile.GNU_FORMAT))
    header[124:136] = size.ljust(12, b"\0")
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 8 * 32 + sum(header[156:]))
    with pytest.raises(Refusal, match="size"):
        read_all(bytes(header) + bytes(1024))


def test_an_extension_that_claims_to_be_huge_is_refused_unread() -> None:
    with pytest.raises(Refusal, match="claims 1099511627776 bytes"):
        read_all(member("x", 1 << 40, tarfile.XHDTYPE).tobuf(tarfile.GNU_FORMAT))


@given(st.binary(max_size=300), st.integers(0, 400), st.integers(1, 50))
def test_inflating_gives_the_data_or_refuses(data: bytes, cut: int, chunk: int) -> None:
    packed = gzip.compress(data, mtime=0)
    given_part = packed[:cut]
    chunks = iter([given_part[at : at + chunk] for at in range(0, len(given_part), chunk)])
    try:
        found = b"".join(inflated(chunks, "vm.tgz"))
    except Refusal:
        assert cut < len(packed)
    else:
        assert found == data


def test_a_reader_that_leaves_early_ends_the_thread() -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b"x" * 1000

    before = threading.active_count()
    with in_background(endless()) as chunks:
        assert next(chunks) == b"x" * 1000
    assert threading.active_count() == before


def test_an_error_in_the_thread_reaches_the_reader() -> None:
    def failing() -> Iterator[bytes]:
        yield b"x"
        raise ValueError("broken")

    with in_background(failing()) as chunks:
        assert next(chunks) == b"x"
        with pytest.raises(ValueError, match="broken"):
            next(chunks)


def test_names_in_an_old_encoding_become_text_that_can_be_stored(tmp_path: Path) -> None:
    header = bytearray(member("Bxro.vmdk", 1).tobuf(tarfile.GNU_FORMAT))
    header[1:2] = b"\xfc"
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 8 * 32 + sum(header[156:]))
    (tmp_path / "vm.tar").write_bytes(bytes(header) + b"x".ljust(512, b"\0") + bytes(1024))
    folder = tmp_path / "vm"
    folder.mkdir()
    (folder / os.fsdecode(b"B\xfcro.vmdk")).write_bytes(b"x")
    for number, source in enumerate((tmp_path / "vm.tar", folder)):
        assert all_of(unpacked(source, tmp_path / f"out{number}")) == {"B\u00fcro.vmdk": b"x"}

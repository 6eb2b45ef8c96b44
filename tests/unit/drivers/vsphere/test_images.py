"""What is sent of an image's disk is what its guest sees, whatever blocks are left out."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

pytest.importorskip("pyVmomi", reason="pyvmomi is not installed")

from hypothesis import given
from hypothesis import strategies as st

from metier.drivers.formats.api import BLOCK_BYTES
from metier.drivers.hypervisor.vsphere.claim import claims_in
from metier.drivers.hypervisor.vsphere.images import descriptor, pieces

MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk of few different blocks."""

    capacity_bytes: int
    filled: frozenset[int]
    name: str = "disk0"

    def blocks(self, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
        for number in sorted(self.filled):
            if start <= number < stop:
                yield number, self.block(number)

    def block(self, number: int) -> bytes:
        block = bytes([number % 255 + 1]) * BLOCK_BYTES
        end = self.capacity_bytes - number * BLOCK_BYTES
        return block[:end].ljust(BLOCK_BYTES, b"\0")


@given(
    st.integers(1, 70 * BLOCK_BYTES // 512).map(lambda sectors: sectors * 512),
    st.frozensets(st.integers(0, 69), max_size=70),
)
def test_all_that_the_guest_sees_is_sent_in_order_and_no_more(capacity: int, filled: frozenset[int]) -> None:
    disk = Disk(capacity, frozenset(number for number in filled if number * BLOCK_BYTES < capacity))
    sent = list(pieces(disk))
    count = -(-capacity // BLOCK_BYTES)
    whole = [disk.block(n) if n in disk.filled else bytes(BLOCK_BYTES) for n in range(count)]
    assert b"".join(sent) == b"".join(whole)[:capacity]
    assert all(0 < len(piece) <= MOST_BYTES for piece in sent)


def test_a_disk_of_no_size_is_sent_as_nothing() -> None:
    assert list(pieces(Disk(0, frozenset()))) == []


def test_a_descriptor_names_its_extent_and_its_sectors() -> None:
    text = descriptor("disk0-flat.vmdk", 1 << 20).decode()
    assert 'RW 2048 VMFS "disk0-flat.vmdk"' in text
    assert 'createType="vmfs"' in text


def test_claims_are_told_from_other_names_and_in_order_of_their_numbers() -> None:
    names = ["copy.10", "copy.9", "copy.0", "copy.", "copy.1x", "complete", "disk0.vmdk"]
    assert claims_in(names) == ["copy.9", "copy.10"]

"""Inflating: whatever engine is installed does as zlib does."""

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.drivers.formats.inflate import DAMAGED, GZIP, RAW, ZLIB, inflater


def raw(data: bytes) -> bytes:
    engine = zlib.compressobj(wbits=RAW)
    return engine.compress(data) + engine.flush()


PACK = {ZLIB: zlib.compress, RAW: raw, GZIP: gzip.compress}


@pytest.mark.parametrize("wrapped", PACK)
@given(data=st.binary(max_size=5000), tail=st.binary(max_size=20), most=st.integers(1, 6000))
def test_it_inflates_piece_by_piece_and_says_what_is_left(
    wrapped: int, data: bytes, tail: bytes, most: int
) -> None:
    engine, found, left = inflater(wrapped), b"", PACK[wrapped](data) + tail
    while not engine.eof:
        found += (piece := engine.decompress(left, most))
        left = engine.unconsumed_tail
        assert len(piece) <= most
    assert (found, engine.unused_data) == (data, tail)


@given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_flipped_bit_is_never_taken_for_the_same(at: int, bit: int) -> None:
    data = bytes(range(256)) * 8
    packed = bytearray(zlib.compress(data))
    packed[at % len(packed)] ^= 1 << bit
    engine = inflater()
    try:
        found = engine.decompress(bytes(packed), len(data) + 1)
    except DAMAGED:
        return
    assert not engine.eof or found == data

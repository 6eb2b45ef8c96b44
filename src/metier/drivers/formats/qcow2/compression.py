"""Compressed clusters: never more bytes out of one than a cluster has."""

import importlib
import io
from collections.abc import Callable
from typing import Any

from metier.drivers.formats.inflate import DAMAGED, inflater

Inflate = Callable[[bytes, int], bytes | None]
"""Given the compressed bytes, which may be followed by others, and the size of a cluster; None if damaged."""

# Raw, with the window of 4 KiB that the format prescribes.
_SMALL_WINDOW = -12
# A cluster has at most 2 MiB, so nobody needs to look back further.
_WINDOW_BYTES = 8 << 20


def cluster_inflater(kind: str) -> Inflate | None:
    """Return what inflates clusters of a kind, `zlib` or `zstd`; None if this machine lacks it."""
    if kind == "zlib":
        return _inflate_zlib
    try:
        zstandard = importlib.import_module("zstandard")
    except ImportError:
        return None
    return _zstd(zstandard)


def _inflate_zlib(data: bytes, size: int) -> bytes | None:
    try:
        found = inflater(_SMALL_WINDOW).decompress(data, size)
    except DAMAGED:
        return None
    return found if len(found) == size else None


def _zstd(zstandard: Any) -> Inflate:
    def inflate(data: bytes, size: int) -> bytes | None:
        try:
            engine = zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES)
            with engine.stream_reader(io.BytesIO(data)) as reader:
                found: bytes = reader.read(size)
        except zstandard.ZstdError:
            return None
        return found if len(found) == size else None

    return inflate

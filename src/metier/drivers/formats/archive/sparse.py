"""Writes files with holes where there is nothing but zeros."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from metier.drivers.formats.api import BLOCK_BYTES, ZERO_BLOCK, Part


def written(pieces: Iterable[bytes], path: Path, tell: Callable[[int], None]) -> Part:
    """Write a new file, leaving holes where whole blocks are zero; `tell` gets how far it is."""
    with path.open("xb", buffering=0) as file:
        at = 0
        for piece in pieces:
            write_sparsely(file.fileno(), piece, at)
            at += len(piece)
            tell(at)
        file.truncate(at)
    return Part(path, 0, at)


def write_sparsely(descriptor: int, piece: bytes, at: int) -> None:
    """Write `piece` at offset `at` of a new file, leaving out whole blocks of zeros."""
    start = done = 0
    while done < len(piece):
        end = min(len(piece), done + BLOCK_BYTES)
        if piece[done:end] == ZERO_BLOCK[: end - done]:
            _write_all(descriptor, piece[start:done], at + start)
            start = end
        done = end
    _write_all(descriptor, piece[start:] if start else piece, at + start)


def _write_all(descriptor: int, data: bytes, at: int) -> None:
    view = memoryview(data)
    while view:
        written_bytes = os.pwrite(descriptor, view, at)
        view, at = view[written_bytes:], at + written_bytes

"""The room that a qcow2 disk takes, foretold."""

from metier.drivers.formats.api import BLOCK_BYTES

_ENTRIES = BLOCK_BYTES // 8


def most_bytes(data_bytes: int, capacity_bytes: int) -> int:
    """Return what a qcow2 disk takes at most that holds `data_bytes` in whole blocks."""
    data = -(-data_bytes // BLOCK_BYTES)
    tables = min(-(-capacity_bytes // (BLOCK_BYTES * _ENTRIES)), data)
    top = -(-capacity_bytes // (BLOCK_BYTES * _ENTRIES)) * 8 // BLOCK_BYTES + 1
    # Reference counts of two bytes per cluster, for themselves too, and their directory; the header.
    counts = (data + tables + top) * 2 // BLOCK_BYTES + 2
    return (data + tables + top + counts + 2) * BLOCK_BYTES

"""What a disk from outside may claim to be: not nothing, no part of a sector, not beyond the limit."""

from metier.domain.errors import Refusal
from metier.drivers.formats.api import Limits, in_words

SECTOR_BYTES = 512


def check_capacity(name: str, capacity_bytes: int, limits: Limits) -> None:
    """Refuse a size that no guest can see, or that is larger than is accepted.

    Raises:
        Refusal: It is 0, no multiple of 512, or more than `limits.disk_bytes`.
    """
    if capacity_bytes == 0:
        raise Refusal(f"cannot use {name}: it is a disk of no size", remedy="copy or export it again")
    if capacity_bytes % SECTOR_BYTES:
        raise Refusal(
            f"cannot use {name}: it has {capacity_bytes} bytes, which is no multiple of {SECTOR_BYTES}",
            remedy="copy or export it again; if it is whole, fill it up: truncate -s %512 FILE",
        )
    if capacity_bytes > limits.disk_bytes:
        most = in_words(limits.disk_bytes)
        raise Refusal(
            f"cannot use {name}: it claims {in_words(capacity_bytes)}, the limit is {most}",
            remedy="shrink the disk before you export it; this version takes none that is larger",
        )

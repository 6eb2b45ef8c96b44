"""Image bytes on their way to a host, as far as they are now."""

from dataclasses import dataclass
from datetime import datetime

from metier.domain.ids import ImageRef, NodeId

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_NO_DIGITS_FROM = 100
_IN_MINUTES_S, _IN_HOURS_S = 120, 2 * 3600


@dataclass(frozen=True, slots=True)
class Transfer:
    """One image version on its way to one host.

    Attributes:
        node: The virtual node that waits for it.
        since: When it was begun.
        done_bytes: How much of `total_bytes` is there.
        rate_bytes_s: So many bytes came in each of the last seconds; 0 where that is not known, or none did.
    """

    node: NodeId
    host: NodeId
    image: ImageRef
    since: datetime
    done_bytes: int
    total_bytes: int
    rate_bytes_s: float = 0.0

    @property
    def left_s(self) -> float | None:
        """About how many seconds it still takes; None while nothing says so."""
        return (self.total_bytes - self.done_bytes) / self.rate_bytes_s if self.rate_bytes_s > 0 else None

    @property
    def sentence(self) -> str:
        """It in words: `copying web@3 to host-1: 120 of 512 MiB, 34 MiB/s, about 12 s left`."""
        unit = _unit(self.total_bytes)
        amount = f"{_number(self.done_bytes, unit, self.total_bytes)} of {_number(self.total_bytes, unit)}"
        words = f"copying {self.image} to {self.host}: {amount} {_UNITS[unit]}"
        if self.left_s is None:
            return words
        unit = _unit(self.rate_bytes_s)
        rate = f"{_number(self.rate_bytes_s, unit)} {_UNITS[unit]}/s"
        return f"{words}, {rate}, about {_duration(self.left_s)} left"


def _unit(size_bytes: float) -> int:
    """Return the largest unit of which there is at least one, as its place in `_UNITS`."""
    unit = 0
    while size_bytes >= 1024 and unit < len(_UNITS) - 1:
        size_bytes, unit = size_bytes / 1024, unit + 1
    return unit


def _number(size_bytes: float, unit: int, like_bytes: float | None = None) -> str:
    """Return a size in a unit, with as many digits as `like_bytes`, or it itself, is worth."""
    like = size_bytes if like_bytes is None else like_bytes
    digits = 0 if unit == 0 or like / 1024**unit >= _NO_DIGITS_FROM else 1
    return f"{size_bytes / 1024**unit:.{digits}f}".removesuffix(".0")


def _duration(seconds: float) -> str:
    if seconds < _IN_MINUTES_S:
        return f"{max(round(seconds), 1)} s"
    if seconds < _IN_HOURS_S:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"

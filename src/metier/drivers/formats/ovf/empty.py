"""A disk of which an OVF gives nothing but its size."""

from collections.abc import Callable, Iterator

from metier.drivers.formats.api import QemuView


class EmptyDisk:
    """A disk that begins empty, a `SourceDisk`."""

    form = "raw"

    def __init__(self, name: str, capacity_bytes: int) -> None:
        self.name, self.capacity_bytes = name, capacity_bytes

    def blocks(self, start: int, stop: int) -> Iterator[tuple[int, bytes]]:  # noqa: ARG002 - none has data
        """Yield nothing: all is zeros."""
        yield from ()

    def room_bytes(self, advance: Callable[[int], None]) -> int:
        advance(self.capacity_bytes)
        return 0

    def qemu(self) -> QemuView:
        return QemuView({"driver": "null-co", "size": self.capacity_bytes, "read-zeroes": True}, ())

    def close(self) -> None:
        """Nothing is open."""

"""Where a VM would fit: which of the virtual nodes that a controller knows have what it needs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metier.domain.hardware import Hardware, Requirements, shortfalls
from metier.estate.inventory import EstateVm

_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Fit:
    """How many nodes could run a VM, the smallest of them, and why none can; see `fit_of`."""

    count: int
    node: str
    why_none: str


class Nodes:
    """The virtual nodes of a site; many are alike, so each shape is compared once."""

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Take the rows of the API's list of nodes."""
        self._shapes: dict[Hardware, list[str]] = {}
        for row in rows:
            if row.get("kind") == "virtual" and isinstance(row.get("memory_mib"), int):
                self._shapes.setdefault(_hardware(row), []).append(str(row["name"]))
        self._known: dict[Requirements, Fit] = {}

    def fit_of(self, vm: EstateVm) -> Fit:
        """Return where it fits, busy or not; by memory, CPUs and disk, as far as they are known."""
        needs = _needs(vm)
        if needs not in self._known:
            self._known[needs] = self._compared(needs)
        return self._known[needs]

    def _compared(self, needs: Requirements) -> Fit:
        fitting = [shape for shape in self._shapes if not shortfalls(needs, shape)]
        if fitting:
            smallest = min(fitting, key=_size)
            return Fit(sum(len(self._shapes[one]) for one in fitting), self._shapes[smallest][0], "")
        if not self._shapes:
            return Fit(0, "", "there is no virtual node yet")
        largest = max(self._shapes, key=_size)
        missing = ", ".join(gap.missing for gap in shortfalls(needs, largest))
        return Fit(0, "", f"the largest virtual node, {self._shapes[largest][0]}, would need {missing}")


def _size(shape: Hardware) -> tuple[int, int, int]:
    return shape.memory_mib, shape.cpus, shape.disk_gib


def _hardware(row: Mapping[str, Any]) -> Hardware:
    return Hardware(row["memory_mib"], row.get("cpus") or 0, row.get("disk_gib") or 0)


def _needs(vm: EstateVm) -> Requirements:
    """Return what it needs; its disks have to fit, grown to their full size."""
    return Requirements(vm.memory_mib or 0, vm.cpus or 0, -(-(vm.capacity_bytes or 0) // _GIB))

"""A VM on somebody's host, copied into a folder that is then imported as any other.

What was fetched stays in a folder of the import's own until the import has ended, and is gone on
with after a broken connection or a restart of the controller, as long as the VM is as it was.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from metier.domain.errors import Refusal, Unavailable
from metier.drivers.formats.api import Limits, in_words
from metier.drivers.formats.machine import MachineFound
from metier.drivers.formats.qcow2 import most_bytes
from metier.drivers.formats.vmdk.descriptor import SECTOR_BYTES, ExtentLine, canonical
from metier.drivers.formats.vmx import machine_of, parse_vmx
from metier.matrix.api import ImportOrder, SeenVm, SourceVm
from metier.matrix.fetching import PAUSES_S, PAUSES_UNHEARD_S, Means, pause
from metier.matrix.progress import Progress
from metier.matrix.space import Space

T = TypeVar("T")

# Less does not begin the pauses again: the other side might break off after each byte.
_MUCH_BYTES = 1 << 20
_VMX = "vm.vmx"


@dataclass(frozen=True, slots=True)
class Needs:
    """The most room that an import of a VM takes, in bytes: for its copy, and for what is made of it."""

    copied: int
    stored: int


def needs_of(seen: SeenVm) -> Needs:
    """Return what room a VM takes, should its disks be full to the brim."""
    return Needs(sum(seen.capacities), sum(most_bytes(size, size) for size in seen.capacities))


def checked_machine(vm: SourceVm, seen: SeenVm, limits: Limits) -> MachineFound:
    """Return the machine that a VM is.

    Raises:
        Refusal: It cannot be copied, or is beyond the limits.
    """
    if seen.obstacles:
        raise Refusal(
            f"cannot import {vm.words}: {'; '.join(seen.obstacles)}",
            remedy="see to that, then import it again; `metier image inspect` says whether all is well",
        )
    machine = machine_of(parse_vmx(seen.vmx.encode(), vm.words))
    if len(machine.disks) != len(seen.capacities) or len(seen.capacities) > limits.disks:
        raise Refusal(
            f"cannot import {vm.words}: its host tells of {len(seen.capacities)} disks, and its configuration"
            f" of {len(machine.disks)}; {limits.disks} at most can be taken in"
        )
    for disk in seen.capacities:
        if disk > limits.disk_bytes:
            most = in_words(limits.disk_bytes)
            raise Refusal(
                f"cannot import {vm.words}: a disk of it has {in_words(disk)}, the limit is {most}",
                remedy="shrink the disk first",
            )
    return machine


class VmCopy:
    """One VM on its way into a folder."""

    def __init__(
        self, order: ImportOrder, folder: Path, space: Space, limits: Limits, progress: Progress, means: Means
    ) -> None:
        assert order.vm is not None
        self._vm, self._folder = order.vm, folder
        self._space, self._limits, self._progress, self._wait = space, limits, progress, means.wait
        self._heard = False
        self._done = 0

    def run(self) -> Path:
        """Fetch it whole, and return the folder; on an error what was fetched stays for the next run.

        Raises:
            Refusal: It cannot be copied, changed meanwhile, or its host breaks off again and again.
            NoSpace: There is no room for it and what is to be made of it.
        """
        self._progress.begin(f"looking at {self._vm.words}")
        seen = self.seen()
        checked_machine(self._vm, seen, self._limits)
        self._begin(seen)
        with self._reserved(seen) as still_needed:
            for number in range(len(seen.capacities)):
                self._fetch(number, seen, still_needed)
        self._progress.begin(f"looking at {self._vm.words} once more")
        if self.seen() != seen:
            raise Refusal(
                f"cannot import {self._vm.words}: it was started or changed while it was copied",
                remedy="see that it stays off and as it is, then import it again",
            )
        return self._folder

    def seen(self) -> SeenVm:
        """Look at it, again after a pause where its host does not answer."""
        return self._patiently("look at it", self._vm.look)

    def _begin(self, seen: SeenVm) -> None:
        """Make the folder ready; what is there of another state of the VM goes."""
        vmx = self._folder / _VMX
        if not vmx.is_file() or vmx.read_text(encoding="utf-8") != seen.vmx:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        vmx.write_text(seen.vmx, encoding="utf-8")
        for number, size in enumerate(seen.capacities):
            line = ExtentLine("FLAT", size // SECTOR_BYTES, self._extent(number).name)
            (self._folder / f"disk{number}.vmdk").write_bytes(canonical([line]))

    @contextmanager
    def _reserved(self, seen: SeenVm) -> Iterator[Callable[[int], None]]:
        """Keep room for the copy and what is made of it; call what is given with what is still to come."""
        needs = needs_of(seen)
        there = sum(
            path.stat().st_size
            for number in range(len(seen.capacities))
            if (path := self._extent(number)).exists()
        )
        left = max(needs.copied - there, 0)
        what = (
            f"import {self._vm.words} (at most {in_words(left)} to be fetched,"
            f" {in_words(needs.stored)} to be stored)"
        )
        with self._space.reserved(left + needs.stored, what) as still_needed:
            yield lambda left: still_needed(left + needs.stored)

    def _fetch(self, number: int, seen: SeenVm, still_needed: Callable[[int], None]) -> None:
        size, later = seen.capacities[number], sum(seen.capacities[number + 1 :])
        step = f"fetching disk {number + 1} of {len(seen.capacities)}"
        self._done = 0

        def told(done: int, total: int) -> None:
            self._heard = True
            self._done = done
            self._progress.reach(done, total)
            still_needed(size - done + later)

        def fetch() -> None:
            self._progress.begin(step, size)
            self._vm.fetch(number, self._extent(number), told)

        self._patiently(f"fetch disk {number + 1}", fetch)
        found = self._extent(number).stat().st_size
        if found != size:
            raise Refusal(
                f"cannot import {self._vm.words}: disk {number + 1} came as {found} bytes, and not {size}",
                remedy="import it again",
            )

    def _patiently(self, what: str, call: Callable[[], T]) -> T:
        """Call until it works; a try that brings much begins the pauses again."""
        failures = 0
        while True:
            before = self._done
            try:
                return call()
            except Unavailable as error:
                failures = 1 if self._done - before >= _MUCH_BYTES else failures + 1
                waits = PAUSES_S if self._heard else PAUSES_UNHEARD_S
                if failures > len(waits):
                    raise Refusal(
                        f"cannot import {self._vm.words}: to {what} failed {failures} times in a row",
                        code="fetch-failed",
                        remedy="see whether the controller's machine reaches the host, then import it again",
                    ) from error
                self._progress.begin(f"trying again soon to {what}: {error}")
                pause(waits[failures - 1], self._wait, self._progress)

    def _extent(self, number: int) -> Path:
        return self._folder / f"disk{number}-flat.vmdk"

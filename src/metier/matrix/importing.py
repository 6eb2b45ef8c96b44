"""An import, step by step: fetch, open, prove room, write, compare, publish."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from metier.domain.hardware import Requirements
from metier.domain.ids import ImageRef
from metier.domain.image import Disk, Image, Machine
from metier.drivers.formats.api import Limits, SourceDisk
from metier.drivers.formats.machine import DiskFound, MachineFound
from metier.drivers.formats.qcow2 import most_bytes
from metier.matrix.api import Answers, ImportOrder, SourceVm
from metier.matrix.fetching import Means, located, released
from metier.matrix.folders import DOWNLOADS, Folders
from metier.matrix.manifest import machine_digest, write_manifest
from metier.matrix.package import Package, open_package
from metier.matrix.progress import Progress
from metier.matrix.space import Space
from metier.matrix.storing import StoredFiles, keep
from metier.matrix.vm_copy import VmCopy, checked_machine, needs_of

Step = Callable[[str], None]
"""Told before each thing done to the disk; tests die here."""


@dataclass(frozen=True, slots=True)
class Publication:
    """What becomes a version once its disks are stored.

    Attributes:
        similar: Folders of versions that may be much like it, the likeliest first.
    """

    ref: ImageRef
    disks: Sequence[SourceDisk]
    places: Sequence[DiskFound]
    similar: Sequence[Path]
    describe: Callable[[tuple[Disk, ...]], Image]


@dataclass(frozen=True, slots=True)
class Publisher:
    """Stores the disks of a version and publishes it: the one way into an image matrix."""

    folders: Folders
    space: Space
    step: Step

    def publish(self, wanted: Publication, work: Path, progress: Progress) -> Image:
        """Store, compare, describe and publish, within a folder of `Folders.work`.

        Raises:
            Refusal: A disk is damaged, or what was written differs from it.
            NoSpace: There is not enough room for it.
        """
        self.step("check")
        needs = self.needs(wanted.disks, progress)
        ready = work / "ready"
        ready.mkdir()
        stored: list[Disk] = []
        with self.space.reserved(sum(needs), f"store the disks of {wanted.ref}") as still_needed:
            for number in range(len(wanted.disks)):
                stored.append(self._stored(wanted, number, ready, progress))
                still_needed(sum(needs[number + 1 :]))
        image = wanted.describe(tuple(stored))
        self.step("write the manifest")
        write_manifest(ready, image)
        progress.begin("publishing")
        self.step("publish")
        self.folders.publish(ready, wanted.ref)
        self.step("clean up")
        return image

    def needs(self, disks: Sequence[SourceDisk], progress: Progress) -> list[int]:
        """Go through the tables of all disks, and return the most room that each can take."""
        progress.begin("checking", sum(disk.capacity_bytes for disk in disks))
        return [most_bytes(disk.room_bytes(progress.advance), disk.capacity_bytes) for disk in disks]

    def _stored(self, wanted: Publication, number: int, ready: Path, progress: Progress) -> Disk:
        self.step(f"store disk {number}")
        source, place = wanted.disks[number], wanted.places[number]
        files = StoredFiles(ready, number)
        similar = [StoredFiles(folder, number) for folder in wanted.similar]
        kept = keep(source, files, similar, progress)
        return Disk(
            files.disk.name,
            source.capacity_bytes,
            kept.stored_bytes,
            kept.digest,
            place.bus,
            place.controller,
        )


@dataclass(frozen=True, slots=True)
class Importer:
    """Carries out imports into one folder of the image matrix."""

    publisher: Publisher
    limits: Limits
    means: Means = field(default_factory=Means)

    def run(self, order: ImportOrder, progress: Progress) -> Image:
        """Import an image; what `Matrix.import_image` promises, for errors of the domain."""
        folders = self.publisher.folders
        folders.refuse_taken(order.ref)
        with self._package(order, progress) as (package, work):
            wanted = Publication(
                ref=order.ref,
                disks=package.disks,
                places=package.machine.disks,
                similar=folders.versions_of(order.ref.name),
                describe=lambda disks: _described(order, package, disks),
            )
            return self.publisher.publish(wanted, work, progress)

    def inspect(self, order: ImportOrder, progress: Progress) -> dict[str, object]:
        """Return what an import would take in; what `Matrix.inspect` promises."""
        if order.vm is not None:
            return self._inspect_vm(order, order.vm, progress)
        with self._package(order, progress) as (package, work):
            needed = sum(self.publisher.needs(package.disks, progress))
            disks = [(disk.name, disk.form, disk.capacity_bytes) for disk in package.disks]
            stages = [("unpack", _bytes_below(work)), ("store", needed)]
            return {
                "package": package.source(),
                "form": package.form,
                **_machine_row(package.machine, disks, package.remarks),
                "stages": [{"stage": stage, "needed_bytes": size} for stage, size in stages],
                "free_bytes": self.publisher.space.free_bytes(),
            }

    def _inspect_vm(self, order: ImportOrder, vm: SourceVm, progress: Progress) -> dict[str, object]:
        """Say what is known of a VM on its host; nothing of it is fetched."""
        progress.begin(f"looking at {vm.words}")
        space = self.publisher.space
        folder = self.publisher.folders.root / DOWNLOADS / str(order.ref)
        seen = VmCopy(order, folder, space, self.limits, progress, self.means).seen()
        needs = needs_of(seen)
        row: dict[str, object] = {"package": vm.words, "form": "vmdk", "obstacles": list(seen.obstacles)}
        if not seen.obstacles:
            machine = checked_machine(vm, seen, self.limits)
            names = {f"disk{number}.vmdk": size for number, size in enumerate(seen.capacities)}
            disks = [(place.slot, "vmdk", names.get(place.file, 0)) for place in machine.disks]
            row |= _machine_row(machine, disks, ())
        return {
            **row,
            "stages": [
                {"stage": "fetch", "needed_bytes": needs.copied},
                {"stage": "store", "needed_bytes": needs.stored},
            ],
            "free_bytes": space.free_bytes(),
        }

    @contextmanager
    def _package(self, order: ImportOrder, progress: Progress) -> Iterator[tuple[Package, Path]]:
        """Fetch and open what is to be imported, in a work folder of its own."""
        folders, space = self.publisher.folders, self.publisher.space
        folders.root.mkdir(parents=True, exist_ok=True)
        downloads = folders.root / DOWNLOADS
        with released(order, downloads), folders.work(order.ref) as work, ExitStack() as stack:
            self.publisher.step("fetch")
            if order.vm is not None:
                folder = downloads / str(order.ref)
                path = VmCopy(order, folder, space, self.limits, progress, self.means).run()
            else:
                path = located(order, downloads, space, self.limits, progress, self.means)
            self.publisher.step("unpack")
            into = work / "unpacked"
            into.mkdir()
            opened = open_package(order, path, into, self.limits, self.publisher.space, progress)
            yield stack.enter_context(opened), work


def _bytes_below(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def _machine_row(
    machine: MachineFound, disks: Sequence[tuple[str, str, int]], remarks: Sequence[str]
) -> dict[str, object]:
    """Return a machine's row; `disks` are name, form and size of each."""
    return {
        "firmware": machine.firmware,
        "memory_mib": machine.memory_mib,
        "cpus": machine.cpus,
        "nic_models": list(machine.nic_models),
        "guest_os": machine.guest_os or None,
        "disks": [
            {
                "name": name,
                "form": form,
                "capacity_bytes": size,
                "bus": place.bus,
                "controller": place.controller or None,
            }
            for (name, form, size), place in zip(disks, machine.disks, strict=True)
        ],
        "remarks": [*machine.remarks, *remarks],
    }


def _machine(package: Package, disks: tuple[Disk, ...]) -> Machine:
    found = package.machine
    return Machine(
        disks=disks,
        firmware=found.firmware,
        nic_models=found.nic_models,
        memory_mib=found.memory_mib,
        cpus=found.cpus,
        guest_os=found.guest_os,
        remarks=(*found.remarks, *package.remarks),
    )


def _described(order: ImportOrder, package: Package, disks: tuple[Disk, ...]) -> Image:
    machine, source = _machine(package, disks), package.source()
    if order.vm is not None:
        source = f"imported from {order.vm.words}"
    return described(order.ref, order.created, order.answers, machine, package.form, source)


def described(
    ref: ImageRef, created: datetime, answers: Answers, machine: Machine, form: str, source: str
) -> Image:
    """Return the record of a version with these stored disks."""
    least = Requirements(memory_mib=answers.minimum_memory_mib or machine.memory_mib)
    return Image(
        ref=ref,
        type=answers.type,
        form=form,
        created=created,
        size_bytes=sum(disk.stored_bytes for disk in machine.disks),
        digest=machine_digest(machine),
        requirements=answers.requirements.joined_with(least),
        startup_s=answers.startup_s,
        collectors=answers.collectors,
        machine=machine,
        source=source,
    )

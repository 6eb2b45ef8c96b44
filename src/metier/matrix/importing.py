"""An import, step by step: unpack, check, convert, compare, publish."""

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from metier.domain.hardware import Requirements
from metier.domain.image import Disk, Image, Machine
from metier.drivers.formats.api import Limits, readable
from metier.drivers.formats.archive import Contents, unpack
from metier.drivers.formats.archive.unpack import Unpacking
from metier.drivers.formats.qcow2 import most_bytes
from metier.drivers.formats.vmdk import VmdkDisk
from metier.drivers.formats.vmx import VmxMachine
from metier.matrix import vmware
from metier.matrix.api import ImportOrder
from metier.matrix.conversion import convert
from metier.matrix.folders import Folders
from metier.matrix.manifest import machine_digest, write_manifest
from metier.matrix.progress import Progress
from metier.matrix.space import Space

Step = Callable[[str], None]
"""Told before each thing done to the disk; tests die here."""


class _Checked(NamedTuple):
    """An opened disk, and the most that its qcow2 can take."""

    disk: VmdkDisk
    needed_bytes: int


@dataclass(frozen=True, slots=True)
class Importer:
    """Carries out imports into one image matrix."""

    folders: Folders
    space: Space
    limits: Limits
    step: Step

    def run(self, order: ImportOrder, progress: Progress) -> Image:
        """Import an archive; what `Matrix.import_image` promises, for errors of the domain."""
        self.folders.refuse_taken(order.ref)
        self.folders.root.mkdir(parents=True, exist_ok=True)
        with self.folders.work(order.ref) as work:
            self.step("unpack")
            contents = self._unpack(order.archive, work, progress)
            machine = vmware.read_machine(order.archive.name, contents.files, contents.left_out, self.limits)
            ready = work / "ready"
            ready.mkdir()
            with ExitStack() as stack:
                disks = self._checked(order.archive.name, machine, contents, stack, progress)
                image = self._described(
                    order, machine, contents, disks, self._converted(machine, disks, ready, progress)
                )
            self.step("write the manifest")
            write_manifest(ready, image)
            progress.begin("publishing")
            self.step("publish")
            self.folders.publish(ready, order.ref)
            self.step("clean up")
        return image

    def _unpack(self, archive: Path, work: Path, progress: Progress) -> Contents:
        into = work / "unpacked"
        into.mkdir()
        progress.begin("unpacking")
        return unpack(
            archive,
            Unpacking(
                into=into,
                limits=self.limits,
                wants=lambda name: vmware.is_wanted(archive.name, name),
                make_room=lambda size: self.space.require(size, f"unpack {archive.name}"),
                report=progress.reach,
            ),
        )

    def _checked(
        self, archive: str, machine: VmxMachine, contents: Contents, stack: ExitStack, progress: Progress
    ) -> list[_Checked]:
        """Open the disks and go through their tables, before QEMU gets to see any of them."""
        self.step("check")
        disks = [
            stack.enter_context(closing(disk))
            for disk in vmware.open_disks(archive, machine, contents.files, self.limits)
        ]
        progress.begin("checking", sum(disk.capacity_bytes for disk in disks))
        checked = [_Checked(disk, _room(disk, progress)) for disk in disks]
        self.space.require(sum(disk.needed_bytes for disk in checked), f"convert the disks of {archive}")
        return checked

    def _converted(
        self, machine: VmxMachine, disks: Sequence[_Checked], ready: Path, progress: Progress
    ) -> tuple[Disk, ...]:
        converted = []
        for number, ((disk, needed), wanted) in enumerate(zip(disks, machine.disks, strict=True)):
            self.step(f"convert disk {number}")
            target = ready / f"disk{number}.qcow2"
            descriptor = disk.paths[0].with_suffix(".descriptor")
            descriptor.write_bytes(disk.descriptor_for_qemu())
            done = convert(disk, descriptor, target, needed, progress)
            target.chmod(0o444)
            self.step(f"remove the source of disk {number}")
            disk.close()
            for path in disk.paths:
                path.unlink()
            converted.append(
                Disk(
                    target.name,
                    disk.capacity_bytes,
                    done.stored_bytes,
                    done.digest,
                    wanted.bus,
                    wanted.controller,
                )
            )
        return tuple(converted)

    def _described(
        self,
        order: ImportOrder,
        found: VmxMachine,
        contents: Contents,
        sources: Sequence[_Checked],
        disks: tuple[Disk, ...],
    ) -> Image:
        machine = Machine(
            disks=disks,
            firmware=found.firmware,
            nic_models=found.nic_models,
            memory_mib=found.memory_mib,
            cpus=found.cpus,
            guest_os=found.guest_os,
            remarks=(
                *found.remarks,
                *vmware.archive_remarks(
                    contents.left_out, contents.files, [checked.disk for checked in sources]
                ),
            ),
        )
        least = Requirements(memory_mib=order.minimum_memory_mib or found.memory_mib)
        return Image(
            ref=order.ref,
            type=order.type,
            form="vmdk",
            created=order.created,
            size_bytes=sum(disk.stored_bytes for disk in disks),
            digest=machine_digest(machine),
            requirements=order.requirements.joined_with(least),
            startup_s=order.startup_s,
            collectors=order.collectors,
            machine=machine,
            source=_source(order.archive, contents.digest),
        )


def _room(disk: VmdkDisk, progress: Progress) -> int:
    return most_bytes(disk.room_bytes(progress.advance), disk.capacity_bytes)


def _source(archive: Path, digest: str) -> str:
    name = readable(os.fsencode(archive.name))
    return f"archive {name}, sha256 {digest}" if digest else f"folder {name}"

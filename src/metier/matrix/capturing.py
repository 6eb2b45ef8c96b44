"""A capture, step by step: copy what a VM's disks hold, lay it over its image, publish as a new version."""

from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

from metier.domain.errors import Refusal
from metier.domain.image import Disk, Image, Machine
from metier.drivers.formats.api import Limits, Part, SourceDisk
from metier.drivers.formats.disks import open_source
from metier.drivers.formats.machine import DiskFound
from metier.drivers.formats.qcow2 import Qcow2Disk
from metier.matrix.api import CaptureOrder, Fetch, Fetched
from metier.matrix.importing import Publication, Publisher, described
from metier.matrix.progress import Progress
from metier.matrix.storing import StoredFiles


@dataclass(frozen=True, slots=True)
class Capturer:
    """Carries out captures into one folder of the image matrix."""

    publisher: Publisher
    limits: Limits

    def run(self, order: CaptureOrder, parent: Path, fetch: Fetch, progress: Progress) -> Image:
        """Capture; what `Matrix.capture_image` promises, for errors of the domain.

        `parent` is the folder of the version that the VM was made from.
        """
        folders = self.publisher.folders
        folders.refuse_taken(order.ref)
        assert order.parent.machine is not None
        machine = order.parent.machine
        with folders.work(order.ref) as work, ExitStack() as stack:
            into = work / "copied"
            into.mkdir()
            self.publisher.step("copy")
            progress.begin("copying from the host")
            fetched = fetch(into, lambda size: self.publisher.space.require(size, f"capture {order.ref}"))
            if len(fetched.files) != len(machine.disks):
                raise Refusal(
                    f"cannot capture {order.ref}: the VM has {len(fetched.files)} disks,"
                    f" and image {order.parent.ref} has {len(machine.disks)}",
                    remedy="put the VM's disks back as its image has them, or import its files instead",
                )
            disks = self._opened(fetched, parent, stack)
            wanted = Publication(
                ref=order.ref,
                disks=disks,
                places=[DiskFound("", "", disk.bus, disk.controller) for disk in machine.disks],
                similar=(parent, *folders.versions_of(order.ref.name)),
                describe=lambda stored: _described(order, machine, stored),
            )
            return self.publisher.publish(wanted, work, progress)

    def _opened(self, fetched: Fetched, parent: Path, stack: ExitStack) -> list[SourceDisk]:
        """Open what was copied; a child over the disk that Metier itself holds of its parent."""
        if not fetched.are_children:
            parts = {path.name: Part.whole(path) for path in fetched.files}
            return [stack.enter_context(closing(open_source(name, parts, self.limits))) for name in parts]
        opened: list[SourceDisk] = []
        for number, path in enumerate(fetched.files):
            below = stack.enter_context(StoredFiles(parent, number).reader())
            window = stack.enter_context(closing(Part.whole(path).open()))
            opened.append(stack.enter_context(closing(Qcow2Disk(window, path.name, below))))
        return opened


def _described(order: CaptureOrder, machine: Machine, stored: tuple[Disk, ...]) -> Image:
    machine = replace(machine, disks=stored)
    return described(order.ref, order.created, order.answers, machine, order.parent.form, order.source)

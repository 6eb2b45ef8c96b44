"""What an import was given, understood: the machine that it describes, and its disks."""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from metier.domain.errors import Refusal
from metier.drivers.formats import xva
from metier.drivers.formats.api import Limits, Part, SourceDisk, readable
from metier.drivers.formats.archive import Contents, Proof, Unpacking, contents_of, is_archive
from metier.drivers.formats.disks import open_source
from metier.drivers.formats.machine import DiskFound, MachineFound
from metier.drivers.formats.vmdk import VmdkDisk, open_disk
from metier.drivers.formats.vmdk.descriptor import MAGIC as DESCRIPTOR_MAGIC
from metier.drivers.formats.vmdk.disk import find
from metier.drivers.formats.vmx import machine_of, parse_vmx
from metier.matrix.api import ImportOrder
from metier.matrix.ovf_package import OvfPackage
from metier.matrix.progress import Progress
from metier.matrix.sole_disk import hinted, machine_around, sole_disk
from metier.matrix.space import Space

_DISK_ENDINGS = (".vmdk", ".qcow2", ".qcow", ".img", ".raw", ".vhd", ".vhdx", ".vdi", ".gz")
_TEXT_ENDINGS = (".vmx", ".ovf", ".mf", ".cert")
_XEN_NAMES = ("ova.xml", "xenvm.xml")

_HOLLOW_BYTES = 8 << 30

_PACK_ALL = "pack all files of the VM from inside its folder: tar -zcvf NAME.tgz *.vm*"


@dataclass(frozen=True, slots=True)
class Package:
    """An opened package; a context manager, which closes it.

    Attributes:
        disks: Opened and checked as far as their headers; in the order of `machine.disks`.
        form: What the disks are in.
        remarks: What of the package is not taken over, besides the machine's own remarks.
        words: What it is and is called: `archive web.tgz`.
        proof: Takes the sums of what is read where it lies.
    """

    machine: MachineFound
    disks: tuple[SourceDisk, ...]
    form: str
    remarks: tuple[str, ...]
    words: str
    proof: Proof
    progress: Progress
    files: ExitStack

    def source(self) -> str:
        """Say where it came from; waits until everything was read that sums are taken of.

        Raises:
            Refusal: A sum is not what it must be, or a file changed while it was read.
        """
        begun = False

        def told(done: int, total: int) -> None:
            nonlocal begun
            if not begun:
                self.progress.begin("taking checksums", total)
                begun = True
            self.progress.reach(done)
            self.progress.tell()

        try:
            digest = self.proof.result(told)
        except OSError as error:
            raise Refusal(f"cannot read {self.words}: {error.strerror or error}") from error
        return f"{self.words}, sha256 {digest}" if digest else self.words

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.files.close()


def open_package(
    order: ImportOrder, path: Path, into: Path, limits: Limits, space: Space, progress: Progress
) -> Package:
    """Open what lies at `path`: an archive or folder of one VM or one disk, a description, or a disk.

    `into` is an empty folder of ours, for what must be unpacked to be read.

    Raises:
        Refusal: It is nothing that can be taken in, or holds several VMs; the message says what it is.
        NoSpace: There is no room to unpack it.
    """
    with ExitStack() as stack:
        try:
            package = _Opener(order, path, into, limits, space, progress, stack).opened()
        except OSError as error:
            raise Refusal(f"cannot read {path}: {error.strerror or error}") from error
        stack.pop_all()
    return package


@dataclass(frozen=True, slots=True)
class _Opener:
    """One package on its way to be opened; what it opens is closed by `stack`."""

    order: ImportOrder
    path: Path
    into: Path
    limits: Limits
    space: Space
    progress: Progress
    stack: ExitStack

    @property
    def name(self) -> str:
        """Return what messages call it."""
        return readable(os.fsencode(self.path.name))

    def opened(self) -> Package:
        self.progress.begin("unpacking")
        suffix = self.path.suffix.lower()
        if suffix in (".vmx", ".ovf") and self.path.is_file():
            contents = self._contents_of(self.path.parent)
            proof = Proof(Part.whole(self.path.resolve()))
            return self._described(Contents(contents.files, contents.left_out, proof), "description")
        if is_archive(self.path):
            contents = self._contents_of(self.path)
            return self._described(contents, "folder" if self.path.is_dir() else "archive")
        return self._sole(self._beside(), self.name, "disk")

    def wants(self, name: str) -> bool:
        """Tell whether a member is one that a VM is made of.

        Raises:
            Refusal: It shows that this is an export of a Xen guest, and only VMware's are wanted (R-IMAGE-4).
        """
        lowered = name.lower()
        if lowered in _XEN_NAMES or lowered.endswith((".xva", ".xfrm")):
            if self.order.vmware_only:
                raise self._no_vmware(f"it holds {name}, so it is a Xen guest image, which -r does not take")
            return lowered in _XEN_NAMES
        return lowered.endswith((*_TEXT_ENDINGS, *_DISK_ENDINGS))

    def _contents_of(self, path: Path) -> Contents:
        return contents_of(path, self.unpacking())

    def unpacking(self) -> Unpacking:
        return Unpacking(
            into=self.into,
            limits=self.limits,
            wants=self.wants,
            make_room=lambda size: self.space.require(size, f"unpack {self.name}"),
            report=self.progress.reach,
        )

    def _described(self, contents: Contents, what: str) -> Package:
        """Open the one VM, or the one disk, of an archive or folder."""
        files = contents.files
        if what == "archive" and len(files) == 1:
            ((name, part),) = files.items()
            with closing(part.open()) as window:
                if xva.is_xva(window):
                    return self._xva(name, part, contents)
        if any(name.lower() in _XEN_NAMES for name in files):
            raise Refusal(
                f"cannot import {self.name}: it is a Xen guest's export that was unpacked or packed again",
                remedy="import the .xva as it was exported: xe vm-export vm=NAME filename=NAME.xva",
            )
        description = self._description(files)
        if description.lower().endswith(".vmx"):
            return self._vmx(description, contents, what)
        if description:
            return self._ovf(description, contents, what)
        return self._without_description(contents, what)

    def _description(self, files: Mapping[str, Part]) -> str:
        """Return the name of the one description; empty where there is none."""
        given = self.name
        if given.lower().endswith((".vmx", ".ovf")) and given in files:
            return given
        for ending in (".vmx", ".ovf"):
            names = sorted(name for name in files if name.lower().endswith(ending))
            if len(names) > 1:
                raise Refusal(
                    f"cannot import {self.name}: it holds {len(names)} VMs: {', '.join(names[:5])}",
                    remedy="pack each VM into an archive of its own",
                )
            if names:
                return names[0]
        return ""

    def _vmx(self, name: str, contents: Contents, what: str) -> Package:
        files = contents.files
        machine = machine_of(parse_vmx(_content(files[name], self.limits.vmx_bytes), name))
        self._refuse_many(machine)
        disks = [self._vmware_disk(wanted, files) for wanted in machine.disks]
        return self._package(machine, disks, contents, what)

    def _vmware_disk(self, wanted: DiskFound, files: Mapping[str, Part]) -> VmdkDisk:
        part = find(files, wanted.file)
        if part is None:
            raise Refusal(
                f"cannot import {self.name}: the disk {wanted.file!r} of {wanted.slot} is not in it",
                remedy=_PACK_ALL,
            )
        name = next(name for name, held in files.items() if held == part)
        return self.stack.enter_context(closing(open_disk(name, files, self.limits)))

    def _ovf(self, name: str, contents: Contents, what: str) -> Package:
        package = OvfPackage(name, contents, self.limits, self.unpacking())
        found = package.found()
        if self.order.vmware_only and not found.is_vmware:
            raise self._no_vmware("it is an OVF package of another product's VM")
        self._refuse_many(found.machine)
        disks = [self.stack.enter_context(closing(package.opened(disk))) for disk in found.machine.disks]
        return self._package(found.machine, disks, contents, what, package.remarks(found, disks))

    def _xva(self, name: str, part: Part, contents: Contents) -> Package:
        export = xva.open_export(name, part, self.limits)
        for disk in export.disks:
            self.stack.callback(disk.close)
        return self._package(export.machine, export.disks, contents, "archive")

    def _without_description(self, contents: Contents, what: str) -> Package:
        if self.order.vmware_only:
            if any(name.lower().endswith(".cfg") for name in contents.left_out):
                raise self._no_vmware("it holds a .cfg and no .vmx: a Xen guest, which -r does not take")
            raise self._no_vmware("it holds no .vmx", _PACK_ALL)
        disks = {name: part for name, part in contents.files.items() if name.lower().endswith(_DISK_ENDINGS)}
        name = sole_disk(self.name, disks)
        return self._sole(contents, name, what)

    def _sole(self, contents: Contents, name: str, what: str) -> Package:
        """Open a disk that comes without a description."""
        if self.order.vmware_only:
            raise self._no_vmware("it is a disk without its .vmx", _PACK_ALL)
        disk = self.stack.enter_context(closing(open_source(name, contents.files, self.limits)))
        machine = machine_around(disk, self.order.answers.type, self.order.hints)
        return self._package(machine, [disk], contents, what)

    def _beside(self) -> Contents:
        """Return a disk that was given by itself; with a VMDK's descriptor come the extents beside it."""
        path = self.path.resolve()
        whole = Part.whole(path)
        with closing(whole.open()) as window:
            is_descriptor = window.read(len(DESCRIPTOR_MAGIC), 0) == DESCRIPTOR_MAGIC
        beside = _plain_files(path.parent, ".vmdk", self.limits.extents) if is_descriptor else {}
        # The digest of so many zeros that nobody wrote would take longer than all the rest.
        is_hollow = path.stat().st_blocks * 512 < whole.size // 8 and whole.size > _HOLLOW_BYTES
        return Contents({**beside, self.name: whole}, [], Proof(None if is_hollow else whole))

    def _refuse_many(self, machine: MachineFound) -> None:
        if len(machine.disks) > self.limits.disks:
            most = f"{self.limits.disks} disks, which is the limit"
            raise Refusal(f"cannot import {self.name}: the VM has more than {most}")

    def _package(
        self,
        machine: MachineFound,
        disks: Sequence[SourceDisk],
        contents: Contents,
        what: str,
        remarks: Sequence[str] = (),
    ) -> Package:
        used = self._used(disks, contents.files)
        self.stack.callback(contents.proof.close)
        contents.proof.start()
        return Package(
            machine=hinted(machine, self.order.hints),
            disks=tuple(disks),
            form=disks[0].form,
            remarks=(*_archive_remarks(contents.left_out), *_unused(contents.files, used), *remarks),
            words=f"{what} {self.name}",
            proof=contents.proof,
            progress=self.progress,
            files=self.stack.pop_all(),
        )

    def _used(self, disks: Sequence[SourceDisk], files: Mapping[str, Part]) -> set[Part]:
        """Return the parts that the disks consist of; none may belong to two."""
        used: set[Part] = set()
        for disk in disks:
            sole = files.get(disk.name)
            own = set(disk.parts) if isinstance(disk, VmdkDisk) else {sole} if sole is not None else set()
            if not used.isdisjoint(own):
                raise Refusal(f"cannot import {self.name}: {disk.name} shares a file with another disk")
            used |= own
        return used

    def _no_vmware(self, why: str, remedy: str = "") -> Refusal:
        others = f"what is no VMware VM comes in by: metier image import --file {self.name}"
        return Refusal(
            f"cannot import {self.name}: {why}", remedy=f"{remedy}; {others}" if remedy else others
        )


def _content(part: Part, most: int) -> bytes:
    """Return all of a small file."""
    if part.size > most:
        raise Refusal(f"cannot read {part.path.name}: it has {part.size} bytes, the limit is {most}")
    with closing(part.open()) as window:
        return window.read(most, 0)


def _plain_files(folder: Path, ending: str, most: int) -> dict[str, Part]:
    """Return the plain files of a folder whose names end so; whatever else is there does not matter."""
    found: dict[str, Part] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.lower().endswith(ending) and entry.is_file(follow_symlinks=False):
                found[readable(os.fsencode(entry.name))] = Part.whole(Path(entry.path))
            if len(found) > most + 1:
                raise Refusal(f"cannot use {folder}: it holds more than {most} files {ending}")
    return found


def _archive_remarks(left_out: Collection[str]) -> Iterator[str]:
    """Say what the package holds that nothing here is made of."""
    suspended = sorted(name for name in left_out if name.lower().endswith((".vmss", ".vmem")))
    if suspended:
        yield f"{suspended[0]} is a suspended VM's memory: it starts from its disks as after a power failure"
    locked = sorted(name for name in left_out if ".lck" in name.lower())
    if locked:
        yield f"{locked[0]} shows that the VM ran while it was packed, or had crashed"


def _unused(files: Mapping[str, Part], used: Collection[Part]) -> Iterator[str]:
    names = sorted(
        name for name, part in files.items() if part not in used and name.lower().endswith(_DISK_ENDINGS)
    )
    if names:
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        yield f"the VM does not use {', '.join(names[:5])}{more}"

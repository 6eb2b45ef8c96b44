"""An OVF package: its description, its manifest, and the disks that they speak of."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import PurePath

from metier.domain.errors import Refusal
from metier.drivers.formats.api import Limits, Part, SourceDisk, in_words
from metier.drivers.formats.archive import Contents, Unpacking
from metier.drivers.formats.archive.contents import unpacked
from metier.drivers.formats.disks import open_source
from metier.drivers.formats.machine import DiskFound
from metier.drivers.formats.ovf import Digest, EmptyDisk, OvfFound, parse_manifest, parse_ovf
from metier.drivers.formats.vmdk.disk import find


@dataclass(frozen=True, slots=True)
class OvfPackage:
    """The package whose description is the member `name` of `contents`."""

    name: str
    contents: Contents
    limits: Limits
    unpacking: Unpacking

    def found(self) -> OvfFound:
        """Return what the description says; its digest and others small are checked, larger ones will be.

        Raises:
            Refusal: It describes no VM that can be taken in, or differs from the manifest.
        """
        manifest = self._beside(".mf")
        if manifest:
            for digest in parse_manifest(self._content(manifest), manifest):
                self._expect(digest, manifest)
        return parse_ovf(self._content(self.name), self.name)

    def opened(self, wanted: DiskFound) -> SourceDisk:
        """Open a disk; the caller closes it.

        Raises:
            Refusal: It is not in the package, or cannot be taken in.
        """
        if not wanted.file:
            return self._empty(wanted)
        files = self.contents.files
        part = find(files, wanted.file)
        if part is None:
            raise Refusal(
                f"cannot import {self.name}: the disk {wanted.file!r} of {wanted.slot} is not in the package",
                remedy="the .ovf and all files it names belong together: into one folder, or one .ova",
            )
        name = next(name for name, held in files.items() if held == part)
        if wanted.is_gzip:
            name, files = name.removesuffix(".gz"), {}
            files[name] = unpacked(part, wanted.file, self.unpacking)
        return open_source(name, files, self.limits)

    def remarks(self, found: OvfFound, disks: Sequence[SourceDisk]) -> list[str]:
        """Say what of the package is not as described, or was not checked."""
        return [*self._manifest_remarks(found), *_size_remarks(found, disks)]

    def _empty(self, wanted: DiskFound) -> EmptyDisk:
        capacity, most = wanted.capacity_bytes, self.limits.disk_bytes
        if not 0 < capacity <= most or capacity % 512:
            raise Refusal(
                f"cannot import {self.name}: the empty disk of {wanted.slot} has the impossible size"
                f" {in_words(capacity)}, the limit is {in_words(most)}"
            )
        return EmptyDisk(wanted.slot, capacity)

    def _beside(self, ending: str) -> str:
        """Return the file that is called as the description is, but for its ending; empty if none."""
        stem = PurePath(self.name).stem.lower()
        names = (name for name in self.contents.files if name.lower() == stem + ending)
        return next(names, "")

    def _content(self, name: str) -> bytes:
        part = self.contents.files[name]
        if part.size > self.limits.vmx_bytes:
            most = in_words(self.limits.vmx_bytes)
            raise Refusal(f"cannot read {name}: it has {in_words(part.size)}, the limit is {most}")
        with closing(part.open()) as window:
            return window.read(part.size, 0)

    def _expect(self, digest: Digest, manifest: str) -> None:
        part = find(self.contents.files, digest.file)
        if part is None:
            if digest.file not in self.contents.left_out:
                raise Refusal(
                    f"cannot import {self.name}: {manifest} names {digest.file!r}, which is not there"
                )
        elif part.size > self.limits.vmx_bytes:
            self.contents.proof.expect(part, digest.algorithm, digest.wanted, digest.file)
        else:
            self._check(digest, part)

    def _check(self, digest: Digest, part: Part) -> None:
        with closing(part.open()) as window:
            content = window.read(part.size, 0)
        found = hashlib.new(digest.algorithm, content, usedforsecurity=False).hexdigest()
        if found != digest.wanted:
            raise Refusal(
                f"cannot take {digest.file}: its {digest.algorithm.upper()} is {found}, and the manifest says"
                f" {digest.wanted}",
                code="content-differs",
                remedy="copy or export it again",
            )

    def _manifest_remarks(self, found: OvfFound) -> Iterator[str]:
        certificate, manifest = self._beside(".cert"), self._beside(".mf")
        if certificate:
            yield f"its signature ({certificate}) was not checked"
        if not manifest:
            return
        listed = {digest.file for digest in parse_manifest(self._content(manifest), manifest)}
        missing = [name for name in (self.name, *found.files) if name not in listed]
        if missing:
            yield f"{manifest} says nothing of {', '.join(missing[:5])}"


def _size_remarks(found: OvfFound, disks: Sequence[SourceDisk]) -> Iterator[str]:
    for wanted, disk in zip(found.machine.disks, disks, strict=True):
        if wanted.capacity_bytes and wanted.capacity_bytes != disk.capacity_bytes:
            yield (
                f"{disk.name} has {in_words(disk.capacity_bytes)}, and the description says"
                f" {in_words(wanted.capacity_bytes)}"
            )

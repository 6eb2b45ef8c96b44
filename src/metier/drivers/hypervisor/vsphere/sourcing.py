"""Lets VMs that somebody else made be copied: found, described, and read disk by disk.

Nothing is ever changed, neither in the inventory nor on a datastore: what is asked for are
properties, and files over HTTP.  That it is one state of a VM is known by its power, its
configuration's version and its files' sizes and times, looked at before, between and after.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from metier.domain.errors import Refused, Unavailable
from metier.drivers.hypervisor.api import ForeignVm, FoundDisk, Progress
from metier.drivers.hypervisor.vsphere.attempt import Attempt
from metier.drivers.hypervisor.vsphere.configuration import Place, Settings
from metier.drivers.hypervisor.vsphere.disk_copy import DiskCopy
from metier.drivers.hypervisor.vsphere.endpoint import Endpoint
from metier.drivers.hypervisor.vsphere.foreign import EXPORT, PATHS, Drive, drives_of, obstacles_of, vmx_of
from metier.drivers.hypervisor.vsphere.host import Datastore
from metier.drivers.hypervisor.vsphere.inventory import Placed, find_vm
from metier.drivers.hypervisor.vsphere.mark import read_mark
from metier.drivers.hypervisor.vsphere.properties import read
from metier.drivers.hypervisor.vsphere.ranges import Extent, Ranges
from metier.drivers.hypervisor.vsphere.sharing import Server
from metier.drivers.hypervisor.vsphere.vmware import vmodl

T = TypeVar("T")

PART_BYTES = 1 << 30
"""So much is fetched before the VM is looked at again: it is soon noticed that somebody started it."""

_EXTENT = re.compile(r'^[ \t]*RW[ \t]+([0-9]{1,19})[ \t]+([A-Z0-9]+)(?:[ \t]+"([^"]*)")?', re.MULTILINE)
_NO_PARENT = re.compile(r"^[ \t]*parentCID[ \t]*=[ \t]*ffffffff", re.MULTILINE | re.IGNORECASE)
_ENCRYPTED = re.compile(r"vmcrypt|encryptionkeys", re.IGNORECASE)


class Source(NamedTuple):
    """A disk that can be read.

    Attributes:
        file: The extent with its content, as HTTP names it within its datastore.
    """

    ranges: Ranges
    file: str
    extent: Extent


class Described(NamedTuple):
    """A VM with what its disks are read from; `sources` is empty where it has obstacles."""

    placed: Placed
    values: Mapping[str, Any]
    vm: ForeignVm
    sources: tuple[Source, ...]


class Sources:
    """The VMs of one server, for the length of one attempt."""

    def __init__(self, endpoint: Endpoint, place: Place, attempt: Attempt) -> None:
        self._endpoint, self._place, self._attempt = endpoint, place, attempt

    def described(self, name: str) -> Described:
        """Return a VM as it can be copied; raises Refused, as `Sourcing.foreign_vm` says."""
        placed = find_vm(self._endpoint, name)
        values = read(self._endpoint, placed.ref, *PATHS)
        self._refuse_own(placed, values)
        stores = {
            store.name: store
            for ref in values.get("datastore") or ()
            if (store := self._datastore(ref, placed)) is not None
        }
        drives = drives_of(values, stores)
        obstacles = [*obstacles_of(values, drives), *self._encrypted(placed)]
        sources: list[Source] = []
        if not obstacles:
            for drive in drives:
                source = self._source(drive, stores[drive.place[0]])
                if isinstance(source, str):
                    obstacles.append(f"{drive.label} {source}")
                else:
                    sources.append(source)
        state = _state(values, drives, sources)
        vm = ForeignVm(
            placed.name,
            vmx_of(values, drives, f"state {state}"),
            tuple(FoundDisk(drive.label, drive.capacity_bytes) for drive in drives),
            tuple(obstacles),
        )
        return Described(placed, values, vm, () if obstacles else tuple(sources))

    def fetch(self, name: str, number: int, into: Path) -> None:
        """Copy a disk; what `Sourcing.fetch_disk` promises."""
        found = self.described(name)
        if found.vm.obstacles:
            raise Refused(
                f"cannot {self._attempt.what}: {found.vm.obstacles[0]}",
                remedy="see all that is in the way: metier image inspect",
            )
        if not 0 <= number < len(found.sources):
            raise Refused(f"cannot {self._attempt.what}: it has {len(found.sources)} disks")
        source = found.sources[number]
        identity = json.dumps([found.vm.vmx, number, source.file, *source.extent])
        size = source.extent.size
        with DiskCopy(into, sha256(identity.encode()).hexdigest(), size) as copy:
            self._attempt.tell(copy.done, size)
            while copy.done < size:
                self._require_same(found)
                stop = min(size, copy.done + PART_BYTES)
                for piece in source.ranges.stretch(source.file, copy.done, stop, source.extent):
                    copy.write(piece)
                    self._attempt.tell(copy.done, size)
        if self.described(name).vm != found.vm:
            raise self._changed()

    def _refuse_own(self, placed: Placed, values: Mapping[str, Any]) -> None:
        """Refuse a VM of Metier's; a copy of one, which VMware gives another identity, is somebody's own."""
        options = values.get("config.extraConfig") or ()
        mark = read_mark({str(one.key): one.value for one in options if isinstance(one.value, str)})
        if mark is None:
            return
        identity = replace(self._place, site=mark.site).vm_id(mark.node, mark.number)
        if values.get("config.instanceUuid") == identity or mark.staged:
            raise Refused(
                f"VM {placed.name} is VM{mark.number} of {mark.node}, which Metier {mark.site} runs itself",
                remedy="capture it instead: metier image capture",
            )

    def _datastore(self, ref: Any, placed: Placed) -> Datastore | None:
        """Return one of a VM's datastores; None if it is not there now."""
        values = read(self._endpoint, ref, "name", "browser", "summary.accessible")
        if not values.get("summary.accessible"):
            return None
        return Datastore(
            ref, str(values["name"]), placed.datacenter, placed.datacenter_path, values.get("browser")
        )

    def _encrypted(self, placed: Placed) -> Iterator[str]:
        # Servers older than 6.5 know neither encryption nor this word for it.
        with suppress(vmodl.query.InvalidProperty):
            if read(self._endpoint, placed.ref, "config.keyId").get("config.keyId") is not None:
                yield "it is encrypted: decrypt it by the storage policy 'Datastore Default'"

    def _source(self, drive: Drive, store: Datastore) -> Source | str:
        """Return what a disk is read from, or why it cannot be, to follow its name in a sentence."""
        ranges = Ranges(self._endpoint, store, self._attempt)
        file = drive.place[1]
        name = extent_name(ranges.get(file).decode("utf-8", "replace"), drive.capacity_bytes)
        if not name.endswith(".vmdk"):
            return name
        extent_file = f"{file.rpartition('/')[0]}/{name}".lstrip("/")
        extent = ranges.extent(extent_file)
        if extent.size != drive.capacity_bytes:
            return f"has a file of {extent.size} bytes, and {drive.capacity_bytes} are told: {EXPORT}"
        return Source(ranges, extent_file, extent)

    def _require_same(self, found: Described) -> None:
        """Raise Refused if somebody started or changed the VM."""
        paths = ("runtime.powerState", "config.changeVersion")
        now = read(self._endpoint, found.placed.ref, *paths)
        if any(now.get(path) != found.values.get(path) for path in paths):
            raise self._changed()

    def _changed(self) -> Refused:
        return Refused(
            f"cannot {self._attempt.what}: it was started or changed while it was copied",
            remedy="see that it stays off and as it is, then begin again",
        )


def extent_name(descriptor: str, capacity_bytes: int) -> str:
    """Return the flat file that a descriptor names, or why there is none that can be read.

    Such a reason never ends in `.vmdk`.
    """
    extents = _EXTENT.findall(descriptor)
    if _ENCRYPTED.search(descriptor):
        return "is encrypted: decrypt it by the storage policy 'Datastore Default'"
    if (extents and not _NO_PARENT.search(descriptor)) or "parentfilenamehint" in descriptor.lower():
        return "holds only the difference to another disk: import a full clone of the VM"
    kinds = {kind for _, kind, _ in extents}
    name = extents[0][2] if len(extents) == 1 else ""
    if not kinds <= {"VMFS", "FLAT"} or not name.endswith("-flat.vmdk") or "/" in name or "\\" in name:
        what = ", ".join(sorted(kinds)) or "nothing"
        return (
            f"is no single flat file on its datastore, as on vSAN, vVols and sesparse disks ({what[:60]}): "
            f"{EXPORT}"
        )
    if int(extents[0][0]) * 512 != capacity_bytes:
        return f"is of another size in its descriptor than {capacity_bytes} bytes: {EXPORT}"
    return name


def _state(values: Mapping[str, Any], drives: tuple[Drive, ...], sources: list[Source]) -> str:
    """Return a word that is another after any change of a VM that the server lets be seen."""
    said = [
        str(values.get(path)) for path in ("config.instanceUuid", "config.changeVersion", "runtime.bootTime")
    ]
    files = [drive.file for drive in drives]
    return sha256(json.dumps([said, files, [source.extent for source in sources]]).encode()).hexdigest()


class ForeignVms:
    """The part of a driver that keeps `Sourcing`; it looks through the whole inventory of its server."""

    _server: Server
    _place: Place
    _settings: Settings
    _is_closed: bool

    def foreign_vm(self, name: str, *, timeout_s: float) -> ForeignVm:
        return self._visit(f"look at VM {name}", lambda sources: sources.described(name).vm, timeout_s)

    def fetch_disk(self, name: str, number: int, into: Path, progress: Progress, *, timeout_s: float) -> None:
        what = f"copy disk {number + 1} of VM {name}"
        self._visit(what, lambda sources: sources.fetch(name, number, into), timeout_s, progress)

    def _visit(
        self, what: str, work: Callable[[Sources], T], timeout_s: float, progress: Progress | None = None
    ) -> T:
        what = f"{what} at {self._settings.url}"
        if self._is_closed:
            raise Unavailable(f"cannot {what}: the connection was closed")

        def with_session(endpoint: Endpoint, attempt: Attempt) -> T:
            return work(Sources(endpoint, self._place, attempt))

        return self._server.endpoint.do(what, with_session, timeout_s=timeout_s, progress=progress)

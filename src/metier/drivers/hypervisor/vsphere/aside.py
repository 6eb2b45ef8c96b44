"""VMs that Metier shut down: unregistered, their configuration moved aside; the way there, and back.

aside/NODE/VMn.json   what VM n was, and where its .vmx belongs
aside/NODE/VMn.vmx    its configuration

There: write the .json, unregister, move the .vmx.  Back: move the .vmx, register, delete the .json.  So
a VM that is registered is not aside, whatever lies here.  One that is not is aside if it has a .json, its
folder is still there, and its .vmx is either here or at home; where it is broken off between, both ways go
on from there.  All else that lies here is of a VM that somebody deleted, and is in nobody's way.
"""

import re
import threading
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple

from metier.domain.errors import Refused
from metier.drivers.hypervisor.vsphere.aside_form import AsideVm, from_json, to_json
from metier.drivers.hypervisor.vsphere.files import GONE, Files
from metier.drivers.hypervisor.vsphere.host import Host
from metier.drivers.hypervisor.vsphere.properties import finish, read
from metier.drivers.hypervisor.vsphere.vms import Vm
from metier.drivers.hypervisor.vsphere.vmware import identity, vim, vmodl

_FILE = re.compile(r"VM([1-9][0-9]{0,8})\.(json|vmx)")
_HOME = re.compile(r"\[(?P<datastore>[^\[\]]+)\] (?P<folder>[^\[\]]+)/(?P<name>[^/\[\]]+\.vmx)")


class Kept(NamedTuple):
    """A VM that has files in the folder.

    Attributes:
        is_here: Its `.vmx` is among them, and the folder that it belongs in is there.
    """

    vm: AsideVm
    is_here: bool


class Memory:
    """What a driver knows of its node's folder, so that a report need not search the datastore.

    The folder is looked through again in a new session, after any error, when
    a VM that was registered is so no more, and before a VM is made.  Nobody but
    this driver writes there; who takes files away by hand is met by the error.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._session: int | None = None
        self._kept: dict[int, Kept] = {}
        self._registered: frozenset[int] = frozenset()
        self._changes = 0

    @property
    def changes(self) -> int:
        """A number that every change makes another."""
        return self._changes

    def is_good(self, session: int) -> bool:
        """Whether the folder was looked through in this session, and no error since."""
        return self._session == session

    def distrust(self) -> None:
        """Have it looked through again; what files were read stays known."""
        self._session = None

    def get(self, number: int) -> Kept | None:
        """Return what is known of a VM."""
        return self._kept.get(number)

    def all(self) -> list[Kept]:
        """Return all that are known, by number."""
        return [kept for _, kept in sorted(self._kept.copy().items())]

    def learn(self, kept: dict[int, Kept], session: int, changes: int) -> None:
        """Take over what a look showed that began at `changes`, unless there were changes since."""
        with self._lock:
            if changes == self._changes:
                self._kept, self._session = kept, session

    def put(self, number: int, kept: Kept | None) -> None:
        """Note a change; None: nothing is known of it any more."""
        with self._lock:
            self._changes += 1
            self._kept.pop(number, None)
            if kept is not None:
                self._kept[number] = kept
                self._registered -= {number}

    def misses(self, registered: frozenset[int]) -> bool:
        """Note which VMs are registered; whether one is so no more, and not by this driver's doing."""
        with self._lock:
            before, self._registered = self._registered, registered
            return bool(before - registered)

    def forget(self, number: int) -> None:
        """Note that a VM is gone for good."""
        self.put(number, None)
        with self._lock:
            self._registered -= {number}


class Aside:
    """The folder of one node, for the length of one attempt."""

    def __init__(self, host: Host, files: Files, memory: Memory) -> None:
        self._endpoint, self._attempt = files.endpoint, files.attempt
        self._host, self._files, self._memory = host, files, memory
        self._folder = f"aside/{files.place.node}"

    # --- what is there ------------------------------------------------------

    def all(self, registered: Collection[int]) -> list[AsideVm]:
        """Return the VMs that are aside; costs nothing where the memory is good."""
        is_missing = self._memory.misses(frozenset(registered))
        if is_missing or not self._memory.is_good(self._endpoint.instance):
            self._look()
        return [
            kept.vm
            for kept in self._memory.all()
            if kept.vm.number not in registered and self._is_aside(kept)
        ]

    def find(self, number: int) -> Kept | None:
        """Look for a VM that is not registered; None if it is not aside either."""
        self._look()
        kept = self._memory.get(number)
        return kept if kept is not None and self._is_aside(kept) else None

    def _look(self) -> None:
        changes, kept = self._memory.changes, dict[int, Kept]()
        names = self._files.names(self._folder) or []
        for number in sorted({number for number, kind in _parsed(names) if kind == "json"}):
            known = self._memory.get(number)
            vm = known.vm if known is not None else self._read(number)
            kept[number] = Kept(vm, f"VM{number}.vmx" in names)
        for number in self._lost(kept.values()):
            kept[number] = kept[number]._replace(is_here=False)
        self._memory.learn(kept, self._endpoint.instance, changes)

    def _read(self, number: int) -> AsideVm:
        return from_json(number, self._files.transfers.get(self._files.file(self._name(number, "json"))))

    def _lost(self, kept: Collection[Kept]) -> Iterator[int]:
        """Yield the numbers of those here whose folder was deleted; of most, one question tells."""
        homes: dict[str, list[tuple[int, str]]] = {}
        for vm in (one.vm for one in kept if one.is_here):
            if match := _HOME.fullmatch(vm.home):
                above, _, name = match["folder"].rpartition("/")
                homes.setdefault(f"[{match['datastore']}] {above}", []).append((vm.number, name))
        for above, folders in homes.items():
            # A datastore that is not reached now is no reason to forget what belongs there.
            with suppress(vim.fault.InvalidDatastore):
                there = self._names(above, "*") or ()
                for number, name in folders:
                    path = f"{above}/{name}" if not above.endswith(" ") else f"{above}{name}"
                    if name not in there and self._names(path, "*") is None:
                        yield number

    def _is_aside(self, kept: Kept) -> bool:
        """Whether a VM that is not registered here is aside, and not deleted or moved by hand."""
        return kept.is_here or (_HOME.fullmatch(kept.vm.home) is not None and self._is_at_home(kept.vm))

    def _is_at_home(self, vm: AsideVm) -> bool:
        index, center = self._endpoint.content.searchIndex, self._host.datastore.datacenter
        if index.FindByDatastorePath(center, vm.home) is not None:
            return False  # registered, and not here: it was moved to another host meanwhile
        folder, _, name = vm.home.rpartition("/")
        return name in (self._names(folder, name) or ())

    def _names(self, folder: str, pattern: str) -> Collection[str] | None:
        """Return names in a folder of any datastore; None if there is no such folder."""
        details = vim.host.DatastoreBrowser.SearchSpec(matchPattern=[pattern])
        try:
            found = finish(
                self._endpoint, self._attempt, self._browser(folder).SearchDatastore_Task(folder, details)
            )
        except GONE:
            return None
        return {str(file.path) for file in found.file or ()}

    def _browser(self, path: str) -> Any:
        """Return what lists files of a path's datastore: the host's own sees them all."""
        if path.startswith(f"[{self._host.datastore.name}]"):
            return self._host.datastore.browser
        return read(self._endpoint, self._host.ref, "datastoreBrowser")["datastoreBrowser"]

    # --- there --------------------------------------------------------------

    def move_away(self, vm: Vm) -> None:
        """Unregister a VM that is off and has nothing on it, and move its configuration here."""
        paths = ("name", "config.files.vmPathName", "parent", "resourcePool")
        values = read(self._endpoint, vm.ref, *paths)
        kept = _describe(vm, self._host)
        kept = replace(
            kept,
            name=str(values["name"]),
            home=str(values["config.files.vmPathName"]),
            folder=_id(values.get("parent")),
            pool=_id(values.get("resourcePool")),
        )
        self._memory.put(vm.number, None)
        self._files.make_folder(self._folder)
        self._files.put_small(self._name(vm.number, "json"), to_json(kept))
        self._attempt.begin()
        vm.ref.UnregisterVM()
        self.finish_away(Kept(kept, is_here=False))

    def finish_away(self, kept: Kept) -> None:
        """Move the configuration of a VM that is unregistered here, if it is not here."""
        number, here = kept.vm.number, self._files.path(self._name(kept.vm.number, "vmx"))
        if not kept.is_here and kept.vm.home != here:
            self._memory.put(number, None)
            self._move(kept.vm.home, here, force=True)
        self._memory.put(number, Kept(kept.vm, is_here=True))

    # --- back ---------------------------------------------------------------

    def bring_back(self, kept: Kept) -> Any:
        """Put a VM's configuration where it belongs and register it; returns VMware's handle of it.

        What was noted of it stays until `forget`.
        """
        vm, here = kept.vm, self._files.path(self._name(kept.vm.number, "vmx"))
        if _HOME.fullmatch(vm.home) is None:
            raise Refused(
                f"cannot {self._attempt.what}: {self._files.path(self._name(vm.number, 'json'))} is damaged",
                remedy=f"register the VM by hand from {here}, or delete both files",
            )
        self._memory.put(vm.number, None)
        is_double = kept.is_here and vm.home != here and not self._moved_home(here, vm.home)
        self._attempt.begin()
        folder = self._still(vim.Folder, vm.folder) or self._host.folder
        pool = self._still(vim.ResourcePool, vm.pool) or self._host.pool
        task = folder.RegisterVM_Task(vm.home, vm.name, False, pool, self._host.ref)
        registered = finish(self._endpoint, self._attempt, task)
        if is_double:
            self._files.delete(self._name(vm.number, "vmx"))
        return registered

    def _moved_home(self, here: str, home: str) -> bool:
        """Move a configuration home; False if somebody has copied it there: that one is taken as it is."""
        try:
            self._move(here, home, force=False)
        except vim.fault.FileAlreadyExists:
            return False
        return True

    def forget(self, number: int) -> None:
        """Delete what was noted of a VM that is registered again."""
        self._files.delete(self._name(number, "json"))
        self._memory.put(number, None)

    def drop_lost(self, number: int) -> None:
        """Delete what lies here of a VM that is not aside, before it is made anew."""
        if self._memory.get(number) is not None:
            self.drop(number)

    def drop(self, number: int) -> None:
        """Delete all that lies here of a VM that is gone for good."""
        for name in self._files.names(self._folder) or ():
            if name in (f"VM{number}.json", f"VM{number}.vmx"):
                self._files.delete(f"{self._folder}/{name}")
        self._memory.forget(number)

    def _still(self, kind: Any, name: str) -> Any | None:
        """Return a thing of the inventory by its id, if it is still there."""
        if not name:
            return None
        ref = kind(name, self._endpoint.stub)
        try:
            read(self._endpoint, ref, "name")
        except (vmodl.fault.ManagedObjectNotFound, vmodl.fault.InvalidArgument):
            return None
        return ref

    def _move(self, source: str, target: str, *, force: bool) -> None:
        self._attempt.begin()
        files, center = self._endpoint.content.fileManager, self._host.datastore.datacenter
        task = files.MoveDatastoreFile_Task(source, center, target, center, force)
        finish(self._endpoint, self._attempt, task)

    def _name(self, number: int, kind: str) -> str:
        return f"{self._folder}/VM{number}.{kind}"


def _describe(vm: Vm, host: Host) -> AsideVm:
    assert vm.mark is not None
    hardware = vm.hardware(host)
    return AsideVm(
        vm.number,
        memory_mib=hardware.memory_mib,
        cpus=hardware.cpus,
        disk_gib=hardware.disk_gib,
        nics=hardware.nics,
        networks=tuple(sorted(hardware.networks)),
        macs=vm.macs,
        staged=vm.mark.staged,
        staged_folder=vm.mark.staged_folder,
    )


def _id(ref: Any) -> str:
    return "" if ref is None else identity(ref)


def _parsed(names: Collection[str]) -> Iterator[tuple[int, str]]:
    for name in names:
        match = _FILE.fullmatch(name)
        if match is not None:
            yield int(match[1]), match[2]

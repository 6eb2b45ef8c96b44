"""Files and folders of Metier's on one datastore, by VMware's own calls."""

import http.client
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

from metier.domain.errors import DriverError
from metier.drivers.hypervisor.vsphere.attempt import Attempt
from metier.drivers.hypervisor.vsphere.configuration import Place
from metier.drivers.hypervisor.vsphere.endpoint import Endpoint
from metier.drivers.hypervisor.vsphere.faults import Unreadable
from metier.drivers.hypervisor.vsphere.host import Datastore
from metier.drivers.hypervisor.vsphere.properties import finish
from metier.drivers.hypervisor.vsphere.transfer import Transfers
from metier.drivers.hypervisor.vsphere.vmware import vim, vmodl

# Datastores of objects: a folder at their top is an object too, and made by a call of its own.
_OF_OBJECTS = frozenset(("vsan", "vvol"))
_OF_EXTENTS = ("-flat.vmdk", "-delta.vmdk", "-sesparse.vmdk")

_Browser = vim.host.DatastoreBrowser
GONE = (vim.fault.FileNotFound, vmodl.fault.ManagedObjectNotFound)
# What may happen to a call that only tidies up after another that failed.
BROKEN = (DriverError, Unreadable, vmodl.MethodFault, OSError, http.client.HTTPException)

_locks: dict[tuple[str, str], threading.Lock] = {}
_locks_lock = threading.Lock()


class Files:
    """What lies below Metier's folder on a datastore, for the length of one attempt."""

    def __init__(self, endpoint: Endpoint, datastore: Datastore, place: Place, attempt: Attempt) -> None:
        self.endpoint, self.datastore, self.place, self.attempt = endpoint, datastore, place, attempt
        self.transfers = Transfers(endpoint, datastore, attempt)

    def file(self, name: str) -> str:
        """Return a file's name on the datastore, as HTTP wants it."""
        return f"{self.place.folder}/{name}"

    def path(self, name: str) -> str:
        """Return it as VMware's own calls want it."""
        return f"[{self.datastore.name}] {self.file(name)}"

    def put_small(self, name: str, content: bytes) -> None:
        """Write a small file."""
        self.transfers.put(self.file(name), (content,), len(content), lambda _sent: None)

    def names(self, folder: str) -> list[str] | None:
        """Return the names in a folder; None if there is no such folder."""
        found = self._search(folder, _search("*"))
        return None if found is None else [str(file.path) for file in found]

    def changes(self, folder: str) -> Mapping[str, datetime | None] | None:
        """Return the names in a folder and when each was last written to; None if there is no such folder."""
        found = self._search(folder, _search("*", in_full=True))
        return None if found is None else {str(file.path): file.modification for file in found}

    def has_below(self, folder: str, name: str) -> bool:
        """Whether any folder in a folder has a file of this name: one question, however many there are."""
        task = self.datastore.browser.SearchDatastoreSubFolders_Task(self.path(folder), _search(name))
        try:
            results = finish(self.endpoint, self.attempt, task)
        except GONE:
            return False
        return any(result.file for result in results or ())

    def _search(self, folder: str, specification: Any) -> list[Any] | None:
        task = self.datastore.browser.SearchDatastore_Task(self.path(folder), specification)
        try:
            result = finish(self.endpoint, self.attempt, task)
        except GONE:
            return None
        return list(result.file or ())

    def make_folder(self, folder: str) -> None:
        """Make a folder and those above it, unless they are there."""
        self._make_top()
        with suppress(vim.fault.FileAlreadyExists):
            self._make(folder, with_parents=True)

    def make_first(self, folder: str) -> bool:
        """Make a folder whose parent exists; False if it was there already, however close the race."""
        try:
            self._make(folder, with_parents=False)
        except vim.fault.FileAlreadyExists:
            return False
        return True

    def _make(self, folder: str, *, with_parents: bool) -> None:
        self.attempt.begin()
        files = self.endpoint.content.fileManager
        files.MakeDirectory(self.path(folder), self.datastore.datacenter, with_parents)

    def _make_top(self) -> None:
        """Make the topmost of Metier's folders where that takes another call than for all others."""
        if self.datastore.kind not in _OF_OBJECTS:
            return
        self.attempt.begin()
        top = self.place.folder.partition("/")[0]
        with suppress(vim.fault.FileAlreadyExists):
            self.endpoint.content.datastoreNamespaceManager.CreateDirectory(self.datastore.ref, top)

    def delete_disk(self, name: str) -> None:
        """Delete a disk by its descriptor, with all its extents."""
        self.attempt.begin()
        disks = self.endpoint.content.virtualDiskManager
        self._unless_gone(disks.DeleteVirtualDisk_Task(self.path(name), self.datastore.datacenter))

    def delete(self, name: str) -> None:
        """Delete a file, or a folder with all that is in it; nothing happens if there is none."""
        self.attempt.begin()
        files = self.endpoint.content.fileManager
        self._unless_gone(files.DeleteDatastoreFile_Task(self.path(name), self.datastore.datacenter))

    def drop_folder(self, folder: str) -> None:
        """Delete a folder; its disks first, as disks, so that none is left where disks are not mere files."""
        for name in self.names(folder) or ():
            if name.endswith(".vmdk") and not name.endswith(_OF_EXTENTS):
                self.delete_disk(f"{folder}/{name}")
        self.delete(folder)

    @contextmanager
    def dropped_if_it_fails(self, folder: str, kinds: type[BaseException] = BaseException) -> Iterator[None]:
        """Delete a folder if the block ends with an error of some kinds, which stays the one that is told."""
        try:
            yield
        except kinds:
            with suppress(*BROKEN):
                self.drop_folder(folder)
            raise

    def _unless_gone(self, task: Any) -> None:
        with suppress(*GONE):
            finish(self.endpoint, self.attempt, task)

    @property
    def identity(self) -> str:
        """What tells the datastore from all others, whichever server it is reached through."""
        return self.datastore.identity or f"{self.endpoint.url}/{self.datastore.name}"

    @contextmanager
    def alone(self, part: str) -> Iterator[None]:
        """Keep other calls of this process out of one part of this datastore, whichever host they are for."""
        with _locks_lock:
            lock = _locks.setdefault((self.identity, self.file(part)), threading.Lock())
        with self.attempt.alone(lock, f"another copy to datastore {self.datastore.name} is under way"):
            yield


def _search(pattern: str, *, in_full: bool = False) -> Any:
    # Without any specification some servers fail; with all details a large folder takes long.
    details = _Browser.FileInfo.Details(
        fileType=in_full, fileSize=False, modification=in_full, fileOwner=False
    )
    return _Browser.SearchSpec(matchPattern=[pattern], details=details, searchCaseInsensitive=False)

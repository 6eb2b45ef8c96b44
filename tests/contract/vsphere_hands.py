"""What people do on a VMware server with its own tools, behind Metier's back."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pyVmomi import vim, vmodl

from tests.contract.vsphere_testbed import VsphereTestbed


class Hands:
    """An administrator of one testbed's server, for the length of a block."""

    def __init__(self, testbed: VsphereTestbed, content: Any) -> None:
        self._testbed, self._content = testbed, content

    # --- looking ------------------------------------------------------------

    def names(self) -> list[str]:
        """Names of all VMs of the testbed's host."""
        return sorted(vm.name for vm in self._host.vm)

    def vm(self, name: str) -> Any:
        return self._testbed.vm(self._content, name)

    def devices(self, name: str) -> list[tuple[object, ...]]:
        """What a VM's disks, drives, controllers and interfaces are, as far as can be compared."""
        return sorted(
            (type(one).__name__, one.unitNumber or 0, self._told(one))
            for one in self.vm(name).config.hardware.device
            if not isinstance(one, vim.vm.device.VirtualVideoCard)
        )

    def _told(self, device: Any) -> tuple[object, ...]:
        backing = device.backing
        file, mode = getattr(backing, "fileName", ""), getattr(backing, "diskMode", "")
        return (
            file,
            mode,
            getattr(device, "macAddress", ""),
            getattr(device, "busNumber", 0),
            getattr(device, "capacityInKB", 0),
        )

    # --- changing -----------------------------------------------------------

    def make(self, name: str, *devices: Any, folder: str = "", pool: str = "") -> Any:
        """Make a VM that is off, of BIOS, with devices; in a folder, or in a new resource pool."""
        spec = vim.vm.ConfigSpec(
            name=name,
            guestId="debian10_64Guest",
            memoryMB=128,
            numCPUs=2,
            files=vim.vm.FileInfo(vmPathName=f"[{self._datastore}]"),
            deviceChange=[
                vim.vm.device.VirtualDeviceSpec(
                    operation="add",
                    device=one,
                    fileOperation="create" if isinstance(one, vim.vm.device.VirtualDisk) else None,
                )
                for one in devices
            ],
        )
        where = self.folder(folder) if folder else self._vm_folder
        return self._done(where.CreateVM_Task(spec, self._pool(pool), self._host))

    def folder(self, name: str) -> Any:
        """A folder of the inventory, made if it is not there."""
        found = next((one for one in self._vm_folder.childEntity if one.name == name), None)
        return found or self._vm_folder.CreateFolder(name)

    def _pool(self, name: str) -> Any:
        root = self._host.parent.resourcePool
        return root.CreateResourcePool(name, root.config) if name else root

    def reconfigure(self, name: str, **changes: Any) -> None:
        self._done(self.vm(name).ReconfigVM_Task(vim.vm.ConfigSpec(**changes)))

    def rename(self, name: str, new: str) -> None:
        self._done(self.vm(name).Rename_Task(new))

    def unregister(self, name: str) -> None:
        self.vm(name).UnregisterVM()

    def destroy(self, name: str) -> None:
        self._done(self.vm(name).Destroy_Task())

    def register(self, path: str, name: str) -> None:
        pool = self._host.parent.resourcePool
        self._done(self._vm_folder.RegisterVM_Task(path, name, False, pool, self._host))

    def move_file(self, source: str, target: str) -> None:
        files, center = self._content.fileManager, self._center
        self._done(files.MoveDatastoreFile_Task(self.path(source), center, self.path(target), center, False))

    def path(self, file: str) -> str:
        return f"[{self._datastore}] {file}"

    def migrate(self, name: str, host: str) -> None:
        """Move a VM to another host, as load balancing does too."""
        target = next(one for one in self._hosts if one.name == host)
        moved = next(vm for one in self._hosts for vm in one.vm if vm.name == name)
        self._done(moved.MigrateVM_Task(host=target, priority="defaultPriority"))

    def _done(self, task: Any) -> Any:
        """Read by path: pyVmomi cannot read all of the simulator's tasks as a whole."""
        kind = vmodl.query.PropertyCollector
        spec = kind.FilterSpec(
            propSet=[kind.PropertySpec(type=vim.Task, pathSet=["info.state", "info.result", "info.error"])],
            objectSet=[kind.ObjectSpec(obj=task)],
        )
        (found,) = self._content.propertyCollector.RetrieveContents([spec])
        told = {entry.name: entry.val for entry in found.propSet}
        assert told["info.state"] == "success", told["info.error"]
        return told.get("info.result")

    # --- where --------------------------------------------------------------

    @property
    def _datastore(self) -> str:
        return self._testbed.settings["datastore"]

    @property
    def _center(self) -> Any:
        return self._content.rootFolder.childEntity[0]

    @property
    def _vm_folder(self) -> Any:
        return self._center.vmFolder

    @property
    def _hosts(self) -> list[Any]:
        root, kinds = self._content.rootFolder, [vim.HostSystem]
        return list(self._content.viewManager.CreateContainerView(root, kinds, True).view)

    @property
    def _host(self) -> Any:
        return next(one for one in self._hosts if self._testbed.host in ("", one.name))


@contextmanager
def by_hand(testbed: VsphereTestbed) -> Iterator[Hands]:
    """Be an administrator."""
    with testbed.administrator() as content:
        yield Hands(testbed, content)


def files_on(testbed: VsphereTestbed) -> list[str]:
    """Return all files on the datastore."""
    root = testbed.datastore
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())

"""Somebody with VMs of their own on a simulated VMware server, which Metier may look at and copy."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from metier.drivers.hypervisor.vsphere.vmware import vim
from tests.contract.vsphere_testbed import VsphereTestbed

device = vim.vm.device


class Lender:
    """Somebody with VMs of their own."""

    def __init__(self, testbed: VsphereTestbed) -> None:
        self._testbed = testbed
        self.datastore = testbed.settings["datastore"]

    def make(self, name: str, *disks: bytes, folder: str = "", **settings: Any) -> None:
        """Make a VM that is off, with these disks, each after the first on the next place."""
        with self._testbed.administrator() as content:
            spec = vim.vm.ConfigSpec(
                name=name.replace("%", "%25").replace("/", "%2f"),
                guestId="debian12_64Guest",
                memoryMB=512,
                numCPUs=2,
                files=vim.vm.FileInfo(vmPathName=f"[{self.datastore}]"),
                deviceChange=[self._controller(), self._nic()],
                **settings,
            )
            host = self._host(content)
            where = self._folder(content, folder)
            task = where.CreateVM_Task(spec, host.parent.resourcePool, host)
            assert task.info.state == "success", task.info.error
        for number, disk in enumerate(disks):
            with self.vm(name, folder) as vm:
                home = vm.config.files.vmPathName.rpartition("/")[0]
                file = f"{home}/disk-{number}.vmdk"
                change = self._disk(number, disk, file, controller_of(vm))
                task = vm.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[change]))
                assert task.info.state == "success", task.info.error
            self.extent(name, number, folder).write_bytes(disk)

    def _host(self, content: Any) -> Any:
        view = content.viewManager.CreateContainerView(content.rootFolder, [vim.HostSystem], True)
        return next(host for host in view.view if self._testbed.host in ("", host.name))

    def _folder(self, content: Any, name: str) -> Any:
        where = content.rootFolder.childEntity[0].vmFolder
        if not name:
            return where
        return next((one for one in where.childEntity if one.name == name), None) or where.CreateFolder(name)

    def _controller(self) -> Any:
        controller = device.ParaVirtualSCSIController(key=-1, busNumber=0, sharedBus="noSharing")
        return device.VirtualDeviceSpec(operation="add", device=controller)

    def _disk(self, number: int, content: bytes, file: str, controller: int) -> Any:
        backing = device.VirtualDisk.FlatVer2BackingInfo(
            fileName=file, diskMode="persistent", thinProvisioned=True
        )
        disk = device.VirtualDisk(
            key=-10 - number,
            controllerKey=controller,
            unitNumber=number,
            capacityInKB=len(content) >> 10,
            backing=backing,
        )
        return device.VirtualDeviceSpec(operation="add", fileOperation="create", device=disk)

    def _nic(self) -> Any:
        backing = device.VirtualEthernetCard.NetworkBackingInfo(deviceName="VM Network")
        return device.VirtualDeviceSpec(operation="add", device=device.VirtualE1000(key=-50, backing=backing))

    @contextmanager
    def vm(self, name: str, folder: str = "") -> Iterator[Any]:
        """Have a VM at hand, as its owner has."""
        wanted = name.replace("%", "%25").replace("/", "%2f")
        with self._testbed.administrator() as content:
            view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True)
            yield next(
                vm for vm in view.view if vm.name == wanted and (not folder or vm.parent.name == folder)
            )

    def extent(self, name: str, number: int, folder: str = "") -> Path:
        """Return where the content of a disk lies."""
        with self.vm(name, folder) as vm:
            disks = [one for one in vm.config.hardware.device if isinstance(one, device.VirtualDisk)]
            path = disks[number].backing.fileName.partition("] ")[2]
        return self._testbed.datastore / f"{path.removesuffix('.vmdk')}-flat.vmdk"

    def change(self, name: str, **changes: Any) -> None:
        with self.vm(name) as vm:
            task = vm.ReconfigVM_Task(vim.vm.ConfigSpec(**changes))
            assert task.info.state == "success", task.info.error


def controller_of(vm: Any) -> int:
    """Return the key of a VM's SCSI controller."""
    return next(
        int(one.key) for one in vm.config.hardware.device if isinstance(one, device.VirtualSCSIController)
    )

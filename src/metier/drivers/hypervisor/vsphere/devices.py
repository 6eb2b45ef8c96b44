"""Changes of a VM's devices, as VMware wants them described.  Talks to nobody."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from metier.drivers.hypervisor.vsphere.shape import PlacedDisk, Shape
from metier.drivers.hypervisor.vsphere.vms import Vm
from metier.drivers.hypervisor.vsphere.vmware import vim

_device = vim.vm.device
_Spec = _device.VirtualDeviceSpec

# Keys of devices that do not exist yet: below zero, the server gives them their own.
_FIRST_CONTROLLER, _FIRST_DISK, _FIRST_NIC, _CDROM = -100, -200, -300, -400


@dataclass(frozen=True, slots=True)
class DiskFile:
    """A disk of an instance on the datastore.

    Attributes:
        path: Its descriptor, as `[datastore] folder/file.vmdk`.
        parent: The image's disk that it is to be made over; None if it is there already.
        capacity_bytes: Size that the guest sees.
    """

    path: str
    parent: str | None
    capacity_bytes: int


def new_nics(backings: Sequence[Any]) -> list[Any]:
    """Return the changes that give a new VM its interfaces; their addresses come from VMware."""
    return [_added_nic(_device.VirtualVmxnet3, _FIRST_NIC - at, one) for at, one in enumerate(backings)]


def without_instance(vm: Vm) -> list[Any]:
    """Return the changes that take disks and personality off a VM; the files stay."""
    return without(vm.of_kind((_device.VirtualDisk, _device.VirtualCdrom)))


def put_on(devices: Iterable[Any]) -> list[Any]:
    """Return the changes that give a VM devices as they are; their files are there."""
    return [_added(device) for device in devices]


def controllers(vm: Vm) -> list[Any]:
    """Return the controllers that disks are put on and that come and go with them."""
    return vm.of_kind((_device.VirtualSCSIController, _device.VirtualSATAController))


def without(devices: Iterable[Any]) -> list[Any]:
    """Return the changes that take devices off a VM; their files stay."""
    return [_removed(device) for device in devices]


def with_instance(vm: Vm, shape: Shape, disks: Sequence[DiskFile], seed: str) -> list[Any]:
    """Return the changes that give a VM an instance and a personality, and nothing else.

    A staged VM keeps its interfaces and its controllers: they are a person's, and go back as they were.
    """
    changes = [] if vm.is_staged else list(_nics(vm, shape.nics))
    if [_file_of(disk) for disk in vm.of_kind(_device.VirtualDisk)] != [disk.path for disk in disks]:
        changes += [_removed(disk) for disk in vm.of_kind(_device.VirtualDisk)]
        changes += _disks(vm, shape.disks, disks)
    changes += [_removed(drive) for drive in vm.of_kind(_device.VirtualCdrom)]
    changes.append(_added(_cdrom(vm, shape, seed)))
    return changes


def _file_of(device: Any) -> str | None:
    return getattr(device.backing, "fileName", None)


def _disks(vm: Vm, placed: Sequence[PlacedDisk], disks: Sequence[DiskFile]) -> Iterator[Any]:
    """Yield what gives a VM its disks, and the controllers that these need and no others."""
    wanted = dict.fromkeys(place.controller for place in placed)
    kept: dict[Any, Any] = {}
    for controller in controllers(vm):
        if type(controller) in wanted:
            kept.setdefault(type(controller), controller)
        elif not vm.is_staged:
            yield _removed(controller)
    for kind in wanted:
        if kind is _device.VirtualIDEController:
            kept[kind] = vm.of_kind(kind)[0]
        elif kind not in kept:
            others = {**kept, **{id(one): one for one in controllers(vm)}} if vm.is_staged else kept
            kept[kind] = _controller(kind, _FIRST_CONTROLLER - len(kept), others.values())
            yield _added(kept[kind])
    for number, (place, disk) in enumerate(zip(placed, disks, strict=True)):
        yield _disk(disk, kept[place.controller].key, place.unit, _FIRST_DISK - number)


def _controller(kind: Any, key: int, others: Iterable[Any]) -> Any:
    """Return a controller on the first bus that others of its family leave free."""
    is_scsi = issubclass(kind, _device.VirtualSCSIController)
    family = _device.VirtualSCSIController if is_scsi else kind
    taken = {other.busNumber for other in others if isinstance(other, family)}
    bus = next(number for number in range(len(taken) + 1) if number not in taken)
    if is_scsi:
        return kind(key=key, busNumber=bus, sharedBus="noSharing")
    return kind(key=key, busNumber=bus)


def _disk(disk: DiskFile, controller: int, unit: int, key: int) -> Any:
    backing = _device.VirtualDisk.FlatVer2BackingInfo(
        fileName=disk.path, diskMode="persistent", thinProvisioned=True
    )
    if disk.parent is not None:
        backing.parent = _device.VirtualDisk.FlatVer2BackingInfo(fileName=disk.parent, diskMode="persistent")
    device = _device.VirtualDisk(
        key=key,
        controllerKey=controller,
        unitNumber=unit,
        capacityInKB=disk.capacity_bytes >> 10,
        backing=backing,
    )
    change = _added(device)
    if disk.parent is not None:
        change.fileOperation = _Spec.FileOperation.create
    return change


def _cdrom(vm: Vm, shape: Shape, seed: str) -> Any:
    """Return a drive with the personality, on the IDE controller that no disk is on: every VM has two."""
    controllers = vm.of_kind(_device.VirtualIDEController)
    has_ide_disks = any(place.controller is _device.VirtualIDEController for place in shape.disks)
    controller = controllers[-1] if has_ide_disks and len(controllers) > 1 else controllers[0]
    return _device.VirtualCdrom(
        key=_CDROM,
        controllerKey=controller.key,
        unitNumber=0,
        backing=_device.VirtualCdrom.IsoBackingInfo(fileName=seed),
        connectable=_connected(),
    )


def _nics(vm: Vm, kinds: Sequence[Any]) -> Iterator[Any]:
    """Exchange the interfaces that are not of the image's kind; an exchanged one may get another address."""
    for number, (nic, kind) in enumerate(zip(vm.nics, kinds, strict=True)):
        if type(nic) is not kind:
            yield _removed(nic)
            yield _added_nic(kind, _FIRST_NIC - number, nic.backing)


def _added_nic(kind: Any, key: int, backing: Any) -> Any:
    return _added(kind(key=key, backing=backing, addressType="generated", connectable=_connected()))


def _connected() -> Any:
    return _device.VirtualDevice.ConnectInfo(startConnected=True, allowGuestControl=True, connected=True)


def _added(device: Any) -> Any:
    return _Spec(operation=_Spec.Operation.add, device=device)


def _removed(device: Any) -> Any:
    return _Spec(operation=_Spec.Operation.remove, device=device)

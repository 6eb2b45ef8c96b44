"""Copies what the disks of a VM hold, and makes sure that it is one state of them and all of it."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import libvirt

from metier.domain.errors import Refused
from metier.drivers.hypervisor.api import Ended, MakeRoom, TakenDisks
from metier.drivers.hypervisor.libvirt import vms
from metier.drivers.hypervisor.libvirt.configuration import Place
from metier.drivers.hypervisor.libvirt.pool import Stored
from metier.drivers.hypervisor.libvirt.store import Store

# A daemon that was restarted meanwhile has forgotten, and says something else.
_ENDED = {
    libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN: Ended.BY_GUEST,
    libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED: Ended.CUT,
    libvirt.VIR_DOMAIN_SHUTOFF_CRASHED: Ended.CUT,
    libvirt.VIR_DOMAIN_SHUTOFF_FAILED: Ended.CUT,
}


def ended(vm: vms.Vm, place: Place) -> Ended:
    """Return how a VM came to be off; raises Refused if it is not."""
    state, reason = vm.domain.state()
    if state == libvirt.VIR_DOMAIN_CRASHED:
        return Ended.CUT
    if state != libvirt.VIR_DOMAIN_SHUTOFF:
        _require_off(vm, place)
    return _ENDED.get(reason, Ended.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Capture:
    """The copying of one VM's disks, for the length of one attempt.

    Attributes:
        vm: Looks the VM up, as it is at that moment; raises Refused.
        store: Where its instance lies.
        place: Whose VM it is.
    """

    vm: Callable[[], vms.Vm]
    store: Store
    place: Place

    def take(self, into: Path, make_room: MakeRoom) -> TakenDisks:
        """Copy the disks into a folder; raises Refused if they are in use, or not what Metier made."""
        vm = self.vm()
        before = self._state_of(vm)
        assert vm.instance is not None
        parent = self._parent(vm, before)
        make_room(sum(disk.size_bytes for disk in before))
        files = tuple(into / f"disk{number}.qcow2" for number in range(len(before)))
        self.store.download(before, files)
        again = self.vm()
        if again.instance != vm.instance or self._state_of(again) != before:
            raise Refused(
                f"cannot capture {self._name(vm)}: its disks were written to while they were copied",
                remedy="keep it off until the capture is done: shut its guest OS down, then capture it again",
            )
        return TakenDisks(vm.instance, files, parent)

    def _state_of(self, vm: vms.Vm) -> tuple[Stored, ...]:
        """Return the disks of a VM as they are, if they can be copied; raises Refused."""
        _require_off(vm, self.place)
        if vm.instance is None:
            raise Refused(f"cannot capture {self._name(vm)}: there is no instance on it")
        if vm.domain.hasManagedSaveImage():
            raise Refused(
                f"cannot capture {self._name(vm)}: its memory is saved, and its disks alone are not whole",
                remedy="start it and shut its guest OS down",
            )
        disks = self.store.instance_disks(vm.instance)
        self._require_own(vm, disks)
        return disks

    def _require_own(self, vm: vms.Vm, disks: Sequence[Stored]) -> None:
        """Refuse a VM whose guest writes elsewhere than into its instance."""
        known = [disk.path for disk in disks]
        used = list(_sources(vm))
        for source in used:
            if source not in known:
                raise Refused(
                    f"cannot capture {self._name(vm)}: its disk {source} is not of its instance"
                    f" {vm.instance}; another tool made it, perhaps as a snapshot",
                    remedy="merge or detach it on the host (virsh blockcommit, virsh detach-disk)",
                )
        missing = [path for path in known if path not in used]
        if missing or not known:
            what = f"disk {missing[0]}" if missing else "any disk"
            raise Refused(f"cannot capture {self._name(vm)}: it does not have {what} of {vm.instance}")

    def _parent(self, vm: vms.Vm, disks: Sequence[Stored]) -> str:
        """Return the key of the image that all disks are children of; nothing if none is; raises Refused."""
        if all(disk.parent is None for disk in disks):
            return ""
        keys = set()
        for number, disk in enumerate(disks):
            key = self._image_of(disk.parent or "", number)
            if key is None:
                raise Refused(
                    f"cannot capture {self._name(vm)}: its disk {disk.path} stands on"
                    f" {disk.parent or 'nothing'} and not on its image",
                    remedy="another tool changed it: put it back on its image, or archive and import the VM",
                )
            keys.add(key)
        if len(keys) > 1:
            several = ", ".join(sorted(keys))
            raise Refused(f"cannot capture {self._name(vm)}: its disks stand on several images: {several}")
        return keys.pop()

    def _image_of(self, parent: str, number: int) -> str | None:
        folder = re.escape(self.place.folder("images"))
        match = re.fullmatch(rf"{folder}/([^/]+)\.{number}\.qcow2", parent)
        return None if match is None else match[1]

    def _name(self, vm: vms.Vm) -> str:
        return f"VM{vm.number} of {self.place.node}"


def _require_off(vm: vms.Vm, place: Place) -> None:
    vms.require_off(vm, place, "capture", "shut its guest OS down, then capture it again")


def _sources(vm: vms.Vm) -> Iterator[str]:
    """Yield what each disk of a VM is, whatever kind of disk: a path, or what else its configuration says."""
    tree = ET.fromstring(vm.domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
    for disk in tree.iterfind("devices/disk"):
        if disk.get("device", "disk") in ("disk", "lun"):
            source = disk.find("source")
            words = {} if source is None else source.attrib
            yield words.get("file") or " ".join(sorted(words.values())) or "without a source"

"""Devices as words and back, so that what was taken off a VM can be put on again.  Talks to nobody."""

from collections.abc import Mapping
from typing import Any

from pyVmomi import VmomiSupport

from metier.drivers.hypervisor.vsphere.vmware import vim

_types: Any = VmomiSupport

_KIND = "="
# Deeper than any device is; only a text that lies is deeper.
_DEEPEST = 8
_PLAIN = (str, int, bool)


def pack(device: Any) -> dict[str, Any]:
    """Return a device as tables and words; what the server refers to by its own ids is left out."""
    packed: dict[str, Any] = {_KIND: device._wsdlName}  # noqa: SLF001  # pyVmomi offers no other way to it
    for info in device._GetPropertyList():  # noqa: SLF001
        value = getattr(device, info.name)
        if isinstance(value, _types.DataObject):
            packed[info.name] = pack(value)
        elif isinstance(value, _PLAIN):
            packed[info.name] = value
    return packed


def unpack(packed: Any) -> Any:
    """Return the device; raises ValueError if `pack` did not write it."""
    device = _unpack(packed, vim.vm.device.VirtualDevice, 0)
    if not isinstance(device, vim.vm.device.VirtualDevice):
        raise ValueError("it is no device")
    return device


def _unpack(packed: Any, expected: type, depth: int) -> Any:
    if not isinstance(packed, Mapping) or depth > _DEEPEST:
        raise ValueError("it is no table")
    try:
        kind = _types.GetWsdlType("urn:vim25", packed[_KIND])
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("it is of no kind that is known") from error
    # Nothing but what belongs in this place: whoever can write to a VM's configuration chose the words.
    if not issubclass(kind, expected):
        raise ValueError("it is of another kind")
    made = kind()
    properties = {info.name: info.type for info in made._GetPropertyList()}  # noqa: SLF001
    for name, value in packed.items():
        if name in properties:
            setattr(made, name, _value(value, properties[name], depth))
        elif name != _KIND:
            raise ValueError(f"it has a strange {name}")
    return made


def _value(value: Any, expected: type, depth: int) -> Any:
    if isinstance(value, Mapping):
        return _unpack(value, expected, depth + 1)
    try:
        return expected(value)
    except (TypeError, ValueError) as error:
        raise ValueError("it has a word of another kind") from error

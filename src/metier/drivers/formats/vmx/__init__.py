"""Reads `.vmx` files: the configuration of a VMware VM."""

from metier.drivers.formats.vmx.disks import VmxDisk
from metier.drivers.formats.vmx.machine import VmxMachine, machine_of
from metier.drivers.formats.vmx.settings import Settings, parse_vmx

__all__ = ["Settings", "VmxDisk", "VmxMachine", "machine_of", "parse_vmx"]

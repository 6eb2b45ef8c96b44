"""Reads `.vmx` files: the configuration of a VMware VM."""

from metier.drivers.formats.vmx.machine import machine_of
from metier.drivers.formats.vmx.settings import Settings, parse_vmx

__all__ = ["Settings", "machine_of", "parse_vmx"]

"""QEMU and KVM hosts through libvirt; `driver.py` is the place to start reading."""

from metier.drivers.hypervisor.libvirt.driver import Libvirt

__all__ = ["Libvirt"]

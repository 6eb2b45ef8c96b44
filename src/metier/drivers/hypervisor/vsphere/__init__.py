"""VMware ESX hosts, by themselves or in a vCenter; `driver.py` is the place to start reading."""

from metier.drivers.hypervisor.vsphere.driver import Vsphere

__all__ = ["Vsphere"]

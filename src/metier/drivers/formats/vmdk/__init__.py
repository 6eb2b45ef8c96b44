"""Reads VMware disks in every form that hosted products write and `vmkfstools` exports."""

from metier.drivers.formats.vmdk.disk import VmdkDisk, open_disk

__all__ = ["VmdkDisk", "open_disk"]

"""qcow2 disks: read, whoever wrote them, and written as Metier stores them."""

from metier.drivers.formats.qcow2.reader import Qcow2Disk
from metier.drivers.formats.qcow2.room import most_bytes

__all__ = ["Qcow2Disk", "most_bytes"]

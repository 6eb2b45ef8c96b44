"""Reads exports of XenServer and XCP-ng: a tar archive of `ova.xml` and the disks in pieces of 1 MiB."""

from metier.drivers.formats.xva.disk import XvaDisk
from metier.drivers.formats.xva.export import Export, is_xva, open_export

__all__ = ["Export", "XvaDisk", "is_xva", "open_export"]

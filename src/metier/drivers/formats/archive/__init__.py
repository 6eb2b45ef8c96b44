"""Unpacks archives and folders that come from outside, and takes nothing from them but plain files."""

from metier.drivers.formats.archive.unpack import Contents, unpack

__all__ = ["Contents", "unpack"]

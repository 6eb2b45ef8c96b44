"""Looks into archives and folders that come from outside, and takes nothing from them but plain files."""

from metier.drivers.formats.archive.contents import Contents, Unpacking, contents_of, is_archive
from metier.drivers.formats.archive.proof import Proof

__all__ = ["Contents", "Proof", "Unpacking", "contents_of", "is_archive"]

"""Reads OVF packages: their description and their manifest, by whomever they were made."""

from metier.drivers.formats.ovf.descriptor import OvfFound, parse_ovf
from metier.drivers.formats.ovf.empty import EmptyDisk
from metier.drivers.formats.ovf.manifest import Digest, parse_manifest

__all__ = ["Digest", "EmptyDisk", "OvfFound", "parse_manifest", "parse_ovf"]

"""Disk controllers and network cards in the words of VMware's lists, and what becomes of them here."""

import re

from metier.estate.cells import known_as

# Each with what an import puts in its place where that is not the same device.
_CONTROLLERS = (
    ("pvscsi", ""),
    ("paravirtual", ""),
    ("lsilogicsas", ""),
    ("lsisas1068", ""),
    ("lsilogic", "LSI Logic controllers become an LSI 53C895A, for which the guest needs a driver"),
    ("buslogic", "BusLogic controllers become an LSI 53C895A, for which the guest needs a driver"),
    ("nvme", "NVMe disks become SATA disks"),
    ("ahci", ""),
    ("sata", ""),
    ("ide", ""),
)
_NICS = {
    "vmxnet3": "",
    "e1000": "",
    "e1000e": "",
    "pcnet32": "",
    "vlance": "",
    "flexible": "a Flexible network card becomes an AMD PCnet",
    "vmxnet": "a vmxnet network card becomes an AMD PCnet",
    "vmxnet2": "a vmxnet2 network card becomes an Intel e1000",
    "vmxnetenhanced": "a vmxnet2 network card becomes an Intel e1000",
    "sriov": "an SR-IOV network card becomes an Intel e1000e",
    "vmxnet3vrdma": "an RDMA network card becomes a vmxnet3",
}
_PREFIXES = re.compile(r"^(virtual|ethernetcard)+")


def controller_note(text: str) -> str:
    """Say what becomes of a disk controller; empty if it stays what it is, or is not known.

    Some lists name only its place, `SCSI controller 0`, which says nothing of its kind.
    """
    known = known_as(text)
    return next((note for name, note in _CONTROLLERS if name in known), "")


def nic_note(text: str) -> str:
    """Say what becomes of a network card; empty if it stays what it is, or nobody said."""
    known = _PREFIXES.sub("", known_as(text))
    if not known:
        return ""
    return _NICS.get(known, f"a network card {text[:40]!r} is unknown, and becomes an Intel e1000")

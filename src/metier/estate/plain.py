"""A list of VMs that somebody made by hand: a CSV of our own columns."""

from collections.abc import Mapping
from typing import NamedTuple

from metier.domain.errors import Refusal
from metier.estate.cells import is_yes, known_as, number, word
from metier.estate.inventory import Estate, EstateDisk, EstateNic, EstateVm, Power
from metier.estate.tables import Fields, Record, Sheet, records

_GIB = 1 << 30
_MOST_VMS = 200_000
_MOST_DISKS = 4_096


class Column(NamedTuple):
    """A column that is understood, and what it says."""

    name: str
    meaning: str


COLUMNS = (
    Column("name", "the VM's name; the only one that must be there"),
    Column("power", "on, off or suspended"),
    Column("memory_mib", "memory in MiB"),
    Column("cpus", "number of CPUs"),
    Column("disks_gib", "size of each disk in GiB, with + between them: 40+100"),
    Column("used_gib", "what its files take, in GiB"),
    Column("thin", "yes if its disks grow with their content"),
    Column("controller", "pvscsi, lsilogic, lsisas1068, buslogic, sata, nvme or ide"),
    Column("nics", "model of each network card, with + between them: vmxnet3+e1000"),
    Column("firmware", "bios or uefi"),
    Column("guest_os", "in VMware's words or your own"),
    Column("snapshots", "how many there are"),
    Column("encrypted", "yes or no"),
    Column("tpm", "yes if it has a virtual TPM"),
    Column("raw", "yes if a disk is a raw device mapping"),
    Column("shared", "yes if other VMs write to its disks too"),
    Column("template", "yes or no"),
    Column("host", "where it runs"),
    Column("cluster", "the cluster that this host is in"),
    Column("folder", "its folder"),
)

_FIELDS: Fields = {column.name: (column.name,) for column in COLUMNS}
_POWER = {
    "on": Power.ON,
    "poweredon": Power.ON,
    "off": Power.OFF,
    "poweredoff": Power.OFF,
    "suspended": Power.SUSPENDED,
}
_FIRMWARE = {"efi": "uefi", "uefi": "uefi", "bios": "bios"}


def estate_of(sheet: Sheet, source: str) -> Estate:
    """Read the list.

    Raises:
        Refusal: It has no column `name`, or is beyond the limits.
    """
    vms: list[EstateVm] = []
    for record in records(sheet, _FIELDS, "name"):
        vms.append(_machine(record, sheet.name))
        if len(vms) > _MOST_VMS:
            raise Refusal(
                f"cannot read {source}: it lists more than {_MOST_VMS} VMs", remedy="cut it in parts"
            )
    return Estate(source, tuple(vms))


def _machine(record: Record, sheet: str) -> EstateVm:
    say = record.get
    name = word(record["name"])
    used = number(say("used_gib", ""))
    return EstateVm(
        name=name,
        power=_POWER.get(known_as(say("power", "")), Power.UNKNOWN),
        memory_mib=number(say("memory_mib", "")),
        cpus=number(say("cpus", "")),
        guest_os=word(say("guest_os", "")),
        firmware=_FIRMWARE.get(known_as(say("firmware", "")), ""),
        disks=_disks(record, f"{sheet}, VM {name}"),
        nics=_nics(record),
        used_bytes=None if used is None else used * _GIB,
        snapshots=number(say("snapshots", "")),
        is_template=is_yes(say("template", "")),
        is_encrypted=is_yes(say("encrypted", "")),
        has_tpm=is_yes(say("tpm", "")),
        host=word(say("host", "")),
        cluster=word(say("cluster", "")),
        folder=word(say("folder", "")),
    )


def _disks(record: Record, where: str) -> tuple[EstateDisk, ...] | None:
    sizes = record.get("disks_gib", "").replace(" ", "")
    if not sizes:
        return None
    thin = is_yes(record["thin"]) if record.get("thin", "").strip() else None
    found = []
    for place, size in enumerate(sizes.split("+", _MOST_DISKS), 1):
        gib = number(size)
        if gib is None:
            raise Refusal(
                f"cannot read {where}: {word(size)[:40]!r} is no size of a disk in GiB",
                remedy="write the size of each disk with + between them: 40+100",
            )
        disk = EstateDisk(
            f"disk {place}",
            gib * _GIB,
            thin,
            raw="unknown" if is_yes(record.get("raw", "")) else "",
            is_shared=is_yes(record.get("shared", "")),
            controller=word(record.get("controller", "")),
        )
        found.append(disk)
    return tuple(found)


def _nics(record: Mapping[str, str]) -> tuple[EstateNic, ...] | None:
    models = record.get("nics", "").strip()
    return tuple(EstateNic(word(model)) for model in models.split("+", 64)) if models else None

"""The tabs of an RVTools export, whatever version wrote them, as an estate."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from metier.domain.errors import Refusal
from metier.estate.cells import is_yes, known_as, number, word
from metier.estate.inventory import Estate, EstateDisk, EstateNic, EstateVm, Power
from metier.estate.tables import Fields, Record, Sheet, records

_MIB = 1 << 20
_MOST_VMS = 200_000
_MOST_PARTS = 4_096

# VMs of one name that no id tells apart: to each of them a row without an id may belong.
_MOST_NAMESAKES = 16

# Two estates may be in one export, and two VMs of one name in one estate: the id tells them apart.
_KEY: Fields = {
    "vm": ("VM", "VM Name", "Name"),
    "id": ("VM ID", "Object ID", "VM UUID"),
    "server": ("VI SDK Server", "VI SDK UUID"),
}

_INFO: Fields = {
    **_KEY,
    "power": ("Powerstate", "Power state"),
    "template": ("Template",),
    "placeholder": ("SRM Placeholder",),
    "connection": ("Connection state",),
    "consolidate": ("Consolidation Needed",),
    "cpus": ("CPUs", "Num CPU"),
    "memory": ("Memory", "Memory MiB"),
    "disks": ("Disks",),
    "used": ("In Use MiB",),
    "fault_tolerance": ("FT State", "Fault Tolerance State"),
    "secure_boot": ("EFI Secure boot",),
    "firmware": ("Firmware",),
    "encrypted": ("Encrypted", "Encryption", "VM Encryption"),
    "tpm": ("vTPM", "TPM", "Virtual TPM"),
    "guest_os": ("OS according to the configuration file", "OS"),
    "guest_tools_os": ("OS according to the VMware Tools",),
    "host": ("Host",),
    "cluster": ("Cluster",),
    "folder": ("Folder",),
}
_DISK: Fields = {
    **_KEY,
    "label": ("Disk", "Label"),
    "capacity": ("Capacity MiB",),
    "raw": ("Raw",),
    "raw_mode": ("Raw Comp. Mode", "Raw Com. Mode", "Raw Compatibility Mode"),
    "mode": ("Disk Mode",),
    "sharing": ("Sharing mode",),
    "shared_bus": ("Shared Bus",),
    "thin": ("Thin",),
    "controller": ("Controller",),
}
_NIC: Fields = {
    **_KEY,
    "model": ("Adapter", "Type"),
    "network": ("Network",),
    "direct": ("Direct Path IO",),
}
_SNAPSHOT: Fields = _KEY
_USB: Fields = {**_KEY, "device": ("Device Type", "Device Node", "USB")}
_HOST: Fields = {"host": ("Host",)}

_POWER = {
    "poweredon": Power.ON,
    "poweredoff": Power.OFF,
    "suspended": Power.SUSPENDED,
    "on": Power.ON,
    "off": Power.OFF,
}
_FIRMWARE = {"efi": "uefi", "uefi": "uefi", "bios": "bios"}
_UNSHARED = frozenset(("", "sharingnone", "nosharing", "none", "no", "false", "0"))
_NO_FAULT_TOLERANCE = frozenset(("", "notconfigured", "none", "0", "false"))


@dataclass(slots=True)
class _Draft:
    """One VM, and what the other tabs say of it; a VM that a tab does not name has nothing of it."""

    vm: EstateVm
    disks: list[EstateDisk] = field(default_factory=list)
    nics: list[EstateNic] = field(default_factory=list)
    passed_through: list[str] = field(default_factory=list)
    snapshots: int = 0


class _Drafts:
    """All VMs, found by their id, or where a tab has none by their name."""

    def __init__(self) -> None:
        self.all: list[_Draft] = []
        self._by_id: dict[tuple[str, str], _Draft] = {}
        self._by_name: dict[str, list[_Draft]] = {}

    def add(self, record: Record) -> None:
        draft = _Draft(_machine(record))
        key = _key(record)
        namesakes = self._by_name.setdefault(draft.vm.name, [])
        if not key[1] or key in self._by_id:
            # A version that has no ids, or a line that is there twice.
            for one in (namesakes[0], draft) if namesakes else ():
                one.vm = replace(one.vm, is_ambiguous=True)
        else:
            self._by_id[key] = draft
        if len(namesakes) < _MOST_NAMESAKES:
            namesakes.append(draft)
        self.all.append(draft)

    def of(self, record: Record) -> list[_Draft]:
        """Return the VM that a row is about: all of its name, if nothing else tells which."""
        draft = self._by_id.get(_key(record))
        return [draft] if draft is not None else self._by_name.get(word(record["vm"]), [])


def estate_of(sheets: Iterable[Sheet], source: str) -> Estate:
    """Read an export.

    Raises:
        Refusal: It has no tab of VMs, or one cannot be read.
    """
    tabs: dict[str, Sheet] = {}
    for sheet in sheets:
        tabs.setdefault(_tab(sheet.name), sheet)
    if "vinfo" not in tabs:
        raise Refusal(
            f"cannot read {source}: it has no tab vInfo, which lists the VMs",
            remedy="export all tabs: in RVTools, File, Export all to Excel",
        )
    drafts = _machines(tabs["vinfo"])
    for name, take in _TAKERS.items():
        if name in tabs:
            take(tabs[name], drafts)
    hosts = sum(1 for _ in records(tabs["vhost"], _HOST, "host")) if "vhost" in tabs else None
    vms = tuple(_finished(draft, tabs) for draft in drafts.all)
    return Estate(source, vms, hosts, tuple(_unsaid(tabs)))


def _tab(name: str) -> str:
    """Return the tab that a table is: `RVTools_tabvInfo.csv` and `tabvInfo` are `vinfo`."""
    bare = known_as(name.casefold().removesuffix(".csv"))
    place = bare.rfind("tabv")
    return bare[place + 3 :] if place >= 0 else bare.removeprefix("rvtools")


def _key(record: Record) -> tuple[str, str]:
    return word(record.get("server", "")), word(record.get("id", ""))


def _machines(sheet: Sheet) -> _Drafts:
    drafts = _Drafts()
    for record in records(sheet, _INFO, "vm"):
        drafts.add(record)
        if len(drafts.all) > _MOST_VMS:
            raise Refusal(
                f"cannot read {sheet.name}: it lists more than {_MOST_VMS} VMs",
                remedy="export one datacenter at a time",
            )
    return drafts


def _machine(record: Record) -> EstateVm:
    say = record.get
    used = number(say("used", ""))
    connection = word(say("connection", ""))
    if is_yes(say("placeholder", "")):
        connection = "a placeholder of Site Recovery Manager"
    return EstateVm(
        name=word(record["vm"]),
        power=_POWER.get(known_as(say("power", "")), Power.UNKNOWN),
        memory_mib=number(say("memory", "")),
        cpus=number(say("cpus", "")),
        guest_os=word(say("guest_os", "")) or word(say("guest_tools_os", "")),
        firmware=_FIRMWARE.get(known_as(say("firmware", "")), ""),
        secure_boot=is_yes(say("secure_boot", "")),
        disk_count=number(say("disks", "")),
        used_bytes=None if used is None else used * _MIB,
        needs_consolidation=is_yes(say("consolidate", "")),
        is_template=is_yes(say("template", "")),
        is_encrypted=is_yes(say("encrypted", "")),
        has_tpm=is_yes(say("tpm", "")),
        is_fault_tolerant=known_as(say("fault_tolerance", "")) not in _NO_FAULT_TOLERANCE,
        connection="" if connection.casefold() == "connected" else connection,
        host=word(say("host", "")),
        cluster=word(say("cluster", "")),
        folder=word(say("folder", "")),
    )


def _finished(draft: _Draft, tabs: Mapping[str, Sheet]) -> EstateVm:
    return replace(
        draft.vm,
        disks=tuple(draft.disks) if "vdisk" in tabs else None,
        nics=tuple(draft.nics) if "vnetwork" in tabs else None,
        snapshots=draft.snapshots if "vsnapshot" in tabs else None,
        passed_through=tuple(draft.passed_through),
    )


def _take_disks(sheet: Sheet, drafts: _Drafts) -> None:
    for record in records(sheet, _DISK, "vm"):
        for draft in drafts.of(record):
            _bounded(len(draft.disks), sheet, record)
            draft.disks.append(_disk(record, len(draft.disks) + 1))


def _disk(record: Record, place: int) -> EstateDisk:
    say = record.get
    capacity = number(say("capacity", ""))
    raw = ""
    if is_yes(say("raw", "")):
        mode = known_as(say("raw_mode", ""))
        raw = next((kind for kind in ("physical", "virtual") if kind in mode), "unknown")
    shared = {known_as(say("sharing", "")), known_as(say("shared_bus", ""))} - _UNSHARED
    return EstateDisk(
        label=word(say("label", "")) or f"disk {place}",
        capacity_bytes=None if capacity is None else capacity * _MIB,
        thin=is_yes(say("thin", "")) if say("thin", "").strip() else None,
        raw=raw,
        mode=word(say("mode", "")),
        is_shared=bool(shared),
        controller=word(say("controller", "")),
    )


def _take_nics(sheet: Sheet, drafts: _Drafts) -> None:
    for record in records(sheet, _NIC, "vm"):
        nic = EstateNic(word(record.get("model", "")), word(record.get("network", "")))
        for draft in drafts.of(record):
            _bounded(len(draft.nics), sheet, record)
            draft.nics.append(nic)


def _take_snapshots(sheet: Sheet, drafts: _Drafts) -> None:
    for record in records(sheet, _SNAPSHOT, "vm"):
        for draft in drafts.of(record):
            draft.snapshots += 1


def _take_usb(sheet: Sheet, drafts: _Drafts) -> None:
    for record in records(sheet, _USB, "vm"):
        for draft in drafts.of(record):
            _bounded(len(draft.passed_through), sheet, record)
            draft.passed_through.append(f"USB device {word(record.get('device', ''))}".strip())


_TAKERS: Mapping[str, Callable[[Sheet, _Drafts], None]] = {
    "vdisk": _take_disks,
    "vnetwork": _take_nics,
    "vsnapshot": _take_snapshots,
    "vusb": _take_usb,
}


def _bounded(count: int, sheet: Sheet, record: Record) -> None:
    if count >= _MOST_PARTS:
        raise Refusal(
            f"cannot read {sheet.name}: VM {word(record['vm'])} has more than {_MOST_PARTS} rows",
            remedy="export it again",
        )


_SAYS = {
    "vDisk": "the disks one by one, so neither raw device mappings nor shared disks are known",
    "vNetwork": "the network cards",
    "vSnapshot": "the snapshots",
}


def _unsaid(tabs: Mapping[str, Sheet]) -> list[str]:
    missing = [
        f"there is no tab {tab}: it tells {what}" for tab, what in _SAYS.items() if tab.casefold() not in tabs
    ]
    return [*missing, "most versions of RVTools tell nothing of encryption and virtual TPMs: look in vCenter"]

"""What the command shows: a row for each VM, and the estate in sum."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from metier.estate.fit import Nodes
from metier.estate.inventory import Estate, EstateDisk, EstateVm
from metier.estate.judging import Judgement, Verdict
from metier.estate.looking import import_line
from metier.estate.waves import Looked, risk, risks

Row = dict[str, Any]

COLUMNS = ("name", "verdict", "wave", "guest_os", "memory_mib", "disk_count", "copied_bytes", "what")
"""What the list shows."""

_LARGEST = 10
_COMMONEST = 10


def vm_row(one: Looked, nodes: Nodes | None) -> Row:
    """Return the row of one VM; without `nodes` nothing is said of where it fits."""
    vm, judgement = one.vm, one.judgement
    can_move = judgement.verdict is not Verdict.NOT_POSSIBLE
    return {
        "name": vm.name,
        "verdict": judgement.verdict.value,
        "wave": one.wave or None,
        "guest_os": vm.guest_os or None,
        "power": vm.power.value,
        "memory_mib": vm.memory_mib,
        "cpus": vm.cpus,
        "firmware": vm.firmware or None,
        "disk_count": vm.disk_count if vm.disks is None else len(vm.disks),
        "disks": [_disk_row(disk) for disk in vm.disks or ()],
        "controllers": _each(disk.controller for disk in vm.disks or ()),
        "nics": [nic.model or "unknown" for nic in vm.nics or ()],
        "networks": _each(nic.network for nic in vm.nics or ()),
        "snapshots": vm.snapshots,
        "capacity_bytes": one.sizes.capacity,
        "copied_bytes": one.sizes.copied,
        "matrix_bytes": one.sizes.matrix,
        "what": _in_short(judgement),
        "blockers": list(judgement.blockers),
        "work": list(judgement.work),
        "at_the_move": list(judgement.at_the_move) if can_move else [],
        "notes": list(judgement.notes) if can_move else [],
        "unknown": list(judgement.unknown),
        "risk": risk(one) if can_move else None,
        "risks": list(risks(one)) if can_move else [],
        "import": import_line(one) if can_move else None,
        **_fit_row(vm, nodes if can_move else None),
        "host": vm.host or None,
        "cluster": vm.cluster or None,
        "folder": vm.folder or None,
    }


def summary_row(estate: Estate, looked: Sequence[Looked]) -> Row:
    """Return the estate in sum."""
    movable = [one for one in looked if one.wave]
    verdicts = Counter(one.judgement.verdict for one in looked)
    return {
        "source": estate.source,
        "vms": len(looked),
        "hosts": estate.hosts,
        **{verdict.value.replace(" ", "_"): verdicts[verdict] for verdict in Verdict},
        "switched_on": sum(bool(one.judgement.at_the_move) for one in movable),
        **_sums("capacity", [one.sizes.capacity for one in movable]),
        **_sums("copied", [one.sizes.copied for one in movable]),
        **_sums("matrix", [one.sizes.matrix for one in movable]),
        "unknown_sizes": sum(one.sizes.capacity is None for one in movable),
        "memory_mib": sum(one.vm.memory_mib or 0 for one in movable),
        "cpus": sum(one.vm.cpus or 0 for one in movable),
        "waves": _waves(movable),
        "commonest_work": _commonest(looked),
        "largest": _largest(movable),
        "remarks": list(estate.remarks),
    }


def _sums(name: str, sizes: Sequence[int | None]) -> Row:
    return {f"{name}_bytes": sum(size or 0 for size in sizes)}


def _waves(movable: Sequence[Looked]) -> list[Row]:
    rows = []
    for number in range(1, max((one.wave for one in movable), default=0) + 1):
        members = [one for one in movable if one.wave == number]
        ready = sum(one.judgement.verdict is Verdict.READY for one in members)
        rows.append(
            {
                "wave": number,
                "vms": len(members),
                "part": f"{100 * len(members) / len(movable):.0f} %",
                "ready": ready,
                "need_work": len(members) - ready,
                "copied_bytes": sum(one.sizes.copied or 0 for one in members),
                "risk": f"{min(map(risk, members))} to {max(map(risk, members))}",
            }
        )
    return rows


def _commonest(looked: Sequence[Looked]) -> list[Row]:
    """Return the kinds of work and of obstacles that most VMs have."""
    counts: Counter[str] = Counter()
    for one in looked:
        counts.update({_kind(text) for text in (*one.judgement.blockers, *one.judgement.work)})
    return [{"vms": count, "what": what} for what, count in counts.most_common(_COMMONEST)]


def _kind(text: str) -> str:
    """Return what one sentence has in common with others of its sort: what is after its colon."""
    return text.rpartition(": ")[2]


def _largest(movable: Sequence[Looked]) -> list[Row]:
    largest = sorted(movable, key=lambda one: (-(one.sizes.capacity or 0), one.vm.name))[:_LARGEST]
    return [
        {"name": one.vm.name, "capacity_bytes": one.sizes.capacity, "copied_bytes": one.sizes.copied}
        for one in largest
        if one.sizes.capacity
    ]


def _disk_row(disk: EstateDisk) -> Row:
    return {
        "label": disk.label,
        "capacity_bytes": disk.capacity_bytes,
        "format": disk.form or None,
        "thin": disk.thin,
        "raw": disk.raw or None,
        "mode": disk.mode or None,
        "shared": disk.is_shared,
        "controller": disk.controller or None,
    }


def _fit_row(vm: EstateVm, nodes: Nodes | None) -> Row:
    if nodes is None:
        return {"fits": None, "fits_on": None, "fits_not": None}
    fit = nodes.fit_of(vm)
    return {"fits": fit.count, "fits_on": fit.node or None, "fits_not": fit.why_none or None}


def _each(words: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(word for word in words if word))


def _in_short(judgement: Judgement) -> str:
    """Return the first thing to know, and how many there are."""
    found = judgement.blockers or judgement.work or judgement.at_the_move
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return f"{found[0]}{more}" if found else ""


def by_name(looked: Sequence[Looked], name: str) -> list[Looked]:
    """Return the VMs of a name, or else those that differ from it in case only."""
    same = [one for one in looked if one.vm.name == name]
    return same or [one for one in looked if one.vm.name.casefold() == name.casefold()]

"""An image version as the interface's JSON shows it."""

from collections.abc import Sequence
from dataclasses import asdict

from metier.domain.fleet import Fleet
from metier.domain.image import Image, Machine, OfferedVm
from metier.domain.image_health import Verification
from metier.domain.image_use import uses
from metier.domain.timing import Activity, measured_s
from metier.operations.parsing import rfc3339
from metier.operations.registry import Row
from metier.operations.tier_row import requirements_row

COLUMNS = (
    *("name", "version", "type", "form", "state", "content", "size_bytes", "own_bytes"),
    *("minimum_memory_mib", "tiers", "created"),
)
"""What the list of images shows."""


def image_row(image: Image, tiers: Sequence[str]) -> Row:
    """Return the row of an image version; `tiers` are the names of those that it is assigned to."""
    return {
        "name": image.ref.name,
        "version": image.ref.version,
        "type": image.type.value,
        "form": image.form,
        "state": "active" if image.active else "inactive",
        "size_bytes": image.size_bytes,
        "digest": image.digest or None,
        "minimum_memory_mib": image.requirements.memory_mib,
        "attributes": sorted(image.requirements.attributes),
        "tiers": list(tiers),
        "created": rfc3339(image.created),
        "source": image.source or None,
        "image": str(image.ref),
        "requirements": requirements_row(image.requirements),
        "startup_s": image.startup_s,
        "collectors": [str(spec) for spec in image.collectors],
        "offers": [_offer(offer) for offer in image.offers],
        **_machine(image.machine),
        "generation": image.generation,
    }


def content_row(found: Verification | None) -> Row:
    """Return what is known of a version's bytes since they were published."""
    if found is None:
        return {"content": None, "damage": None, "verified": None, "verified_by_job": None}
    return {
        "content": "damaged" if found.damage else "verified",
        "damage": found.damage or None,
        "verified": rfc3339(found.at),
        "verified_by_job": found.job,
    }


def image_details(fleet: Fleet, image: Image) -> Row:
    """Return what the page of one image version shows beside its row.

    Who uses it, what it was captured from, and medians of what its guests took.
    """
    return {
        "captured_from": _parent(fleet, image),
        "used_by": [{"kind": use.kind, "name": use.name} for use in uses(fleet, image.ref)],
        "boot_s": measured_s(fleet, Activity.GUEST_BOOT, str(image.ref)),
        "prepare_s": measured_s(fleet, Activity.PREPARE, str(image.ref)),
    }


def _parent(fleet: Fleet, image: Image) -> str | None:
    """Return the version that a captured one was made from, while its job is remembered."""
    for job in fleet.jobs.values():
        if job.kind == "image-capture" and job.subject == str(image.ref) and job.created == image.created:
            parent = job.arguments.get("parent")
            return f"{parent['name']}@{parent['version']}" if isinstance(parent, dict) else None
    return None


def _offer(offer: OfferedVm) -> Row:
    return {**asdict(offer), "vm_slot": f"VM{offer.number}", "networks": list(offer.networks)}


def _machine(machine: Machine | None) -> Row:
    if machine is None:
        return {"disks": [], "firmware": None, "nic_models": [], "guest_os": None, "remarks": []}
    return {
        "disks": [asdict(disk) for disk in machine.disks],
        "firmware": machine.firmware,
        "nic_models": list(machine.nic_models),
        "guest_os": machine.guest_os or None,
        "remarks": list(machine.remarks),
    }

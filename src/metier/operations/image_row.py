"""An image version as the interface's JSON shows it."""

from collections.abc import Sequence
from dataclasses import asdict

from metier.domain.fleet import Fleet
from metier.domain.image import Image, Machine, OfferedVm
from metier.domain.timing import Activity, measured_s
from metier.operations.parsing import rfc3339
from metier.operations.registry import Row
from metier.operations.tier_row import requirements_row

COLUMNS = ("name", "version", "type", "form", "state", "size_bytes", "minimum_memory_mib", "tiers", "created")
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


def image_details(fleet: Fleet, image: Image) -> Row:
    """Return what the page of one image version shows beside its row: medians of what its guests took."""
    return {
        "boot_s": measured_s(fleet, Activity.GUEST_BOOT, str(image.ref)),
        "prepare_s": measured_s(fleet, Activity.PREPARE, str(image.ref)),
    }


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

"""A tier as the interface's JSON shows it."""

from collections.abc import Sequence

from metier.domain.fleet import Fleet
from metier.domain.hardware import Requirements
from metier.domain.observation import Health
from metier.domain.status import health
from metier.domain.tier import SlotSettings, Tier
from metier.operations.parsing import rfc3339
from metier.operations.registry import Row

COLUMNS = (
    "name",
    "state",
    "kind",
    "priority",
    "minimum",
    "target",
    "maximum",
    "allocated",
    "normal",
    "image",
    "waiting_for",
)
"""What the list of tiers shows."""


def tier_row(fleet: Fleet, tier: Tier, waiting: Sequence[str] = ()) -> Row:
    """Return the row of a tier; `waiting` is what the plan says it waits for."""
    trouble = fleet.troubles.get(tier.name)
    return {
        "name": tier.name,
        "state": tier.state.value,
        "kind": tier.kind.value,
        "priority": tier.priority,
        "minimum": tier.minimum,
        "target": tier.target,
        "maximum": tier.maximum,
        "allocated": len(fleet.members(tier.name)),
        "normal": normal_members(fleet, tier),
        "image": str(tier.image),
        "rollout": _rollout(tier),
        "previous_image": None if tier.previous_image is None else str(tier.previous_image),
        "depends_on": list(tier.depends_on),
        "requirements": requirements_row(tier.requirements),
        "reboot_on_failure": tier.reboot_on_failure,
        "move_to_maintenance": tier.move_to_maintenance,
        "harvesting": tier.harvesting,
        "waiting_for": list(waiting),
        **_settings(tier),
        "braked_since": None if trouble is None else rfc3339(trouble.braked_since),
        "generation": tier.generation,
    }


def _rollout(tier: Tier) -> Row | None:
    rollout = tier.rollout
    if rollout is None:
        return None
    return {
        "previous": str(rollout.previous),
        "started": rfc3339(rollout.started),
        "moved": list(rollout.moved),
        "paused": rollout.paused or None,
        "paused_by": rollout.paused_by or None,
    }


def _settings(tier: Tier) -> Row:
    return {
        "max_unavailable": tier.max_unavailable,
        "surge": tier.surge,
        "harvest_to_target": tier.harvest_to_target,
        "spread": tier.spread.value,
        "keep_instances": tier.keep_instances,
        "startup_s": tier.startup_s,
        "shutdown_s": tier.shutdown_s,
        "collectors": None if tier.collectors is None else [str(spec) for spec in tier.collectors],
        "failure_threshold": tier.failure_threshold,
        "max_unhealthy_percent": tier.max_unhealthy_percent,
        "resumed_at": rfc3339(tier.resumed_at),
        "personality": tier.personality.summary,
        "slots": [_slot(slot) for slot in tier.slots],
    }


def _slot(slot: SlotSettings) -> Row:
    row: Row = {
        "slot": slot.number,
        "hostname": slot.hostname,
        "address": slot.address,
        "gateway": slot.gateway,
    }
    return row if slot.personality is None else {**row, "personality": slot.personality.summary}


def normal_members(fleet: Fleet, tier: Tier) -> int:
    """Return how many members run and answer all their collectors."""
    members = fleet.members(tier.name).values()
    return sum(health(fleet, fleet.nodes[name]) is Health.NORMAL for name in members)


def requirements_row(requirements: Requirements) -> Row:
    """Return requirements as JSON; zero and empty mean no requirement."""
    return {
        "memory_mib": requirements.memory_mib,
        "cpus": requirements.cpus,
        "disk_gib": requirements.disk_gib,
        "architecture": requirements.architecture,
        "nics": requirements.nics,
        "attributes": sorted(requirements.attributes),
        "networks": sorted(requirements.networks),
    }

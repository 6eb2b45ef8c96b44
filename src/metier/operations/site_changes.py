"""What differs between two fleets in intent, for the answer to a site file."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from metier.domain.fleet import Draft, Fleet, Kind
from metier.domain.ids import natural
from metier.domain.image import Image
from metier.domain.node import Node
from metier.domain.tier import Tier
from metier.operations.image_row import image_row
from metier.operations.node_reads import shown_settings
from metier.operations.pools import settings_row
from metier.operations.registry import Row
from metier.operations.tier_row import tier_row

# What follows from other records and is not said in a site file.
_NOT_INTENT = frozenset(
    (
        "generation",
        "waiting_for",
        "allocated",
        "normal",
        "tiers",
        "braked_since",
        "minimum_memory_mib",
        "rollout",
        "previous_image",
    )
)


def changes_between(before: Fleet, after: Draft) -> list[Row]:
    """Return one row per pool setting, image, node and tier that differs: `kind`, `name`, `change`.

    Looks only at what was put into the draft, however large the site is.
    """
    found = [*_differing("pools", {"site": settings_row(before.pool)}, {"site": settings_row(after.pool)})]
    for kind, table, row in (
        (Kind.IMAGE, "images", _image),
        (Kind.NODE, "nodes", _node),
        (Kind.TIER, "tiers", _tier),
    ):
        keys = after.changes.get(kind, {})
        rows = [_rows(getattr(fleet, table), keys, row) for fleet in (before, after)]
        found += _differing(kind.value, *rows)
    return found


def _rows(records: Mapping[Any, Any], keys: Iterable[Any], row: Callable[[Any], Row]) -> dict[str, Row]:
    return {str(key): row(records[key]) for key in keys if key in records}


def _image(image: Image) -> Row:
    return _flat(image_row(image, ()))


def _node(node: Node) -> Row:
    return {
        "address": node.power_ip,
        "attributes": sorted(node.attributes),
        "engaged": node.engaged,
        "vmm": None if node.vmm is None else node.vmm.driver,
        "vmm_settings": shown_settings(node.vmm),
        "power": None if node.power is None else node.power.driver,
        "power_settings": shown_settings(node.power),
    }


def _tier(tier: Tier) -> Row:
    return _flat(tier_row(Fleet(), tier))


def _flat(row: Row) -> Row:
    return {**{key: value for key, value in row.items() if key != "requirements"}, **row["requirements"]}


def _differing(kind: str, before: Mapping[str, Row], after: Mapping[str, Row]) -> Iterator[Row]:
    for name in sorted({*before, *after}, key=natural):
        change = _change(before.get(name), after.get(name))
        if change:
            yield {"kind": kind, "name": name, "change": change}


def _change(before: Row | None, after: Row | None) -> str:
    if before is None:
        return "added"
    if after is None:
        return "removed"
    differing = [key for key in after if key not in _NOT_INTENT and before.get(key) != after[key]]
    return ", ".join(f"{key} {_word(before.get(key))} → {_word(after[key])}" for key in differing)


def _word(value: object) -> str:
    if value is None or value in ([], {}):
        return "nothing"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list):
        return ", ".join(_word(part) for part in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={part}" for key, part in value.items())
    return str(value)

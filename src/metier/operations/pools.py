"""The pools of nodes that are in no tier, and what happens to these by itself."""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any

from metier.domain.errors import NoSuchThing
from metier.domain.fleet import Draft, is_spare
from metier.domain.ids import natural
from metier.domain.node import Node, Place
from metier.domain.pool import PoolSettings
from metier.operations.parsing import in_range
from metier.operations.records import check_expected
from metier.operations.registry import Caller, Form, Outcome, Row, View, changes, option, positional, reads

POOLS = (Place.FREE, Place.MAINTENANCE, Place.DISCOVERED, Place.QUARANTINED, Place.RESERVED)
COLUMNS = ("name", "nodes", "physical", "virtual", "ready", "disengaged")
_A_YEAR_S = 366 * 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPools:
    """Takes nothing."""


@reads("pool", "list", ListPools, form=Form.LIST, columns=COLUMNS, examples=("metier pool list",))
def list_pools(view: View, _arguments: ListPools) -> list[Row]:
    """List the pools and how many nodes are in each."""
    kept: dict[Place, list[Node]] = {place: [] for place in POOLS}
    for node in view.fleet.nodes.values():
        if node.placement.place in kept:
            kept[node.placement.place].append(node)
    return [_pool_row(place, nodes) for place, nodes in kept.items()]


def _pool_row(place: Place, nodes: Iterable[Node]) -> Row:
    nodes = list(nodes)
    virtual = sum(node.is_virtual for node in nodes)
    return {
        "name": place.value,
        "nodes": len(nodes),
        "physical": len(nodes) - virtual,
        "virtual": virtual,
        "ready": sum(is_spare(node) for node in nodes),
        "disengaged": sum(not node.engaged for node in nodes),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowPool:
    """Which pool."""

    name: str = positional("the pool to show", example="free")


@reads("pool", "show", ShowPool, columns=(*COLUMNS, "members"), examples=("metier pool show free",))
def show_pool(view: View, arguments: ShowPool) -> Row:
    """Show the nodes of a pool, and the automation settings of all pools."""
    if arguments.name not in POOLS:
        raise NoSuchThing(f"there is no pool {arguments.name}; there are: {', '.join(POOLS)}")
    place = Place(arguments.name)
    nodes = [node for node in view.fleet.nodes.values() if node.placement.place is place]
    members = sorted((node.name for node in nodes), key=natural)
    return {**_pool_row(place, nodes), "members": members, **settings_row(view.fleet.pool)}


def settings_row(pool: PoolSettings) -> Row:
    """Return the automation settings, in the words of the `set` command."""
    return {field.name: getattr(pool, field.name) for field in fields(pool)}


@dataclass(frozen=True, slots=True, kw_only=True)
class SetPool:
    """Automation settings for the whole site; what is not given stays."""

    automatic_discovery: bool | None = option("VMs of a running host become virtual nodes (on or off)", None)
    automatic_inventory: bool | None = option("discovered nodes are asked what they have (on or off)", None)
    automatic_free: bool | None = option("inventoried nodes move to the free pool (on or off)", None)
    power_off_idle: bool | None = option("free physical nodes are switched off (on or off)", None)
    idle_off_after_s: int | None = option("after how many seconds", None, example="900")
    warm_spares: int | None = option("how many free physical nodes stay on all the same", None, example="1")
    harvest_cooldown_s: int | None = option("a node is not harvested twice within these seconds", None)
    reboot_window_s: int | None = option("a node is rebooted for a failure once within these seconds", None)
    storm_window_s: int | None = option("failures count together within these seconds", None)
    site_max_unhealthy_percent: int | None = option(
        "more failures than this at once stop automation in the whole site", None, example="40"
    )


_HIGHEST = {"warm_spares": 100_000, "site_max_unhealthy_percent": 100}


@changes("pool", "set", SetPool, examples=("metier pool set --automatic-free off --warm-spares 2",))
def set_pool(draft: Draft, arguments: SetPool, caller: Caller) -> Outcome:
    """Set what happens by itself to nodes that are in no tier."""
    check_expected(caller, draft.pool, "the pools' settings")
    given: dict[str, Any] = {
        field.name: value
        for field in fields(arguments)
        if (value := getattr(arguments, field.name)) is not None
    }
    for name, value in given.items():
        if not isinstance(value, bool):
            in_range(value, name, 0, _HIGHEST.get(name, _A_YEAR_S))
    after = replace(draft.pool, **given)
    if after == draft.pool:
        return Outcome("the pools are set so already", settings_row(draft.pool))
    draft.put_pool(after)
    return Outcome("the pools' settings changed", settings_row(draft.pool))

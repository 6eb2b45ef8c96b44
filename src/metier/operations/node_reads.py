"""What an operator can ask about nodes."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from metier.domain.fleet import Fleet
from metier.domain.ids import natural
from metier.domain.node import Endpoint, Node, NodeKind, Place
from metier.domain.secret import is_sealed
from metier.domain.status import STATUSES, status
from metier.operations.copying import copying_words
from metier.operations.node_row import COLUMNS, node_details, node_row
from metier.operations.records import find_node, find_tier
from metier.operations.registry import Form, Row, View, option, positional, reads

HIDDEN = "…"
"""Stands where a secret is; where it is given, what is recorded stays."""

_CREDENTIALS = re.compile(r"(?<=//)[^/@\s:]+:[^/@\s]+(?=@)")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListNodes:
    """Filters of the list of nodes; each one narrows it."""

    tier: str | None = option("only members of this tier", None, example="web")
    placement: str | None = option("only nodes kept there", None, choices=[place.value for place in Place])
    kind: str | None = option("only nodes of this kind", None, choices=[kind.value for kind in NodeKind])
    host: str | None = option("only virtual nodes of this host node", None, example="host-1")
    status: str | None = option("only nodes of this status", None, choices=tuple(STATUSES))
    engaged: bool | None = option("only nodes that automation may touch (on), or may not (off)", None)


@reads(
    "node",
    "list",
    ListNodes,
    form=Form.LIST,
    columns=COLUMNS,
    examples=("metier node list", "metier node list --placement free --kind virtual"),
)
def list_nodes(view: View, arguments: ListNodes) -> list[Row]:
    """List nodes, in the order of their names."""
    chosen = [
        node for node in _starting_set(view.fleet, arguments) if _is_wanted(view.fleet, node, arguments)
    ]
    chosen.sort(key=lambda node: natural(node.name))
    copying = copying_words(view)
    return [
        node_row(view.fleet, node, view.waiting_for(node.name), copying.get(node.name, "")) for node in chosen
    ]


def _starting_set(fleet: Fleet, arguments: ListNodes) -> Iterable[Node]:
    if arguments.tier is not None:
        return fleet.member_nodes(find_tier(fleet, arguments.tier).name)
    if arguments.host is not None:
        return fleet.virtual_nodes(find_node(fleet, arguments.host).name)
    return fleet.nodes.values()


def _is_wanted(fleet: Fleet, node: Node, arguments: ListNodes) -> bool:
    return (
        arguments.placement in (None, node.placement.place)
        and arguments.kind in (None, node.kind)
        and arguments.engaged in (None, node.engaged)
        and (arguments.host is None or node.host == arguments.host)
        and (arguments.status is None or arguments.status == status(fleet, node))
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowNode:
    """Which node."""

    name: str = positional("the node to show", example="host-1/VM3")


@reads("node", "show", ShowNode, columns=COLUMNS, examples=("metier node show host-1/VM3",))
def show_node(view: View, arguments: ShowNode) -> Row:
    """Show everything about one node."""
    node = find_node(view.fleet, arguments.name)
    waiting = view.waiting_for(node.name)
    return {
        **node_row(view.fleet, node, waiting, copying_words(view).get(node.name, "")),
        **node_details(view.fleet, node, waiting),
        "vmm_settings": shown_settings(node.vmm),
        "power_settings": shown_settings(node.power),
    }


def shown_settings(endpoint: Endpoint | None) -> Mapping[str, str] | None:
    """Return a driver's settings with every secret hidden."""
    if endpoint is None:
        return None
    return {key: shown_setting(value) for key, value in sorted(endpoint.settings.items())}


def shown_setting(value: str) -> str:
    """Return a driver's setting as it is shown: no sealed secret, and no password in a URL."""
    return HIDDEN if is_sealed(value) else _CREDENTIALS.sub(HIDDEN, value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Console:
    """Which node's console."""

    name: str = positional("the node whose console to reach", example="host-1/VM3")


@reads("node", "console", Console, form=Form.VERB, examples=("metier node console host-1/VM3",))
def console(view: View, arguments: Console) -> Row:
    """Say how to reach a node's console."""
    node = find_node(view.fleet, arguments.name)
    return {"name": node.name, "console": view.services.console(node.name)}

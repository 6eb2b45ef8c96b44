"""An operator's orders to switch a node on or off; obeyed whether it is engaged or not."""

from collections.abc import Sequence
from dataclasses import dataclass

from metier.domain.errors import Refusal
from metier.domain.evidence import power_seen
from metier.domain.fleet import Draft, Fleet
from metier.domain.ids import node_id
from metier.domain.lifecycle import Lifecycle
from metier.domain.node import Node, Place, Request
from metier.domain.observation import Power
from metier.domain.tier import TierState
from metier.operations.captures import capture_warnings, refuse_while_captured
from metier.operations.host_warnings import accept_or_raise, foreign_warning, guest_warnings, member_warning
from metier.operations.node_row import node_row
from metier.operations.records import expected_node
from metier.operations.registry import Caller, Outcome, View, changes, positional


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchNode:
    """Which node."""

    name: str = positional("the node", example="host-1")


def still_until_off(view: View, arguments: SwitchNode) -> Sequence[str]:
    """Say what is missing until a node is seen off, and its order is done."""
    node = view.fleet.nodes.get(node_id(arguments.name))
    if node is None:
        return []  # A virtual node whose host went down is off and gone.
    seen, _ = power_seen(view.fleet, node)
    if node.request is None and seen is Power.OFF:
        return []
    return [f"node {node.name} is {node.lifecycle}, its power is {seen}", *view.waiting_for(node.name)]


def still_until_on(view: View, arguments: SwitchNode) -> Sequence[str]:
    """Say what is missing until a node is on, and running if its tier is active."""
    node = view.fleet.nodes.get(node_id(arguments.name))
    if node is None:
        return [f"node {arguments.name} is not there yet"]
    is_there = (
        node.lifecycle is Lifecycle.RUNNING
        if _has_active_tier(view.fleet, node)
        else power_seen(view.fleet, node)[0] is Power.ON
    )
    if node.request is None and is_there:
        return []
    return [f"node {node.name} is {node.lifecycle}", *view.waiting_for(node.name)]


@changes(
    "node", "power-on", SwitchNode, settled=still_until_on, examples=("metier node power-on host-1 --wait",)
)
def power_on(draft: Draft, arguments: SwitchNode, caller: Caller) -> Outcome:
    """Switch a node on."""
    node = expected_node(draft, arguments.name, caller)
    _check_switchable(draft, node, Request.POWER_ON)
    if node.is_virtual:
        _check_has_something_to_run(draft, node, Request.POWER_ON)
    return _order(draft, node, Request.POWER_ON)


@changes(
    "node",
    "power-off",
    SwitchNode,
    settled=still_until_off,
    examples=("metier node power-off host-1", "metier node power-off host-1 --accept-warnings --wait"),
)
def power_off(draft: Draft, arguments: SwitchNode, caller: Caller) -> Outcome:
    """Cut a node's power; a host's virtual nodes are deleted, and those active in tiers replaced."""
    return _bring_down(draft, arguments, caller, Request.POWER_OFF)


@changes(
    "node", "shutdown", SwitchNode, settled=still_until_off, examples=("metier node shutdown host-1 --wait",)
)
def shutdown(draft: Draft, arguments: SwitchNode, caller: Caller) -> Outcome:
    """Shut a node down by its operating system, and switch it off.

    A host's virtual nodes are deleted, and those active in tiers replaced.
    """
    return _bring_down(draft, arguments, caller, Request.SHUTDOWN)


@changes(
    "node", "power-cycle", SwitchNode, settled=still_until_on, examples=("metier node power-cycle host-1",)
)
def power_cycle(draft: Draft, arguments: SwitchNode, caller: Caller) -> Outcome:
    """Switch a node off and on again; a host's virtual nodes are deleted and rediscovered."""
    return _bring_down(draft, arguments, caller, Request.POWER_CYCLE)


def _bring_down(draft: Draft, arguments: SwitchNode, caller: Caller, request: Request) -> Outcome:
    node = expected_node(draft, arguments.name, caller)
    _check_switchable(draft, node, request)
    if node.is_virtual and request is Request.POWER_CYCLE:
        _check_has_something_to_run(draft, node, request)
    if node.request is not request:
        accept_or_raise(f"{request} of node {node.name} has consequences", _consequences(draft, node), caller)
    return _order(draft, node, request)


def _consequences(fleet: Fleet, node: Node) -> list[str]:
    if node.is_virtual:
        return member_warning(fleet, node)
    lost = capture_warnings(fleet, node)
    return guest_warnings(fleet, [node.name]) + foreign_warning(fleet, node.name) + lost


def _order(draft: Draft, node: Node, request: Request) -> Outcome:
    if node.request is request:
        return Outcome(f"{request} of node {node.name} is ordered already", node_row(draft, node))
    notes = _notes(draft, node, request)
    ordered = draft.change_node(node.name, request=request)
    return Outcome(f"{request} of node {node.name} ordered", node_row(draft, ordered), notes)


def _notes(draft: Draft, node: Node, request: Request) -> tuple[str, ...]:
    """Say what follows from an order by itself and needs no acceptance."""
    notes = []
    if node.request is not None:
        notes.append(f"this takes the place of the {node.request} ordered before")
    virtual = len(draft.virtual_nodes(node.name))
    if virtual and request is not Request.POWER_ON:
        notes.append(f"the {virtual} virtual nodes of {node.name} are deleted")
    stays_off = request in (Request.POWER_OFF, Request.SHUTDOWN)
    if stays_off and node.engaged and _has_active_tier(draft, node):
        notes.append(
            f"{node.name} is engaged in active tier {node.tier}: automation starts it again or replaces it; "
            "disengage it to keep it off"
        )
    return tuple(notes)


def _has_active_tier(fleet: Fleet, node: Node) -> bool:
    return node.tier is not None and fleet.tiers[node.tier].state is TierState.ACTIVE


def _check_switchable(fleet: Fleet, node: Node, request: Request) -> None:
    refuse_while_captured(fleet, node, request)
    if node.placement.place is Place.QUARANTINED:
        raise Refusal(
            f"cannot {request} node {node.name}: it is quarantined, so Metier does not manage it",
            remedy=f"move it out first: `metier node move {node.name} --to free`",
        )
    if not node.is_virtual and node.power is None:
        raise Refusal(
            f"cannot {request} node {node.name}: it has no power controller",
            remedy=f"name one: `metier node edit {node.name} --power command --power-setting …`",
        )


def _check_has_something_to_run(fleet: Fleet, node: Node, request: Request) -> None:
    if node.tier is None:
        raise Refusal(
            f"cannot {request} node {node.name}: it is in no tier and so has no image to run",
            remedy="a tier gives it one: see `metier tier allocate` and `metier tier activate`",
        )
    if not _has_active_tier(fleet, node):
        state = fleet.tiers[node.tier].state
        raise Refusal(
            f"cannot {request} node {node.name}: its tier {node.tier} is {state}",
            remedy=f"activate the tier: `metier tier activate {node.tier}`",
        )

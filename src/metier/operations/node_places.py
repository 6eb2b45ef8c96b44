"""Moving nodes between the pools, and asking again what they have."""

from dataclasses import dataclass, replace

from metier.domain.errors import Refusal, WrongUsage
from metier.domain.fleet import Draft
from metier.domain.lifecycle import Lifecycle
from metier.domain.node import DISCOVERED, FREE, Node, Place, Placement
from metier.operations.node_row import node_row
from metier.operations.records import expected_node
from metier.operations.registry import Caller, Outcome, changes, option, positional

_TARGETS = (Place.FREE, Place.MAINTENANCE, Place.QUARANTINED)


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveNode:
    """Which node, and where to."""

    name: str = positional("the node to move", example="host-1")
    to: str = option("the pool to move it to", choices=[place.value for place in _TARGETS], example="free")


@changes("node", "move", MoveNode, examples=("metier node move host-1 --to maintenance",))
def move_node(draft: Draft, arguments: MoveNode, caller: Caller) -> Outcome:
    """Move a node that is in no tier to another pool; moving it to the free pool forgets its failures."""
    node = expected_node(draft, arguments.name, caller)
    if arguments.to not in _TARGETS:
        raise WrongUsage(
            f"a node cannot be moved to {arguments.to!r}; it can be moved to: {', '.join(_TARGETS)}"
        )
    place = Place(arguments.to)
    if node.placement.place is place:
        return Outcome(f"node {node.name} is in the {place} pool already", node_row(draft, node))
    _check_movable(draft, node, place)
    moved = replace(node, placement=Placement(place), promised=None, to_diagnose=False)
    if place is Place.FREE:
        moved = _forgiven(moved)
    moved = draft.put_node(moved)
    return Outcome(f"node {node.name} moved to the {moved.placement.place} pool", node_row(draft, moved))


def _check_movable(draft: Draft, node: Node, place: Place) -> None:
    _check_in_no_tier(node, "move")
    if node.placement.place is Place.RESERVED:
        raise Refusal(
            f"cannot move node {node.name}: it is reserved as an image host",
            remedy=f"release it first: `metier node release {node.name}`",
        )
    if place is Place.FREE and node.hardware is None and node.placement.place is not Place.QUARANTINED:
        raise Refusal(
            f"cannot move node {node.name} to the free pool: what it has is not known yet",
            remedy=f"wait for its inventory, see `metier node explain {node.name}`",
        )
    virtual = [other.name for other in draft.virtual_nodes(node.name)]
    if place is Place.QUARANTINED and virtual:
        raise Refusal(
            f"cannot quarantine node {node.name}: it hosts {', '.join(virtual)}",
            remedy=f"shut it down first: `metier node shutdown {node.name}`",
        )


def _check_in_no_tier(node: Node, verb: str) -> None:
    if node.tier is not None:
        raise Refusal(
            f"cannot {verb} node {node.name}: it fills slot {node.placement.slot} of tier {node.tier}",
            remedy=f"release it first: lower the target with `metier tier edit {node.tier} --target`, "
            f"or `metier tier deallocate {node.tier}`",
        )


def _forgiven(node: Node) -> Node:
    """Return a node as good as new; one never inventoried goes where inventories are asked for."""
    placement = FREE if node.hardware is not None else DISCOVERED
    problem = node.problem if node.lifecycle is Lifecycle.FAILED else ""
    return replace(node, placement=placement, problem=problem, failures=0, failed_at=None, retry=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReserveNode:
    """Which node."""

    name: str = positional("the node to reserve", example="host-1")


@changes("node", "reserve", ReserveNode, examples=("metier node reserve host-1",))
def reserve_node(draft: Draft, arguments: ReserveNode, caller: Caller) -> Outcome:
    """Reserve a free node as an image host: automation leaves it alone until it is released."""
    node = expected_node(draft, arguments.name, caller)
    if node.placement.place is Place.RESERVED:
        return Outcome(f"node {node.name} is reserved already", node_row(draft, node))
    _check_in_no_tier(node, "reserve")
    if node.placement.place is not Place.FREE:
        raise Refusal(
            f"cannot reserve node {node.name}: it is in the {node.placement.place} pool",
            remedy=f"move it first: `metier node move {node.name} --to free`",
        )
    if node.lifecycle is not Lifecycle.IDLE:
        raise Refusal(
            f"cannot reserve node {node.name}: it is {node.lifecycle}",
            remedy=f"wait until it is idle, see `metier node explain {node.name}`",
        )
    reserved = draft.put_node(replace(node, placement=Placement(Place.RESERVED), promised=None))
    return Outcome(f"node {node.name} reserved as an image host", node_row(draft, reserved))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseNode:
    """Which node."""

    name: str = positional("the reserved node to release", example="host-1")


@changes("node", "release", ReleaseNode, examples=("metier node release host-1",))
def release_node(draft: Draft, arguments: ReleaseNode, caller: Caller) -> Outcome:
    """Return a reserved node to the free pool."""
    node = expected_node(draft, arguments.name, caller)
    if node.placement.place is Place.FREE:
        return Outcome(f"node {node.name} is in the free pool already", node_row(draft, node))
    _check_in_no_tier(node, "release")
    if node.placement.place is not Place.RESERVED:
        raise Refusal(
            f"cannot release node {node.name}: it is in the {node.placement.place} pool, not reserved",
            remedy=f"see `metier node move {node.name} --to free`",
        )
    released = draft.put_node(replace(node, placement=FREE))
    return Outcome(f"node {node.name} released to the free pool", node_row(draft, released))


@dataclass(frozen=True, slots=True, kw_only=True)
class InventoryNode:
    """Which node."""

    name: str = positional("the node to ask", example="host-1")


@changes("node", "inventory", InventoryNode, examples=("metier node inventory host-1",))
def inventory_node(draft: Draft, arguments: InventoryNode, caller: Caller) -> Outcome:
    """Ask a node in no tier anew what it has; afterwards the pools' settings decide where it goes."""
    node = expected_node(draft, arguments.name, caller)
    _check_in_no_tier(node, "inventory")
    if node.placement.place not in (Place.FREE, Place.DISCOVERED):
        raise Refusal(
            f"cannot inventory node {node.name}: it is in the {node.placement.place} pool",
            remedy=f"{_way_out(node)} first",
        )
    if node.lifecycle is Lifecycle.INVENTORYING:
        return Outcome(f"node {node.name} is being inventoried already", node_row(draft, node))
    if node.lifecycle not in (Lifecycle.IDLE, Lifecycle.NEW):
        raise Refusal(
            f"cannot inventory node {node.name}: it is {node.lifecycle}",
            remedy=f"wait until it is idle, see `metier node explain {node.name}`",
        )
    if not node.is_virtual and node.vmm is None:
        raise Refusal(
            f"cannot inventory node {node.name}: it has no VM manager that could be asked",
            remedy=f"name one: `metier node edit {node.name} --vmm libvirt --url …`",
        )
    asked = replace(node, placement=DISCOVERED, lifecycle=Lifecycle.NEW, retry=None, since=caller.now)
    return Outcome(f"inventory of node {node.name} ordered", node_row(draft, draft.put_node(asked)))


def _way_out(node: Node) -> str:
    verb = "release" if node.placement.place is Place.RESERVED else "move"
    return f"`metier node {verb} {node.name}{' --to free' if verb == 'move' else ''}`"

"""A node for an update procedure: a free one, or the first of a host that is made for it."""

from collections.abc import Iterator
from typing import Any

from metier.domain.actions import Action, AllocateNode, DiscoverNode, FreeNode, RecordInventory
from metier.domain.fleet import Fleet, Shape
from metier.domain.hardware import shortfalls
from metier.domain.ids import NodeId, SlotId, natural, virtual_node_id
from metier.domain.lifecycle import Lifecycle
from metier.domain.matching import cost, needs_of
from metier.domain.node import Node, NodeKind, Place
from metier.domain.procedure import Procedure, Stage
from metier.domain.status import status
from metier.domain.tier import Tier, TierState
from metier.domain.update_place import free_node, is_fit, new_host, why_none
from metier.planner.updating.step import Order, Step, abort, retry, stuck


def begin(fleet: Fleet, procedure: Procedure) -> Step:
    """Find a node and put it into a tier of one; where none is free, make a host."""
    if procedure.tier in procedure.made and procedure.tier not in fleet.tiers:
        problem = f"tier {procedure.tier}, which it made, was deleted by somebody"
        return stuck(procedure.stage, problem, f"begin anew with {retry(procedure)}, or {abort(procedure)}")
    if procedure.host_tier is not None and procedure.host_tier in procedure.made:
        return _on_host(fleet, procedure)
    blank = procedure.guest_tier()
    found = _wanted_node(fleet, procedure, blank) if procedure.wanted else free_node(fleet, blank)
    if found is not None:
        return _taking(fleet, procedure, fleet.nodes[found])
    if procedure.wanted is not None:
        return Step(Stage.FINDING, f"waits until {procedure.wanted} is free")
    return _make_host(fleet, procedure, blank)


def _wanted_node(fleet: Fleet, procedure: Procedure, tier: Tier) -> NodeId | None:
    node = fleet.nodes.get(procedure.wanted) if procedure.wanted is not None else None
    return node.name if node is not None and is_fit(fleet, node, tier) else None


def _make_host(fleet: Fleet, procedure: Procedure, blank: Tier) -> Step:
    spot = new_host(fleet, blank, procedure.host_image)
    if spot is None or spot.host is None:
        return Step(Stage.FINDING, f"waits for a node: {why_none(fleet, blank)}")
    name = f"{procedure.tier}-host"
    create = Order("tier", "create", {**_of_one(name, str(spot.host_image)), "harvesting": False})
    fields = {"host": spot.host, "host_image": spot.host_image, "host_tier": name}
    return Step(
        Stage.FINDING,
        f"no virtual node is free: makes a host of {spot.host} in tier {name}",
        (create, _into_slot(procedure, fleet.nodes[spot.host], name)),
        {**fields, "made": (*procedure.made, name)},
    )


def _of_one(name: str, image: str) -> dict[str, Any]:
    return {"name": name, "image": image, "minimum": 1, "target": 1, "maximum": 1, "priority": 100}


def _taking(fleet: Fleet, procedure: Procedure, node: Node, *before: Order | Action) -> Step:
    """Return the step that puts `node` into the guest tier, made if it is not there."""
    told = f"takes {node.name} into tier {procedure.tier}"
    allocate = Order("tier", "allocate", {"name": procedure.tier})
    deeds = (*before, allocate, _into_slot(procedure, node, procedure.tier))
    if procedure.tier in fleet.tiers:
        return Step(Stage.FINDING, told, deeds, {"node": node.name})
    fields = {"node": node.name, "made": (*procedure.made, procedure.tier)}
    return Step(Stage.FINDING, told, (_creation(procedure), *deeds), fields)


def _creation(procedure: Procedure) -> Order:
    """Return the command that makes the guest tier, with the three switches off."""
    slot = procedure.slot
    place = f"1={slot.address}" + (f",{slot.gateway}" if slot.gateway else "")
    switches = dict.fromkeys(("reboot_on_failure", "move_to_maintenance", "harvesting"), False)
    return Order(
        "tier",
        "create",
        {
            **_of_one(procedure.tier, str(procedure.image)),
            **switches,
            "hostname": (f"1={slot.hostname}",) if slot.hostname else (),
            "slot_address": (place,) if slot.address else (),
        },
    )


def _into_slot(procedure: Procedure, node: Node, tier: Any) -> AllocateNode:
    why = f"{procedure.caller} of {procedure.image} chose it"
    return AllocateNode(node=node.name, slot=SlotId(tier, 1), cost=0, why=why, rule="operator")


# --- a host made for it -----------------------------------------------------------------------


def _on_host(fleet: Fleet, procedure: Procedure) -> Step:
    """Start the host, keep all its virtual nodes but one from others, and take that one."""
    assert procedure.host_tier is not None
    tier = fleet.tiers.get(procedure.host_tier)
    if tier is None:
        problem = f"host tier {procedure.host_tier}, which it made, was deleted by somebody"
        return stuck(Stage.FINDING, problem, f"begin anew with {retry(procedure)}, or {abort(procedure)}")
    if tier.state is not TierState.ACTIVE:
        return Step(
            Stage.FINDING, f"starts host tier {tier.name}", (Order("tier", "activate", {"name": tier.name}),)
        )
    host = next(iter(fleet.member_nodes(tier.name)), None)
    if host is None:
        return Step(Stage.FINDING, f"waits until host tier {tier.name} has a node")
    if host.lifecycle is Lifecycle.FAILED:
        problem = f"{host.name} did not become a host: {host.problem}"
        return stuck(Stage.FINDING, problem, f"mend it, or {abort(procedure)}")
    seen = fleet.seen(host.name)
    is_up = host.lifecycle is Lifecycle.RUNNING and host.staged and host.pending is None
    if not is_up or host.since is None or seen.vms_at is None or seen.vms_at <= host.since:
        return Step(
            Stage.FINDING, f"waits until {host.name} runs and shows its VMs; it is {status(fleet, host)}"
        )
    kept = tuple(_keep(fleet, procedure, host))
    if kept:
        return Step(Stage.FINDING, f"keeps the virtual nodes of {host.name} for itself", kept)
    return _take_one(fleet, procedure, host)


def _keep(fleet: Fleet, procedure: Procedure, host: Node) -> Iterator[Order | Action]:
    """Yield what disengages every virtual node of the host, before anybody else can take it."""
    why = f"kept for the update of {procedure.image}"
    known = fleet.vms_of.get(host.name, {})
    for vm in fleet.seen(host.name).vms or ():
        name = known.get(vm.number)
        if name is None:
            name = virtual_node_id(host.name, vm.number)
            found = f"{host.name} runs for {procedure.caller} and offers VM{vm.number}"
            yield DiscoverNode(node=name, host=host.name, vm_number=vm.number, why=found, rule="R-HOST-1")
        elif not fleet.nodes[name].engaged or fleet.nodes[name].tier is not None:
            continue
        yield Order("node", "disengage", {"name": name, "why": why})


def _take_one(fleet: Fleet, procedure: Procedure, host: Node) -> Step:
    blank = procedure.guest_tier()
    needs = needs_of(fleet, blank)
    fits = []
    for node in fleet.virtual_nodes(host.name):
        vm = fleet.seen(host.name).vm(node.vm_number or 0)
        hardware = None if vm is None else vm.hardware
        is_spare = node.tier is None and node.instance is None and node.pending is None
        if hardware is not None and is_spare and not shortfalls(needs, hardware):
            fits.append((cost(needs, Shape(NodeKind.VIRTUAL, hardware)), natural(node.name), node))
    if not fits:
        return Step(Stage.FINDING, f"waits until a virtual node of {host.name} fits image {procedure.image}")
    node = min(fits, key=lambda fit: fit[:2])[2]
    return _taking(fleet, procedure, node, *_made_spare(procedure, node))


def _made_spare(procedure: Procedure, node: Node) -> Iterator[Order | Action]:
    """Yield what brings a virtual node that was just discovered into the free pool."""
    why = f"{procedure.caller} chose it"
    if not node.engaged:
        yield Order("node", "engage", {"name": node.name})
    if node.lifecycle is Lifecycle.NEW:
        yield RecordInventory(node=node.name, why=why, rule="R-HOST-1")
    if node.placement.place is not Place.FREE:
        yield FreeNode(node=node.name, why=why, rule="R-HOST-1")

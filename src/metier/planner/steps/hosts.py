"""Virtual nodes follow their hosts (R-HOST-1, R-REFRESH-1, R-DRIFT-1): found, counted, freed, deleted."""

from metier.domain.actions import DeleteNode, DiscoverNode, FreeNode, RecordInventory
from metier.domain.guests import is_active_guest
from metier.domain.hardware import Hardware
from metier.domain.ids import NodeId
from metier.domain.lifecycle import Lifecycle
from metier.domain.node import Node, Place
from metier.domain.observation import Observed
from metier.domain.tier import TierKind, TierState
from metier.planner.steps.advance import is_off
from metier.planner.work import Work, about_node


def follow_hosts(work: Work) -> None:
    """Bring the virtual nodes of every host in scope into line with what the host shows."""
    for node in list(work.nodes()):
        if node.vmm is not None:
            _follow(work, node)


def admit_nodes(work: Work) -> None:
    """Inventory and free discovered nodes as the pools' automation settings say."""
    for node in work.loose():
        if node.placement.place is not Place.DISCOVERED or not node.engaged:
            continue
        if node.lifecycle is Lifecycle.NEW and node.is_virtual:
            _inventory(work, node)
            node = work.fleet.nodes[node.name]
        if node.lifecycle is Lifecycle.IDLE:
            _free(work, node)


def _follow(work: Work, host: Node) -> None:
    seen = work.fleet.seen(host.name)
    if host.lifecycle in (Lifecycle.IDLE, Lifecycle.FAILED, Lifecycle.STOPPING) or not _serves(work, host):
        _delete_orphans(work, host)
    elif host.lifecycle is Lifecycle.RUNNING and host.staged and host.pending is None and host.engaged:
        _forget_missing(work, host, seen)
        _discover(work, host, seen)


def _serves(work: Work, host: Node) -> bool:
    tier = work.fleet.tiers.get(host.tier) if host.tier else None
    return tier is not None and tier.kind is TierKind.HOST


def _delete_orphans(work: Work, host: Node) -> None:
    """Delete the virtual nodes of a host that is off, or of one that is being emptied and has idle ones."""
    off = is_off(work, host, host.started_at)
    leaving = host.lifecycle is Lifecycle.STOPPING and host.request is None and not host.problem
    for guest in work.fleet.virtual_nodes(host.name):
        if off and guest.pending is None and (guest.engaged or _was_ordered(work, host)):
            _delete(work, guest, f"its host {host.name} is off", _rule(work, host))
        elif leaving and guest.lifecycle in (Lifecycle.IDLE, Lifecycle.NEW) and guest.pending is None:
            if guest.tier is None or not is_active_guest(work.fleet, guest):
                _delete(work, guest, f"its host {host.name} leaves its tier", _rule(work, host))


def _was_ordered(work: Work, host: Node) -> bool:
    """Say whether an operator brought the host down: then its disengaged virtual nodes go too."""
    tier = work.fleet.tiers.get(host.tier) if host.tier else None
    return host.request is not None or not host.engaged or tier is None or tier.state is not TierState.ACTIVE


def _rule(work: Work, host: Node) -> str:
    if host.request is not None or not host.engaged:
        return "R-FORCE-1"
    tier = work.fleet.tiers.get(host.tier) if host.tier else None
    return "R-SHRINK-1" if tier is None else "R-HOST-1" if tier.state is TierState.ACTIVE else "R-HOSTDOWN-1"


def _delete(work: Work, guest: Node, why: str, rule: str) -> None:
    work.act(DeleteNode(node=guest.name, why=why, rule=rule, expects=guest.generation))


def _forget_missing(work: Work, host: Node, seen: Observed) -> None:
    """Delete virtual nodes whose VM is gone from a good answer that is newer than the node."""
    for guest in work.fleet.virtual_nodes(host.name):
        assert guest.vm_number is not None
        is_newer = seen.vms_at is not None and (guest.since is None or seen.vms_at > guest.since)
        if is_newer and seen.vms is not None and seen.vm(guest.vm_number) is None and guest.pending is None:
            if guest.engaged:
                _delete(work, guest, f"its VM is gone from {host.name}", "R-DRIFT-1")
            else:
                work.find(
                    "node-failed", about_node(guest), f"its VM is gone from {host.name}; it is disengaged"
                )


def _discover(work: Work, host: Node, seen: Observed) -> None:
    known = work.fleet.vms_of.get(host.name, {})
    new = [vm for vm in seen.vms or () if vm.number not in known]
    if new and not work.fleet.pool.automatic_discovery:
        numbers = ", ".join(f"VM{vm.number}" for vm in new)
        why = f"{numbers} of {host.name} are not made nodes: automatic_discovery is off"
        work.wait(about_node(host), why, "R-HOST-1")
        return
    if host.since is None or seen.vms_at is None or seen.vms_at <= host.since:
        return
    for vm in new:
        why = f"{host.name} runs normally and offers VM{vm.number}"
        node = NodeId(f"{host.name}/VM{vm.number}")
        work.act(DiscoverNode(node=node, host=host.name, vm_number=vm.number, why=why, rule="R-HOST-1"))
    for vm in seen.vms or ():
        _note_change(work, known.get(vm.number), vm.hardware)


def _note_change(work: Work, name: NodeId | None, now_has: Hardware | None) -> None:
    node = work.fleet.nodes.get(name) if name is not None else None
    if node is None or node.hardware is None or now_has is None:
        return
    was = node.hardware
    if (was.memory_mib, was.cpus, was.nics) != (now_has.memory_mib, now_has.cpus, now_has.nics):
        message = (
            f"its VM now has {now_has.memory_mib} MiB, {now_has.cpus} CPUs and {now_has.nics} NICs; "
            f"it was discovered with {was.memory_mib} MiB, {was.cpus} CPUs and {was.nics} NICs"
        )
        work.find("vm-changed", about_node(node), message)


def _inventory(work: Work, node: Node) -> None:
    if not work.fleet.pool.automatic_inventory:
        work.wait(about_node(node), f"{node.name} is not inventoried: automatic_inventory is off", "R-HOST-1")
        return
    assert node.host is not None
    assert node.vm_number is not None
    vm = work.fleet.seen(node.host).vm(node.vm_number)
    if vm is not None and vm.hardware is not None:
        why = "its host reports what it has"
        work.act(RecordInventory(node=node.name, why=why, rule="R-HOST-1", expects=node.generation))


def _free(work: Work, node: Node) -> None:
    if work.fleet.pool.automatic_free:
        why = "it is inventoried"
        work.act(FreeNode(node=node.name, why=why, rule="R-HOST-1", expects=node.generation))
    else:
        work.wait(about_node(node), f"{node.name} is not freed: automatic_free is off", "R-HOST-1")

"""Virtual nodes follow their hosts (R-HOST-1, R-REFRESH-1, R-DRIFT-1): found, counted, freed, deleted."""

from metier.domain.actions import DeleteNode, DiscoverNode, FreeNode, RecordInventory, StopNode
from metier.domain.fleet import is_spare
from metier.domain.guests import is_active_guest
from metier.domain.hardware import Hardware
from metier.domain.ids import virtual_node_id
from metier.domain.lifecycle import Lifecycle
from metier.domain.node import Node, Place
from metier.domain.observation import Observed, Power, VmFacts
from metier.domain.release import AT_REST
from metier.domain.tier import TierKind, TierState
from metier.planner.steps.advance import is_off
from metier.planner.steps.orders import is_ordered_down, is_rebooting, was_brought_down
from metier.planner.work import Work, about_guest, about_node


def follow_hosts(work: Work) -> None:
    """Bring the virtual nodes of every host in scope into line with what the host shows."""
    for node in work.nodes():
        if node.vmm is not None:
            _follow(work, node)


def admit_nodes(work: Work) -> None:
    """Inventory and free discovered nodes as the pools' automation settings say."""
    for node in work.loose():
        if node.placement.place is not Place.DISCOVERED or not node.engaged or node.pending is not None:
            continue
        if node.lifecycle is Lifecycle.NEW and node.is_virtual:
            _inventory(work, node)
            node = work.fleet.nodes[node.name]
        if node.lifecycle is Lifecycle.IDLE and node.instance is not None:
            why = f"its VM still has instance {node.instance.id} on it"
            work.act(StopNode(node=node.name, why=why, rule="R-RELEASE-2", expects=node.generation))
        elif node.lifecycle is Lifecycle.IDLE:
            _free(work, node)


def _follow(work: Work, host: Node) -> None:
    seen = work.fleet.seen(host.name)
    if is_off(work, host, host.started_at):
        _delete_all(work, host)
        return
    if host.pending is None:
        _forget_missing(work, host, seen)
    if _is_being_emptied(work, host):
        _note_drift(work, host, seen)
        _delete_idle(work, host, seen)
    elif host.lifecycle is Lifecycle.RUNNING and host.staged:
        _note_drift(work, host, seen)
        if host.pending is None:
            _discover(work, host, seen)


def _is_being_emptied(work: Work, host: Node) -> bool:
    """Say whether a host is to serve no longer, and not because it failed: then it is left tidy."""
    if host.lifecycle is Lifecycle.STOPPING:
        return host.request is None and not is_rebooting(host)
    return host.lifecycle is Lifecycle.IDLE or not _serves(work, host)


def _serves(work: Work, host: Node) -> bool:
    tier = work.fleet.tiers.get(host.tier) if host.tier else None
    return tier is not None and tier.kind is TierKind.HOST


def _delete_all(work: Work, host: Node) -> None:
    """Delete the virtual nodes of a host that is off; disengaged ones only by an operator's deed."""
    for guest in work.fleet.virtual_nodes(host.name):
        if guest.pending is None and (guest.engaged or was_brought_down(work, host)):
            _delete(work, guest, f"its host {host.name} is off", _rule(work, host))


def _delete_idle(work: Work, host: Node, seen: Observed) -> None:
    """Delete the virtual nodes of a host that is being emptied, as they come to rest, VMs off."""
    running = {vm.number for vm in seen.vms or () if vm.power is Power.ON and seen.vmm_reachable}
    for guest in work.fleet.virtual_nodes(host.name):
        is_idle = guest.lifecycle in AT_REST and guest.pending is None and guest.vm_number not in running
        may_touch = guest.engaged or is_ordered_down(work, host)
        if is_idle and may_touch and not is_active_guest(work.fleet, guest):
            _delete(work, guest, f"its host {host.name} leaves its tier", _rule(work, host))


def _rule(work: Work, host: Node) -> str:
    if host.request is not None or not host.engaged:
        return "R-FORCE-1"
    tier = work.fleet.tiers.get(host.tier) if host.tier else None
    return "R-SHRINK-1" if tier is None else "R-HOST-1" if tier.state is TierState.ACTIVE else "R-HOSTDOWN-1"


def _delete(work: Work, guest: Node, why: str, rule: str) -> None:
    work.act(DeleteNode(node=guest.name, why=why, rule=rule, expects=guest.generation))


def _forget_missing(work: Work, host: Node, seen: Observed) -> None:
    """Delete virtual nodes whose VM is gone from a good answer that is newer than the node."""
    if seen.vms is None or seen.vms_at is None:
        return
    shown = {vm.number for vm in seen.vms}
    for number, name in sorted(work.fleet.vms_of.get(host.name, {}).items()):
        guest = work.fleet.nodes[name]
        if number in shown or (guest.since is not None and seen.vms_at <= guest.since):
            continue
        if not guest.engaged and not is_ordered_down(work, host):
            message = f"its VM is gone from {host.name}; it is disengaged"
            work.find("node-failed", about_guest(guest, host), message)
        elif guest.pending is None:
            _delete(work, guest, f"its VM is gone from {host.name}", "R-DRIFT-1")


def _discover(work: Work, host: Node, seen: Observed) -> None:
    if not host.engaged or host.request is not None or host.since is None:
        return
    if seen.vms_at is None or seen.vms_at <= host.since:
        return
    known = work.fleet.vms_of.get(host.name, {})
    new = [vm for vm in seen.vms or () if vm.number not in known]
    if new and not work.fleet.pool.automatic_discovery:
        numbers = ", ".join(f"VM{vm.number}" for vm in new)
        why = f"{numbers} of {host.name} are not made nodes: automatic_discovery is off"
        work.wait(about_node(host), why, "R-HOST-1")
        return
    for vm in new:
        why = f"{host.name} runs normally and offers VM{vm.number}"
        name = virtual_node_id(host.name, vm.number)
        work.act(DiscoverNode(node=name, host=host.name, vm_number=vm.number, why=why, rule="R-HOST-1"))


def _note_drift(work: Work, host: Node, seen: Observed) -> None:
    """Say what another tool did to the host's VMs, and put back those that are spare (R-DRIFT-1)."""
    known = work.fleet.vms_of.get(host.name)
    if known is None or seen.vms_at is None:
        return
    for vm in seen.vms or ():
        name = known.get(vm.number)
        if name is None:
            continue
        guest = work.fleet.nodes[name]
        if vm.hardware is not guest.hardware:
            _note_change(work, host, guest, vm.hardware)
        if vm.power is Power.ON and guest.lifecycle is Lifecycle.IDLE:
            _note_start(work, host, guest, vm, seen)


def _note_change(work: Work, host: Node, guest: Node, now_has: Hardware | None) -> None:
    was = guest.hardware
    if was is None or now_has is None:
        return
    if (was.memory_mib, was.cpus, was.nics) != (now_has.memory_mib, now_has.cpus, now_has.nics):
        message = (
            f"its VM now has {now_has.memory_mib} MiB, {now_has.cpus} CPUs and {now_has.nics} NICs; "
            f"it was discovered with {was.memory_mib} MiB, {was.cpus} CPUs and {was.nics} NICs"
        )
        work.find("vm-changed", about_guest(guest, host), message)


def _note_start(work: Work, host: Node, guest: Node, vm: VmFacts, seen: Observed) -> None:
    """Report a VM that runs though its node is idle; drive_nodes puts back all but the spare ones."""
    if guest.since is None or seen.vms_at is None or seen.vms_at <= guest.since:
        return
    if guest.placement.place in (Place.RESERVED, Place.QUARANTINED) or guest.pending is not None:
        return
    message = f"VM{vm.number} of {host.name} was started by another tool"
    if not guest.engaged:
        message += "; it is disengaged and left alone"
        work.find("vm-moved-power", about_guest(guest, host), message)
    elif is_spare(guest):
        work.find("vm-moved-power", about_guest(guest, host), message)
        why = "its VM was started by another tool"
        work.act(StopNode(node=guest.name, why=why, rule="R-DRIFT-1", expects=guest.generation))


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
    else:
        why = f"{node.name} is not inventoried: {node.host} does not say what its VM has"
        work.wait(about_node(node), why, "R-HOST-1")


def _free(work: Work, node: Node) -> None:
    if work.fleet.pool.automatic_free:
        why = "it is inventoried"
        work.act(FreeNode(node=node.name, why=why, rule="R-HOST-1", expects=node.generation))
    else:
        work.wait(about_node(node), f"{node.name} is not freed: automatic_free is off", "R-HOST-1")

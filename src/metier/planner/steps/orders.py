"""What every step that begins work asks: is the node wanted, and in whose name is it done?"""

from metier.domain.actions import Action
from metier.domain.lifecycle import Lifecycle
from metier.domain.node import Node, Request
from metier.domain.tier import TierState
from metier.planner.work import Work

STOP_REQUESTS = (Request.SHUTDOWN, Request.POWER_OFF, Request.POWER_CYCLE)


def is_wanted(work: Work, node: Node) -> bool:
    """Say whether `node` should be running now; an operator's order outranks its tier."""
    if node.request is not None:
        return node.request is Request.POWER_ON
    return in_active_tier(work, node)


def in_active_tier(work: Work, node: Node) -> bool:
    """Say whether `node` is a member of an active tier."""
    return node.tier is not None and work.fleet.tiers[node.tier].state is TierState.ACTIVE


def is_rebooting(node: Node) -> bool:
    """Say whether `node` stops only to be started again in its slot, because it failed (R-FAIL-2)."""
    is_stopping = node.lifecycle is Lifecycle.STOPPING and node.request is None and node.tier is not None
    return is_stopping and node.rebooted_at is not None and node.rebooted_at == node.since


def is_ordered_down(work: Work, host: Node) -> bool:
    """Say whether an operator wants `host` to stop serving: then its disengaged virtual nodes go too."""
    return host.request is not None or not in_active_tier(work, host)


def was_brought_down(work: Work, host: Node) -> bool:
    """Say whether a host that is off is so by an operator's deed: an order, or a hand while disengaged."""
    return is_ordered_down(work, host) or not host.engaged


def has_spent_instance(work: Work, node: Node) -> bool:
    """Say whether a VM must be cleaned once it is off.

    It is when its node left its slot, or the image changed, and also when an operator had Metier
    shut it down: what is to be captured has been shut down from inside (the manual's moved `.vmx`).
    """
    if node.tier is None or (node.request in (Request.SHUTDOWN, Request.POWER_OFF) and node.instance):
        return True
    number = node.placement.slot
    assert number is not None
    return node.instance is not None and node.instance.image != work.fleet.tiers[node.tier].image_for(number)


def rule_for(node: Node, otherwise: str) -> str:
    """Return the rule to name: `operator` while one has ordered something of `node`."""
    return "operator" if node.request is not None else otherwise


def act_on(work: Work, kind: type[Action], node: Node, why: str, rule: str, **more: object) -> None:
    """Decide an action of `kind` on `node` as it is now."""
    work.act(kind(node=node.name, why=why, rule=rule_for(node, rule), expects=node.generation, **more))

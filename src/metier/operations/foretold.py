"""What allocation would do if something were different: the planner's own choice, on a changed fleet."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

from metier.domain.allocation import Allotment, allotments, by_importance
from metier.domain.evidence import power_seen
from metier.domain.fleet import Draft, Fleet
from metier.domain.hardware import Hardware, Requirements
from metier.domain.ids import NodeId, TierId
from metier.domain.lifecycle import Lifecycle
from metier.domain.matching import Obstacle, needs_of, obstacles
from metier.domain.node import ENGAGED, FREE, MAINTENANCE, Node, Place, Placement
from metier.domain.observation import Power
from metier.domain.tier import Tier, TierState

Change = Callable[[Draft], object]

SHOWN = 5
"""As many names or sentences as a person compares; there may be thousands."""

MOST_FORETOLD = 1000
"""So many allotments are followed: whoever comes later has too many before it to speak of what is next."""


class Cure(NamedTuple):
    """Everything that would have to be different for a node to fit a tier.

    Attributes:
        words: What to do, or what it would have to have, up to the verb: `engage host-1/VM3: it`.
        change: The same, on a fleet; None where only trying tells what comes of it.
        is_sure: Nothing that was seen contradicts what follows from it.
    """

    words: str
    change: Change | None
    is_sure: bool


def foretold(fleet: Fleet, change: Change) -> Iterator[Allotment]:
    """Yield which free nodes would go where, in order, if `change` were made to `fleet`."""
    draft = fleet.edit()
    change(draft)
    for allotment in islice(allotments(draft, by_importance(draft, draft.tiers)), MOST_FORETOLD):
        slot = allotment.slot
        placement = Placement(Place.TIER, slot.tier, slot.number)
        draft.change_node(allotment.node.name, placement=placement, promised=None)
        yield allotment


def landing(fleet: Fleet, node: NodeId, change: Change) -> Allotment | None:
    """Return where a node would go if `change` were made, if it went anywhere."""
    return next((one for one in foretold(fleet, change) if one.node.name == node), None)


def next_in_line(fleet: Fleet, tier: Tier, count: int) -> list[Allotment]:
    """Return the `count` free nodes that `tier` would take if it wanted so many more, in order."""
    wanted = len(fleet.members(tier.name)) + count
    change = wants(tier, wanted)
    return list(islice((one for one in foretold(fleet, change) if one.slot.tier == tier.name), count))


def wants(tier: Tier, target: int) -> Change:
    """Return the change that an inactive tier is allocated, and that it wants `target` nodes."""
    state = TierState.ALLOCATED if tier.state is TierState.INACTIVE else tier.state
    wanting = replace(tier, state=state, target=target, maximum=max(target, tier.maximum))
    return lambda draft: draft.put_tier(wanting)


def freed(node: NodeId) -> Change:
    """Return the change that a node is free and ready for anything."""
    fields = {"placement": FREE, "lifecycle": Lifecycle.IDLE, "engagement": ENGAGED}
    nothing = {"pending": None, "request": None, "promised": None}
    return lambda draft: draft.change_node(node, **fields, **nothing)


def gone(node: NodeId) -> Change:
    """Return the change that a node is set aside."""
    return lambda draft: draft.change_node(node, placement=MAINTENANCE)


def both(first: Change, second: Change) -> Change:
    """Return two changes as one."""

    def change(draft: Draft) -> None:
        first(draft)
        second(draft)

    return change


def cure_for(fleet: Fleet, node: Node, tier: Tier, found: Sequence[Obstacle]) -> Cure | None:
    """Return what would remove all obstacles together; None where nothing simple would."""
    if not found or not all(obstacle.cure for obstacle in found):
        return None
    orders = list(dict.fromkeys(one.cure for one in found if not one.distance))
    gaps = [one.cure for one in found if one.distance]
    if any(one.mend is None and not one.distance for one in found):
        return Cure(", ".join(orders), None, is_sure=False)
    is_own = all(one.mend is None or one.mend.node == node.name for one in found)
    words = _opening(orders, gaps, "it" if orders and is_own else node.name)
    return Cure(words, _mending(fleet, node, tier, found), is_own and not _is_astir(fleet, node))


def _opening(orders: Sequence[str], gaps: Sequence[str], subject: str) -> str:
    if not gaps:
        return f"{', '.join(orders)}: {subject}"
    begin = f"{', '.join(orders)}, and with" if orders else "with"
    return f"{begin} {listed(gaps)}, {subject}"


def _mending(fleet: Fleet, node: Node, tier: Tier, found: Sequence[Obstacle]) -> Change:
    mends = [one.mend for one in found if one.mend is not None]
    grown = None if node.hardware is None else _grown(needs_of(fleet, tier), node.hardware)

    def change(draft: Draft) -> None:
        draft.change_node(node.name, hardware=grown)
        for mend in mends:
            draft.change_node(mend.node, **mend.fields)

    return change


def _grown(needs: Requirements, has: Hardware) -> Hardware:
    """Return what `has` would be with everything that is missing, and no more."""
    return replace(
        has,
        memory_mib=max(has.memory_mib, needs.memory_mib),
        cpus=max(has.cpus, needs.cpus),
        disk_gib=max(has.disk_gib, needs.disk_gib),
        nics=max(has.nics, needs.nics),
        architecture=needs.architecture or has.architecture,
        attributes=has.attributes | needs.attributes,
        networks=has.networks | needs.networks,
    )


def _is_astir(fleet: Fleet, node: Node) -> bool:
    """Say whether a virtual node's VM runs or is gone: then automation sees to that first."""
    if node.host is None or node.vm_number is None:
        return False
    vms = fleet.seen(node.host).vms
    is_gone = vms is not None and fleet.seen(node.host).vm(node.vm_number) is None
    return is_gone or power_seen(fleet, node)[0] is Power.ON


def fits_after(fleet: Fleet, node: NodeId, tier: TierId, change: Change) -> bool:
    """Say whether a node would fit a tier if `change` were made."""
    draft = fleet.edit()
    change(draft)
    return not obstacles(draft, draft.nodes[node], draft.tiers[tier])


def listed(words: Sequence[str]) -> str:
    """Return words as a person lists them: `a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)

"""What would make a tier's answer another: more or fewer nodes, donors, a lifted brake, one more failure."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime

from metier.domain.allocation import Allotment, has_brake_on, shortage
from metier.domain.fleet import Fleet
from metier.domain.harvest import Gifts, donors, gifts, harvest_goal, refusal, spare_nodes
from metier.domain.ids import natural
from metier.domain.node import Node
from metier.domain.observation import Health
from metier.domain.personalizing import outdated_slots
from metier.domain.release import hold_on, line_to_leave
from metier.domain.rollout import hold_on_rollout, how_far, progress_of, slot_of
from metier.domain.status import health
from metier.domain.tier import Tier, TierKind, TierState
from metier.operations.foretold import SHOWN, foretold, listed
from metier.operations.node_standing import why_first
from metier.operations.parsing import rfc3339
from metier.operations.registry import Row


def changes(fleet: Fleet, tier: Tier, line: Sequence[Allotment], leaving: Sequence[Node]) -> Iterator[str]:
    """Yield what would follow from one node more and one less, as far as that is certain."""
    has = len(fleet.members(tier.name))
    if line and next(foretold(fleet, lambda _: None), None) is None:
        yield _one_more(tier, has + 1, line[0])
    if leaving and tier.state is not TierState.INACTIVE:
        what = "a target" if has > tier.minimum else "a target and minimum"
        rule = "R-SHRINK-1" if tier.kind is TierKind.HOST else "R-RELEASE-1"
        why = why_first(fleet, tier, list(leaving))
        yield f"with {what} of {has - 1}, {leaving[0].name} would be released first: {why} ({rule})"


def _one_more(tier: Tier, target: int, first: Allotment) -> str:
    what = "a target" if target <= tier.maximum else "a target and maximum"
    if tier.state is not TierState.INACTIVE:
        return f"with {what} of {target}, {first.node.name} would be allocated next"
    more = "" if target <= tier.target else f" with {what} of {target}"
    return f"allocate {tier.name}{more}: {first.node.name} would be allocated first"


def release_row(fleet: Fleet, tier: Tier, leaving: Sequence[Node]) -> Row:
    """Return who would leave first if the target were lowered, in order, and what holds the others."""
    held = ((node, hold_on(fleet, tier, node)) for node in fleet.member_nodes(tier.name))
    holds = [f"{hold.why} ({hold.rule})" for _, hold in held if hold is not None]
    return {"would_leave": [node.name for node in leaving[:SHOWN]], "would_stay": _some(holds)}


def can_leave(fleet: Fleet, tier: Tier) -> list[Node]:
    """Return who could be released, in order; nobody by a target from an inactive tier."""
    return [] if tier.state is TierState.INACTIVE else line_to_leave(fleet, tier)


# --- donors ---------------------------------------------------------------------------


def donor_row(fleet: Fleet, tier: Tier, now: datetime) -> Row:
    """Return which less important tiers could give nodes up, in order, and why the others could not."""
    willing = [(donor, gifts(fleet, tier, donor, now)) for donor in donors(fleet, tier)]
    refusals = [
        f"{donor.name} gives none: {_objections(found)}" for donor, found in willing if not found.nodes
    ]
    for other in sorted(fleet.tiers.values(), key=lambda other: natural(other.name)):
        why = refusal(fleet, tier, other)
        if why and other.kind is tier.kind and other.name != tier.name:
            refusals.append(f"{other.name} gives none: {why}")
    rows = [_donor(fleet, donor, found) for donor, found in willing if found.nodes]
    return {"donors": rows, "no_donors": _some(refusals), "harvest": _harvest(fleet, tier)}


def _donor(fleet: Fleet, donor: Tier, found: Gifts) -> Row:
    spare = spare_nodes(fleet, donor)
    return {
        "tier": donor.name,
        "priority": donor.priority,
        "spare": spare,
        "nodes": [node.name for node in found.nodes[: min(spare, SHOWN)]],
    }


def _objections(found: Gifts) -> str:
    counts = Counter(objection.why for _, objection in found.kept)
    return ", ".join(_some([f"{count} × {why}" for why, count in counts.most_common()]))


def _harvest(fleet: Fleet, tier: Tier) -> str:
    """Say whether the tier harvests now, or when it would."""
    level, goal = "target" if tier.harvest_to_target else "minimum", harvest_goal(tier)
    if tier.state is not TierState.ACTIVE:
        return f"it takes nodes from other tiers only while it is active, and it is {tier.state}"
    if has_brake_on(fleet, tier):
        return "it takes none from other tiers while it is braked"
    if goal == 0:
        return f"it never takes nodes from other tiers, its {level} being 0 (R-HARVEST-1)"
    missing = shortage(fleet, tier, goal)
    if missing:
        return f"it takes up to {missing} from other tiers, being below its {level} of {goal} (R-HARVEST-1)"
    return f"it would take nodes from other tiers only below its {level} of {goal} (R-HARVEST-1)"


def would_harvest(fleet: Fleet, tier: Tier, rows: Sequence[Row]) -> list[str]:
    """Say what a tier between minimum and target would take if it might harvest for its target."""
    on_their_way = sum(fleet.nodes[name].promised == tier.name for name in fleet.loose)
    missing = shortage(fleet, tier, tier.target) - on_their_way
    may = tier.state is TierState.ACTIVE and not tier.harvest_to_target and not has_brake_on(fleet, tier)
    if missing <= 0 or not may or not rows:
        return []
    return [f"with harvest_to_target on, {rows[0]['nodes'][0]} would be taken from {rows[0]['tier']}"]


# --- what is not as it should be ------------------------------------------------------


def brake(fleet: Fleet, tier: Tier) -> str | None:
    """Say since when a tier is braked, and what lifts that; None if it is not."""
    trouble = fleet.troubles.get(tier.name)
    if trouble is None or trouble.braked_since is None:
        return None
    since = rfc3339(trouble.braked_since.replace(microsecond=0))
    return f"nothing is replaced since {since}: too much failed at once; `metier tier resume {tier.name}`"


def older_personality(fleet: Fleet, tier: Tier) -> str | None:
    """Say which slots run with another personality than a new instance would get; None if none does."""
    slots = outdated_slots(fleet, tier)
    if not slots:
        return None
    count = "1 slot runs" if len(slots) == 1 else f"{len(slots)} slots run"
    shown = listed([str(slot) for slot in slots[:SHOWN]])
    more = f", and {len(slots) - SHOWN} more" if len(slots) > SHOWN else ""
    return f"{count} with an older personality: {shown}{more}; `metier tier personality {tier.name}` has more"


def rollout_row(fleet: Fleet, tier: Tier) -> Row | None:
    """Return how far a tier's roll-out is, slot by slot; None without one."""
    if tier.rollout is None:
        return None
    progress = progress_of(fleet, tier)
    hold = hold_on_rollout(fleet, tier, tier.rollout)
    return {
        "image": str(tier.image),
        "previous": str(tier.rollout.previous),
        "how_far": how_far(fleet, tier, progress),
        "held": None if hold is None else f"{hold.why} ({hold.rule})",
        "done": [slot_of(node) for node in (*progress.done, *progress.arrived)],
        "under_way": progress.coming,
        "next": [slot_of(node) for node in progress.behind],
        "cannot_move": [f"slot {slot_of(node)} ({node.name}): {why}" for node, why in progress.held],
        "disengaged": [slot_of(node) for node in progress.aside],
    }


def held_back(fleet: Fleet, tier: Tier) -> list[str]:
    """Say which tiers this one depends on keep its nodes from being started."""
    others = [fleet.tiers[name] for name in tier.depends_on if name in fleet.tiers]
    return [
        f"its nodes are not started before {other.name} is active: it is {other.state}"
        for other in others
        if other.state is not TierState.ACTIVE
    ]


def dips(fleet: Fleet, tier: Tier) -> list[str]:
    """Say how a tier stands to its minimum, and which single host would take it below."""
    if tier.state is not TierState.ACTIVE or tier.minimum == 0:
        return []
    members = fleet.member_nodes(tier.name)
    normal = [node for node in members if health(fleet, node) is Health.NORMAL]
    if len(normal) < tier.minimum:
        return [f"{tier.name} has {_normal(len(normal))}, below its minimum of {tier.minimum}"]
    if len(normal) == tier.minimum:
        return [f"one normal node less takes {tier.name} below its minimum of {tier.minimum}"]
    on_host = Counter(node.host for node in normal if node.host is not None)
    return _some(
        [
            f"if {host} went down, {tier.name} would keep {_normal(len(normal) - count)}, "
            f"below its minimum of {tier.minimum}"
            for host, count in sorted(on_host.items(), key=lambda item: (-item[1], natural(item[0])))
            if len(normal) - count < tier.minimum
        ]
    )


def _normal(count: int) -> str:
    return f"{count} normal node{'' if count == 1 else 's'}"


def _some(sentences: list[str]) -> list[str]:
    """Return as many sentences as a person reads, and how many more there are."""
    if len(sentences) <= SHOWN:
        return sentences
    return [*sentences[:SHOWN], f"and {len(sentences) - SHOWN} more"]

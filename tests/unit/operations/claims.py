"""Takes what `explain` claims at its word: reads a sentence, makes the change it names, and plans."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from metier.domain.actions import Action, AllocateNode, ReleaseNode
from metier.domain.fleet import Draft, Fleet
from metier.domain.hardware import Hardware
from metier.domain.ids import NodeId, TierId
from metier.domain.lifecycle import Lifecycle
from metier.domain.matching import obstacles
from metier.domain.node import ENGAGED, FREE, MAINTENANCE
from metier.domain.tier import Tier, TierState
from metier.planner.plan import decide
from tests.builders import NOW
from tests.unit.operations.asking import change

MOST_ROUNDS = 12


def at_rest(fleet: Fleet) -> Fleet | None:
    """Return the fleet once nothing more is decided at this moment; None if that takes too long."""
    for _ in range(MOST_ROUNDS):
        work = decide(fleet, NOW)
        fleet = work.fleet.freeze()
        if not work.actions:
            return fleet
    return None


def edited(fleet: Fleet, edit: Callable[[Draft], object]) -> Fleet:
    draft = fleet.edit()
    edit(draft)
    return draft.freeze()


def with_tier(fleet: Fleet, tier: str, **fields: object) -> Fleet:
    return edited(fleet, lambda draft: draft.put_tier(replace(draft.tiers[TierId(tier)], **fields)))  # type: ignore[arg-type]  # fields by name


def with_target(fleet: Fleet, tier: str, target: int) -> Fleet:
    """Return the fleet with a target, and a minimum and maximum that allow it; allocated if it was not."""
    was = fleet.tiers[TierId(tier)]
    state = TierState.ALLOCATED if was.state is TierState.INACTIVE else was.state
    limits = {"minimum": min(was.minimum, target), "maximum": max(was.maximum, target)}
    return with_tier(fleet, tier, target=target, state=state, **limits)


def plan_of(fleet: Fleet) -> list[Action]:
    return decide(fleet, NOW).actions


def allocated(fleet: Fleet, tier: str | None = None) -> list[str]:
    """Return the nodes that the next plan allocates, to one tier or to any, in order."""
    found = [action for action in plan_of(fleet) if isinstance(action, AllocateNode)]
    return [action.node for action in found if tier in (None, action.slot.tier)]


def goes_to(fleet: Fleet, node: str) -> str | None:
    """Return the tier that the next plan allocates a node to."""
    found = [action for action in plan_of(fleet) if isinstance(action, AllocateNode)]
    return next((action.slot.tier for action in found if action.node == node), None)


def released(fleet: Fleet, tier: str) -> list[str]:
    """Return the members of a tier that the next plan releases because it has too many, in order."""
    return [
        action.node
        for action in plan_of(fleet)
        if isinstance(action, ReleaseNode)
        and action.promised is None
        and fleet.nodes[action.node].tier == tier
    ]


def harvested(fleet: Fleet, tier: str) -> list[str]:
    """Return the nodes that the next plan harvests for a tier, in order."""
    found = [action for action in plan_of(fleet) if isinstance(action, ReleaseNode)]
    return [action.node for action in found if action.promised == tier]


def starving(fleet: Fleet, tier: str) -> Fleet:
    """Return the fleet with a tier that wants more than there is."""
    return with_tier(fleet, tier, minimum=99, target=99, maximum=99)


# --- cures ------------------------------------------------------------------------------


class Cured(NamedTuple):
    """A fleet after what a sentence asks for, and what it says would follow."""

    fleet: Fleet
    outcome: str


_CURE = re.compile(r"(?P<what>.*?)(?:: |, )(?:it|\S+) would (?P<outcome>do|do, but .*|be .*)")
_ORDERS: tuple[tuple[re.Pattern[str], tuple[str, dict[str, str]]], ...] = (
    (re.compile(r"engage (\S+)"), ("engage", {})),
    (re.compile(r"move (\S+) to the free pool"), ("move", {"to": "free"})),
    (re.compile(r"release (\S+)"), ("release", {})),
)
_GAPS = (
    (re.compile(r"(\d+) MiB more memory"), "memory_mib"),
    (re.compile(r"(\d+) more CPUs"), "cpus"),
    (re.compile(r"(\d+) GiB more disk"), "disk_gib"),
    (re.compile(r"(\d+) more NICs"), "nics"),
)


def cured(fleet: Fleet, node: str, sentence: str) -> Cured:
    """Do what a cure says, by the operations that operators have."""
    match = _CURE.fullmatch(sentence)
    assert match, sentence
    orders, _, gaps = (
        match["what"].rpartition("with ") if "with " in match["what"] else (match["what"], "", "")
    )
    for order in re.split(r", ", orders.removesuffix(", and ")):
        fleet = _ordered(fleet, order) if order else fleet
    if gaps:
        grown = _grown(fleet.nodes[NodeId(node)].hardware, re.split(r", | and ", gaps))
        fleet = edited(fleet, lambda draft: draft.change_node(NodeId(node), hardware=grown))
    return Cured(fleet, match["outcome"])


def _ordered(fleet: Fleet, words: str) -> Fleet:
    for pattern, (verb, arguments) in _ORDERS:
        match = pattern.fullmatch(words)
        if match:
            return change(fleet, "node", verb, name=match[1], **arguments)[0]  # type: ignore[arg-type]  # words of the command
    raise AssertionError(f"no operation does this: {words!r}")


def _grown(has: Hardware | None, gaps: Sequence[str]) -> Hardware:
    assert has is not None
    for gap in gaps:
        if gap.startswith("attribute "):
            has = replace(has, attributes=has.attributes | {gap.removeprefix("attribute ")})
            continue
        pattern, field = next((pattern, field) for pattern, field in _GAPS if pattern.fullmatch(gap))
        match = pattern.fullmatch(gap)
        assert match
        has = replace(has, **{field: getattr(has, field) + int(match[1])})
    return has


def check_cure(fleet: Fleet, node: str, tier: Tier, sentence: str) -> str:
    """Check one cure; returns what kind of claim it made."""
    if sentence.endswith("what comes of it decides"):
        return "no claim"
    after, outcome = cured(fleet, node, sentence)
    fits = not obstacles(after, after.nodes[NodeId(node)], tier)
    if outcome == "be nearer to fitting":
        assert not fits, sentence
        return "cure nearer"
    assert fits, sentence
    if outcome == "do":
        return "cure would do"
    allocated_to = outcome.rpartition(" ")[2]
    assert goes_to(after, node) == allocated_to, sentence
    return "cure elsewhere" if outcome.startswith("do,") else "cure allocated"


# --- places in line -----------------------------------------------------------------------

_TARGET = re.compile(
    r"(?:with a target(?: and \w+)? of (?P<target>\d+),|"
    r"allocate \S+(?: with a target(?: and \w+)? of (?P<more>\d+))?:) "
    r"(?P<who>\S+) would be (?P<outcome>allocated|released)(?P<rest>.*)"
)
_SMALLER = re.compile(r"with (\d+) MiB less memory, it would cost (\d+) and come first")


def check_line(fleet: Fleet, tier: Tier, sentence: str, node: str | None = None) -> str:
    """Check what is said to follow from another target, or from less memory; returns the kind of claim."""
    harvesting = re.fullmatch(r"with harvest_to_target on, (\S+) would be taken from (\S+)", sentence)
    if harvesting:
        assert fleet.nodes[NodeId(harvesting[1])].tier == harvesting[2]
        assert harvested(with_tier(fleet, tier.name, harvest_to_target=True), tier.name)[0] == harvesting[1]
        return "harvest to target"
    smaller = _SMALLER.fullmatch(sentence)
    if smaller:
        assert node is not None
        return _check_smaller(fleet, tier, NodeId(node), int(smaller[1]), int(smaller[2]))
    match = _TARGET.fullmatch(sentence)
    assert match, sentence
    who = node if match["who"] == "it" else match["who"]
    target = int(match["target"] or match["more"] or tier.target)
    is_first = "after " not in match["rest"]
    assert " and maximum " in sentence or match["outcome"] == "released" or target <= tier.maximum
    assert " and minimum " in sentence or match["outcome"] == "allocated" or target >= tier.minimum
    then = with_target(fleet, tier.name, target)
    line = allocated(then, tier.name) if match["outcome"] == "allocated" else released(then, tier.name)
    assert who in line, sentence
    assert (line[0] == who) is is_first, sentence
    if target != tier.target or not is_first:  # with one fewer wanted, its turn would not come
        _check_turn(fleet, tier, match["outcome"], target, who)
    return f"{match['outcome']} {'first' if is_first else 'later'}"


def _check_turn(fleet: Fleet, tier: Tier, outcome: str, target: int, who: str | None) -> None:
    if outcome == "released":
        assert who not in released(with_target(fleet, tier.name, target + 1), tier.name)
    elif tier.state is not TierState.INACTIVE:
        assert who not in allocated(with_target(fleet, tier.name, target - 1), tier.name)


def _check_smaller(fleet: Fleet, tier: Tier, node: NodeId, less_mib: int, cost: int) -> str:
    has = fleet.nodes[node].hardware
    assert has is not None
    smaller = replace(has, memory_mib=has.memory_mib - less_mib)
    then = edited(fleet, lambda draft: draft.change_node(node, hardware=smaller))
    then = with_target(then, tier.name, len(fleet.members(tier.name)) + 1)
    found = [
        action
        for action in plan_of(then)
        if isinstance(action, AllocateNode) and action.slot.tier == tier.name
    ]
    assert (found[0].node, found[0].cost) == (node, cost)
    return "smaller"


# --- members ------------------------------------------------------------------------------


def freed(fleet: Fleet, node: str, tier: Tier) -> Fleet:
    """Return the fleet with a member free like any other, and its tier short of one."""
    fields = {"placement": FREE, "lifecycle": Lifecycle.IDLE, "engagement": ENGAGED}
    nothing = {"pending": None, "request": None, "promised": None}
    then = edited(fleet, lambda draft: draft.change_node(NodeId(node), **fields, **nothing))
    return with_target(then, tier.name, max(tier.target, len(fleet.members(tier.name))))


def check_again(fleet: Fleet, node: str, tier: Tier, sentence: str) -> str:
    """Check what is said of the same choice today; returns the kind of claim."""
    if sentence.startswith("if it were gone"):
        then = edited(fleet, lambda draft: draft.change_node(NodeId(node), placement=MAINTENANCE))
        then = with_target(then, tier.name, max(tier.target, len(fleet.members(tier.name))))
        assert allocated(then, tier.name)[0] == sentence.split()[4], sentence
        return "replacement"
    then = freed(fleet, node, tier)
    line = allocated(then, tier.name)
    if sentence.startswith("the same choice"):
        assert line[0] == node, sentence
        return "same choice"
    if sentence.startswith("if it were free today"):
        assert goes_to(then, node) == sentence.split()[5], sentence
        return "other tier's choice"
    if "would choose neither" in sentence:
        assert not line, sentence
        return "no choice"
    assert line[0] == sentence.split()[1], sentence
    return "other choice"


def check_harvest(fleet: Fleet, node: str, sentence: str) -> Iterator[str]:
    """Check who is said to be able to take a member, and who is said not to."""
    may = re.match(r"(\S+) \(priority \d+\) may take it", sentence)
    if may:
        assert node in harvested(starving(fleet, may[1]), may[1]), sentence
        yield "harvested"
    may_not = re.match(r"(\S+) (?:may not|would) harvest", sentence)
    if may_not:
        assert node not in harvested(starving(fleet, may_not[1]), may_not[1]), sentence
        yield "not harvested"

"""Whether automation may touch a node, and an operator's word that one is down."""

from dataclasses import dataclass, replace

from metier.domain.errors import Refusal, WrongUsage
from metier.domain.fleet import Draft
from metier.domain.ids import natural, node_id
from metier.domain.node import Engagement, Node
from metier.domain.tier import Fence
from metier.operations.captures import refuse_while_captured
from metier.operations.node_row import node_row
from metier.operations.parsing import moment, one_line, rfc3339
from metier.operations.records import expected_node
from metier.operations.registry import Caller, Outcome, changes, option, positional


@dataclass(frozen=True, slots=True, kw_only=True)
class Engage:
    """Which node."""

    name: str = positional("the node to engage", example="host-1")


@changes("node", "engage", Engage, examples=("metier node engage host-1",))
def engage(draft: Draft, arguments: Engage, caller: Caller) -> Outcome:
    """Let automation act on a node again."""
    node = expected_node(draft, arguments.name, caller)
    if node.engaged:
        return Outcome(f"node {node.name} is engaged already", node_row(draft, node))
    refuse_while_captured(draft, node, "engage")
    engaged = draft.put_node(replace(node, engagement=Engagement(True, caller.name, caller.now)))
    return Outcome(f"node {node.name} engaged", node_row(draft, engaged))


@dataclass(frozen=True, slots=True, kw_only=True)
class Disengage:
    """Which node, why, and for how long."""

    name: str = positional("the node to disengage", example="host-1/VM3")
    why: str = option("why, for whoever wonders later", "", example="capturing its image")
    until: str | None = option(
        "when it is engaged again by itself: a time, or how long from now such as 2h", None, example="2h"
    )


@changes(
    "node",
    "disengage",
    Disengage,
    examples=("metier node disengage host-1/VM3", "metier node disengage host-1 --why 'new disk' --until 2h"),
)
def disengage(draft: Draft, arguments: Disengage, caller: Caller) -> Outcome:
    """Keep automation's hands off a node; it stays where it is, and your own commands still work."""
    node = expected_node(draft, arguments.name, caller)
    until = None if not arguments.until else moment(arguments.until, caller.now)
    why = one_line(arguments.why, "--why", 500)
    before = node.engagement
    if not node.engaged and (before.why, before.until) == (why or before.why, until or before.until):
        return Outcome(f"node {node.name} is disengaged already", node_row(draft, node))
    changed = draft.put_node(replace(node, engagement=Engagement(False, caller.name, caller.now, why, until)))
    end = f" until {rfc3339(until)}" if until else ""
    return Outcome(f"node {node.name} disengaged{end}", node_row(draft, changed), _side_effects(draft, node))


def _side_effects(draft: Draft, node: Node) -> tuple[str, ...]:
    virtual = len(draft.virtual_nodes(node.name))
    if not virtual:
        return ()
    nodes = "its virtual node is" if virtual == 1 else f"its {virtual} virtual nodes are"
    return (f"while {node.name} is disengaged, {nodes} not allocated to any tier",)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttestOff:
    """Which node, and how you know."""

    name: str = positional("the node that you know to be down, or its host", example="host-1")
    why: str = option("how you know that it is down", example="I pulled its plug")


@changes(
    "node", "attest-off", AttestOff, examples=("metier node attest-off host-1 --why 'I pulled its plug'",)
)
def attest_off(draft: Draft, arguments: AttestOff, caller: Caller) -> Outcome:
    """Give your signed word that a node is down, so that its slot may start elsewhere.

    If it is not down, the same service runs twice on the same data.
    """
    # The node itself may be gone from the Fleet: its fence outlives it.
    name = node_id(arguments.name)
    why = one_line(arguments.why, "--why", 500).strip()
    if not why:
        raise WrongUsage(f"cannot take your word for {name} without a reason", remedy="add --why")
    slots = [slot for slot in draft.slots.values() if any(_is_about(fence, name) for fence in slot.fences)]
    if not slots:
        raise Refusal(
            f"nothing waits for evidence that {name} is down",
            remedy="see `metier tier explain NAME` for what waits",
        )
    for slot in slots:
        fences = tuple(
            replace(fence, attested=caller.name) if _is_about(fence, name) else fence for fence in slot.fences
        )
        draft.put_slot(replace(slot, fences=fences))
    freed = ", ".join(sorted((str(slot.id) for slot in slots), key=natural))
    node = draft.nodes.get(name)
    row = None if node is None else node_row(draft, node)
    return Outcome(f"{caller.name} attested that {name} is down, for slot {freed}: {why}", row)


def _is_about(fence: Fence, name: str) -> bool:
    return name in (fence.node, fence.host)

"""What is out of the ordinary about a node, and what the journal says of how it came where it is."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from metier.domain.effective import version_of
from metier.domain.fleet import Fleet
from metier.domain.lifecycle import Lifecycle
from metier.domain.matching import host_obstacle
from metier.domain.node import Node, Place
from metier.domain.status import STATUSES, status
from metier.domain.tier import Tier, TierState
from metier.operations.copying import copying_words
from metier.operations.host_words import host_oddities
from metier.operations.node_row import fences_before, reason
from metier.operations.node_verdict import tiers_in_want
from metier.operations.parsing import rfc3339
from metier.operations.registry import Row, View

JOURNAL_SPAN = 200
"""So far back the journal is searched for what put a node where it is."""

RECENT_EVENTS = 5
"""Enough to see the last decision and what led to it, without a page of history."""

_ORDINARY = frozenset(
    (
        "idle",
        "offline",
        "allocated",
        "preparing",
        "ready",
        "booting",
        "starting",
        "normal",
        "shutting down",
        "inventory",
        "discovered",
    )
)
_PLACING = ("ReleaseNode", "FreeNode", "DiscoverNode")
_MOVING = frozenset(f"node {verb}" for verb in ("add", "move", "reserve", "release", "inventory"))


def why(view: View, node: Node) -> str:
    """Return what is out of the ordinary about a node, or that nothing is."""
    fences = fences_before(view.fleet, node)
    parts = [reason(node, view.waiting_for(node.name), fences), copying_words(view).get(node.name, "")]
    parts += [*_oddities(view.fleet, node), *rejection(view)]
    told = "; ".join(dict.fromkeys(part for part in parts if part))
    told = "; ".join(
        [told, *_alerts(view.fleet, node.name, told)] if told else _alerts(view.fleet, node.name)
    )
    if told:
        return told
    word = status(view.fleet, node)
    meaning = _clause(STATUSES[word])
    if node.placement.place is Place.FREE and not tiers_in_want(view.fleet, node):
        meaning += ", and no tier lacks nodes"
    return f"nothing is out of the ordinary: {meaning}" if word in _ORDINARY else meaning


def rejection(view: View) -> list[str]:
    """Say that nothing is done anywhere because the last plan broke a law, if so."""
    is_rejected = any(finding.code == "plan-rejected" for finding in view.plan.findings)
    return (
        ["the last plan was rejected and nothing of it is done: see `metier alert list`"]
        if is_rejected
        else []
    )


def _clause(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:].rstrip(".")


def _oddities(fleet: Fleet, node: Node) -> Iterator[str]:
    seen = fleet.seen(node.name)
    if node.pending is not None:
        yield f"{node.pending.action} is in flight since {rfc3339(node.pending.since.replace(microsecond=0))}"
    if node.lifecycle in (Lifecycle.STARTING, Lifecycle.RUNNING, Lifecycle.FAILED):
        yield from (f"{check.collector}: {check.message}" for check in seen.checks if not check.ok)
    if seen.vmm_reachable is False:
        yield (
            f"its VM manager does not answer: {seen.vmm_error}"
            if seen.vmm_error
            else ("its VM manager does not answer")
        )
    if seen.power_error:
        yield f"its power controller does not answer: {seen.power_error}"
    blocked = host_obstacle(fleet, node)
    if blocked is not None:
        yield blocked.sentence
    yield from host_oddities(fleet, node)
    yield from _oddities_of_place(fleet, node)


def _oddities_of_place(fleet: Fleet, node: Node) -> Iterator[str]:
    tier = None if node.tier is None else fleet.tiers.get(node.tier)
    if tier is not None:
        trouble = fleet.troubles.get(tier.name)
        if trouble is not None and trouble.braked_since is not None:
            yield f"{tier.name} is braked: nothing is replaced until `metier tier resume {tier.name}`"
        if tier.state is TierState.INACTIVE:
            yield f"{tier.name} was deallocated"
        yield from _rollout(tier, node)
        return
    if node.hardware is None:
        yield "what it has is not known yet"
    if node.promised is not None:
        yield f"it was harvested for {node.promised} (R-HARVEST-1)"
    if node.placement.place is Place.MAINTENANCE and node.to_diagnose:
        yield "it is to be tested (R-FAIL-3)"
    if node.failures:
        yield f"it failed {node.failures} time{'s' if node.failures > 1 else ''}"


def _rollout(tier: Tier, node: Node) -> Iterator[str]:
    """Say where a member stands in its tier's roll-out."""
    rollout, number = tier.rollout, node.placement.slot
    if rollout is None:
        return
    version = version_of(tier, node)
    paused = ", which is paused" if rollout.paused else ""
    if number not in rollout.moved and version != tier.image:
        what = f"the roll-out to {tier.image}{paused}"
        yield f"it runs {version} until {what} comes to slot {number} (R-UPDATE-1)"
    elif number in rollout.moved and node.lifecycle is not Lifecycle.RUNNING:
        yield f"slot {number} is under way to {tier.image} (R-UPDATE-1)"


def _alerts(fleet: Fleet, subject: str, told: str = "") -> list[str]:
    open_ones = [alert for alert in fleet.alerts.values() if alert.subject == subject and not alert.cleared]
    return [f"{one.code}: {one.message}" for one in open_ones if one.message not in told]


# --- the journal ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class History:
    """What the journal has on a node.

    Attributes:
        placed: When, by which rule and why it was put where it is; None if the journal begins later.
        recent: The last few entries.
    """

    placed: str | None
    recent: list[str]


def history(view: View, node: Node) -> History:
    """Read what the journal says about a node."""
    rows = view.services.journal(after=0, limit=JOURNAL_SPAN, subject=node.name, newest=True)
    placed = next((told for row in reversed(rows) if (told := _placing(row, node)) is not None), None)
    return History(placed, [_entry(row) for row in rows[-RECENT_EVENTS:]])


def _placing(row: Row, node: Node) -> str | None:
    """Return what an entry says if it is the one that put the node where it is."""
    message, kind = str(row.get("message")), row.get("kind")
    word, _, why_so = message.partition(": ")
    begin = f"{_moment(row)} by {row.get('by')}"
    wanted: Sequence[str] = _PLACING if node.tier is None else ("AllocateNode",)
    if kind == "action" and word in wanted:
        return f"{begin}: {why_so}"
    if node.tier is not None:
        return None
    if kind == "outcome" and word.startswith("DiagnoseNode done"):
        return f"{begin}: it passed its tests"
    is_move = kind == "operation" and row.get("data", {}).get("operation") in _MOVING
    return f"{begin}: {message}" if is_move else None


def _entry(row: Row) -> str:
    return f"{_moment(row)} {row.get('message')}"


def _moment(row: Row) -> str:
    """Return when an entry was made, to the second."""
    return _FRACTION.sub("Z", str(row.get("at")))


_FRACTION = re.compile(r"\.\d+Z$")

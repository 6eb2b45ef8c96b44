"""What a controller does first: take over from the run before it, however that ended."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from metier.control.jobs import requeue
from metier.domain.fleet import Draft, Fleet
from metier.domain.job import JobState
from metier.domain.node import Node
from metier.domain.observation import Observed
from metier.domain.tier import Fence, Tier, Trouble
from metier.planner.effects import LONGEST_PAUSE, UNSURE_START_S, recover
from metier.store.api import Entry, Store


def take_over(store: Store, fleet: Fleet, now: datetime, removed: Sequence[str] = ()) -> Fleet:
    """Drop what an earlier run had in flight in `fleet`, and store that before anything is done.

    `removed` is what the image matrix swept away meanwhile, for the journal.
    """
    draft = _without_pending(fleet.edit(), now)
    no_later_than(draft, now)
    entries = [Entry(now, "controller", "controller", "the controller started")]
    entries += [
        Entry(now, "controller", "images", f"removed what killed work left: {what}") for what in removed
    ]
    changes, taken = draft.changes, draft.freeze()
    store.save(changes, taken.generation, entries)
    return taken


def _without_pending(draft: Draft, now: datetime) -> Draft:
    for node in list(draft.nodes.values()):
        if node.pending is not None:
            recover(draft, node, now)
    for job in list(draft.jobs.values()):
        if job.state is JobState.RUNNING:
            requeue(draft, job)
    return draft


def no_later_than(draft: Draft, now: datetime) -> None:
    """Take back every recorded moment that is still to come: the machine's clock was set back.

    All that was recorded did happen before now.  Observations are moved too, so that none of them
    counts as newer than what is ordered from here on.
    """
    for node in list(draft.nodes.values()):
        earlier_node = _earlier(node, _OF_NODES, now)
        if node.retry is not None and node.retry.not_before > now + LONGEST_PAUSE:
            earlier_node = replace(earlier_node, retry=replace(node.retry, not_before=now))
        _put_if_changed(draft.put_node, node, earlier_node)
    for slot in list(draft.slots.values()):
        fences = tuple(_earlier(fence, _OF_FENCES, now) for fence in slot.fences)
        if fences != slot.fences:
            draft.put_slot(replace(slot, fences=fences))
    for trouble in list(draft.troubles.values()):
        earlier = _earlier(trouble, ("braked_since",), now)
        failures = tuple(min(at, now) for at in trouble.failures)
        _put_if_changed(draft.put_trouble, trouble, replace(earlier, failures=failures))
    for tier in list(draft.tiers.values()):
        _put_if_changed(draft.put_tier, tier, _earlier(tier, ("resumed_at",), now))
    for name, seen in list(draft.observed.items()):
        earlier_seen = _earlier(seen, ("power_at", "health_at", "vmm_at", "vms_at"), now)
        if earlier_seen is not seen:
            draft.put_observed(name, earlier_seen)


_OF_NODES = {
    "since": timedelta(),
    "failed_at": timedelta(),
    "rebooted_at": timedelta(),
    "harvested_at": timedelta(),
    "staged_at": timedelta(),
    "asked_at": timedelta(),
    "started_at": timedelta(seconds=UNSURE_START_S),
    "stop_by": timedelta(hours=1),
}
"""Moments in a node's record, and how far ahead each may lie: an unsure start may still come true."""

_OF_FENCES = {"since": timedelta(seconds=UNSURE_START_S), "raised": timedelta()}

_Record = TypeVar("_Record", Node, Fence, Trouble, Tier, Observed)


def _earlier(record: _Record, names: Mapping[str, timedelta] | tuple[str, ...], now: datetime) -> _Record:
    """Return a record with none of the named moments further ahead than allowed; itself if none is."""
    limits = names if isinstance(names, Mapping) else dict.fromkeys(names, timedelta())
    late: dict[str, Any] = {
        name: now + ahead for name, ahead in limits.items() if _is_after(getattr(record, name), now + ahead)
    }
    return replace(record, **late) if late else record


def _is_after(moment: datetime | None, limit: datetime) -> bool:
    return moment is not None and moment > limit


def _put_if_changed(put: Callable[[Any], object], was: object, now: object) -> None:
    if now is not was and now != was:
        put(now)

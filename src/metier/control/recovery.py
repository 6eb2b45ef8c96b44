"""What a controller does first: take over from the run before it, however that ended."""

from collections.abc import Sequence
from datetime import datetime

from metier.control.jobs import requeue
from metier.domain.fleet import Draft, Fleet
from metier.domain.job import JobState
from metier.planner.effects import recover
from metier.store.api import Entry, Store


def take_over(store: Store, fleet: Fleet, now: datetime, removed: Sequence[str] = ()) -> Fleet:
    """Drop what an earlier run had in flight in `fleet`, and store that before anything is done.

    `removed` is what the image matrix swept away meanwhile, for the journal.
    """
    draft = _without_pending(fleet.edit(), now)
    entries = [Entry(now, "controller", "controller", "the controller started")]
    entries += [
        Entry(now, "controller", "images", f"removed what killed work left: {what}") for what in removed
    ]
    store.save(draft.changes, draft.generation, entries)
    return draft.freeze()


def _without_pending(draft: Draft, now: datetime) -> Draft:
    for node in list(draft.nodes.values()):
        if node.pending is not None:
            recover(draft, node, now)
    for job in list(draft.jobs.values()):
        if job.state is JobState.RUNNING:
            requeue(draft, job)
    return draft

"""Notes how long steps took, where they begin and end; `effects.py` calls it.

Only what went well at the first try is noted: after a failure, a restart of the
controller or an order to the contrary, part of it was done before or somewhere else.
"""

from datetime import datetime

from metier.domain import actions as act
from metier.domain.fleet import Draft
from metier.domain.lifecycle import Lifecycle
from metier.domain.node import Node
from metier.domain.timing import (
    OF_IMAGES,
    Activity,
    Stopwatch,
    Timing,
    TimingId,
    is_duration,
    subject_of,
)

ACTIVITIES: dict[type[act.Work], Activity] = {
    act.InventoryNode: Activity.INVENTORY,
    act.PowerOn: Activity.POWER_ON,
    act.PowerOff: Activity.POWER_OFF,
    act.StageVms: Activity.STAGE,
    act.RemoveVms: Activity.REMOVE_VMS,
    act.PrepareGuest: Activity.PREPARE,
    act.StartGuest: Activity.GUEST_BOOT,
    act.ShutdownGuest: Activity.GUEST_SHUTDOWN,
    act.StopGuest: Activity.GUEST_STOP,
    act.RetireGuest: Activity.RETIRE,
    act.DiagnoseNode: Activity.DIAGNOSE,
}
"""What each kind of work begins."""

_UP = (Lifecycle.BOOTING, Lifecycle.STARTING, Lifecycle.RUNNING)
_DOWN = (Lifecycle.STOPPING, Lifecycle.IDLE)

_WAYS: dict[Activity, tuple[Lifecycle, ...]] = {
    Activity.POWER_ON: _UP,
    Activity.POWER_OFF: _DOWN,
    Activity.GUEST_BOOT: _UP,
    Activity.GUEST_SHUTDOWN: _DOWN,
    Activity.GUEST_STOP: _DOWN,
}
"""What is timed until its effect is seen: the states on the way, and last the one where it ends."""


def begun(draft: Draft, action: act.Action, was: Node | None, now: datetime) -> None:
    """End or begin timing a node by `action`, which was just begun; `was` is the node before."""
    node = draft.nodes.get(action.node)
    if was is None or node is None:
        return
    _look_at(draft, action, node, now)
    activity = ACTIVITIES.get(type(action)) if isinstance(action, act.Work) else None
    if activity is None or was.retry is not None or node.lifecycle not in _WAYS.get(activity, ())[:-1]:
        return
    running = draft.stopwatches.get(node.name)
    # The same order again, as for a guest that ignored it, is part of how long it takes.
    if running is None or running.activity is not activity:
        draft.put_stopwatch(node.name, Stopwatch(activity, now))


def done(draft: Draft, action: act.Work, was: Node, now: datetime) -> None:
    """Note how long work took that is timed to its outcome; `was` is the node with it still pending."""
    activity = ACTIVITIES[type(action)]
    if was.pending is None or was.retry is not None or activity in _WAYS:
        return
    # A node that was being prepared already when this began had part of it done by an earlier try.
    if was.lifecycle is not Lifecycle.PREPARING or was.since == was.pending.since:
        _note(draft, Stopwatch(activity, was.pending.since), was, now)


def broken_off(draft: Draft, node: Node) -> None:
    """Stop timing a node: its work failed, or nobody knows how it ended."""
    draft.put_stopwatch(node.name, None)


def _look_at(draft: Draft, action: act.Action, node: Node, now: datetime) -> None:
    """Stop a node's watch if what it runs for has come true, or has been given up."""
    running = draft.stopwatches.get(node.name)
    if running is None:
        return
    *on_the_way, end = _WAYS[running.activity]
    # A VM is cleaned once it is seen off, and its node comes to rest only after that.
    if node.lifecycle is end or isinstance(action, act.RetireGuest):
        _note(draft, running, node, now)
    elif node.lifecycle in on_the_way:
        return
    draft.put_stopwatch(node.name, None)


def _note(draft: Draft, ended: Stopwatch, node: Node, now: datetime) -> None:
    """Add a sample, unless its subject is gone or a clock was set meanwhile."""
    activity, seconds = ended.activity, round((now - ended.since).total_seconds(), 3)
    subject = subject_of(activity, node)
    if subject is None or not is_duration(seconds) or not _exists(draft, activity, node):
        return
    key = TimingId(activity, subject)
    known = draft.timings.get(key)
    draft.put_timing(Timing(key, (seconds,)) if known is None else known.with_sample(seconds))


def _exists(draft: Draft, activity: Activity, node: Node) -> bool:
    if activity in OF_IMAGES:
        return node.instance is not None and node.instance.image in draft.images
    return node.host is None or node.host in draft.nodes

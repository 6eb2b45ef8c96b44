"""Switches off free physical nodes that nothing has needed for a while (R-RELEASE-2)."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from metier.domain.actions import PowerOff
from metier.domain.ids import natural
from metier.domain.node import Node, NodeKind
from metier.domain.observation import Power
from metier.planner.steps.drive_hosts import SWITCH_AGAIN_S
from metier.planner.work import SITE, Work


def switch_off_idle(work: Work) -> None:
    """Switch off idle free physical nodes beyond the warm spares, if the pools' settings say so."""
    if not work.scope.site or not work.fleet.pool.power_off_idle:
        return
    limit = timedelta(seconds=work.fleet.pool.idle_off_after_s)
    on = sorted(_switchable(work), key=lambda node: natural(node.name))
    for node in on[work.fleet.pool.warm_spares :]:
        assert node.since is not None
        not_before = max([node.since + limit, *_pauses(node)])
        if not_before <= work.now:
            why = f"it was idle for {work.fleet.pool.idle_off_after_s} s"
            work.act(PowerOff(node=node.name, why=why, rule="R-RELEASE-2", expects=node.generation))
        else:
            work.look_again(SITE, not_before)


def _pauses(node: Node) -> list[datetime]:
    """Return when a node that was told to go off, or would not, may be told again."""
    told = [] if node.asked_at is None else [node.asked_at + timedelta(seconds=SWITCH_AGAIN_S)]
    return told + ([] if node.retry is None else [node.retry.not_before])


def _switchable(work: Work) -> Iterator[Node]:
    for shape, groups in work.fleet.free.items():
        if shape.kind is not NodeKind.PHYSICAL:
            continue
        for names in groups.values():
            for name in names:
                seen = work.fleet.seen(name)
                node = work.fleet.nodes[name]
                if node.power is not None and seen.power is Power.ON and not seen.foreign_running:
                    yield node

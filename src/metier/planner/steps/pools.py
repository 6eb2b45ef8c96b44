"""Switches off free physical nodes that nothing has needed for a while (R-RELEASE-2)."""

from collections.abc import Iterator
from datetime import timedelta

from metier.domain.actions import PowerOff
from metier.domain.ids import natural
from metier.domain.node import Node, NodeKind
from metier.domain.observation import Power
from metier.planner.work import Work, about_node


def switch_off_idle(work: Work) -> None:
    """Switch off idle free physical nodes beyond the warm spares, if the pools' settings say so."""
    if not work.fleet.pool.power_off_idle:
        return
    limit = timedelta(seconds=work.fleet.pool.idle_off_after_s)
    on = sorted(_switchable(work), key=lambda node: natural(node.name))
    for node in on[work.fleet.pool.warm_spares :]:
        assert node.since is not None
        if node.since + limit <= work.now:
            why = f"it was idle for {work.fleet.pool.idle_off_after_s} s"
            work.act(PowerOff(node=node.name, why=why, rule="R-RELEASE-2", expects=node.generation))
        else:
            work.look_again(about_node(node), node.since + limit)


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

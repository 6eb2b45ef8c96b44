"""Says what is wrong with what hosts themselves run: patched since, short of a permission, with a stray VM.

None of it is acted on: a person has to judge it.
"""

from collections.abc import Iterator

from metier.domain.node import Node
from metier.domain.observation import Observed, Power, Stray
from metier.domain.tier import TierKind
from metier.planner.work import Work, about_node


def report_hosts(work: Work) -> None:
    """Say it of every host in scope, those in the free pool too: what they lack is best known early."""
    for host in _hosts(work):
        seen = work.fleet.seen(host.name)
        _report_patched(work, host, seen)
        _report_lacks(work, host, seen)
        for stray in seen.strays:
            work.find("vm-moved", about_node(host), _moved_here(host, stray))


def _hosts(work: Work) -> Iterator[Node]:
    names = work.fleet.nodes if work.scope.nodes is None else work.scope.nodes
    for name in names:
        node = work.fleet.nodes.get(name)
        if node is not None and node.vmm is not None:
            yield node


def _report_patched(work: Work, host: Node, seen: Observed) -> None:
    """Compare with the level at which the image version that its tier runs was taken into use there."""
    tier = work.fleet.tiers.get(host.tier) if host.tier else None
    if tier is None or tier.kind is not TierKind.HOST or not seen.patch_level:
        return
    baseline = host.baseline(tier.image)
    if baseline is None or baseline.patch_level == seen.patch_level:
        return
    message = (
        f"host {host.name} runs build {seen.patch_level} of its VM manager, and image {tier.image} was taken"
        f" into use with build {baseline.patch_level}: capture the host image anew as a new version and"
        f" update tier {tier.name}"
    )
    work.find("host-patched", about_node(host), message)


def _report_lacks(work: Work, host: Node, seen: Observed) -> None:
    if seen.details.lacks:
        work.find("host-lacks-permission", about_node(host), seen.details.lacks_in_words)


def _moved_here(host: Node, stray: Stray) -> str:
    state = {Power.ON: "runs", Power.OFF: "is off"}.get(stray.power, "is")
    return (
        f"VM{stray.number} of {stray.host} {state} on {host.name}, moved there by another tool: move it back"
        f" to {stray.host} with that tool, or shut it down on {host.name} and delete it there"
    )

"""What would follow if a host died now, or all hosts that share a label: the standing guarantee, pure.

Each failure domain is put to death in a draft of its own, seen off by its power controller,
and the planner's steps decide on that draft: what is said is what the loop would do.

What is counted on is what is there now: nodes that are free, and what may be harvested.
Neither the virtual nodes of a replacement host count, which has to boot first, nor those on
their way to the free pool.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from metier.domain.actions import ReleaseNode
from metier.domain.allocation import has_brake_on, shortage
from metier.domain.fleet import Draft, Fleet, is_spare
from metier.domain.ids import NodeId, TierId, natural
from metier.domain.lifecycle import Lifecycle
from metier.domain.matching import needs_of
from metier.domain.node import Node
from metier.domain.observation import Health, Power
from metier.domain.status import health
from metier.domain.tier import Tier, TierKind, TierState
from metier.planner.losses import BelowMinimum, FailureDomain, Resilience, TierLoss
from metier.planner.plan import STEPS
from metier.planner.steps.drive import drive_nodes
from metier.planner.work import Scope, Work

PASSES = 10
"""Each pass lets those who gave nodes away help themselves in turn: longer chains of donors are not told."""

_DECIDING = STEPS[: STEPS.index(drive_nodes)]
"""The steps that say who gets which node; beginning the work and the reports change nothing of that."""

_FOR_GOOD = timedelta(days=365)
"""A dead host does not come back by a reboot: it counts as rebooted already until then."""


def failure_domains(fleet: Fleet, by: str = "") -> dict[str, tuple[NodeId, ...]]:
    """Return the physical nodes of every failure domain by its name, leaving out those not in use.

    Without a label each host is its own. With one, all nodes with the attribute `LABEL=VALUE`
    die together, spare ones too, and a host without it is its own; one with two values belongs
    to both.
    """
    grouped: dict[str, list[NodeId]] = {}
    for node in fleet.nodes.values():
        if not node.is_virtual:
            for name in _labels(node, by) or [node.name]:
                grouped.setdefault(name, []).append(node.name)
    return {
        name: tuple(sorted(hosts, key=natural))
        for name, hosts in sorted(grouped.items(), key=lambda item: natural(item[0]))
        if any(_is_in_use(fleet, host) for host in hosts)
    }


def assess(fleet: Fleet, now: datetime, domains: Mapping[str, tuple[NodeId, ...]]) -> Resilience:
    """Say for each of `domains` what would follow if it died at `now`, each by itself."""
    site = _Site.of(fleet, now)
    active = [fleet.tiers[name] for name in sorted(site.at_work, key=natural)]
    return Resilience(
        tuple(_lose(site, name, hosts) for name, hosts in domains.items()),
        tuple(
            BelowMinimum(tier.name, site.at_work[tier.name], tier.minimum)
            for tier in active
            if site.at_work[tier.name] < tier.minimum
        ),
    )


# --- the site before ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Site:
    """What all failure domains are compared with.

    Attributes:
        at_work: Members that count, by active tier.
        eager: Tiers that are about to be given nodes as it is, and compete for what is there.
    """

    fleet: Fleet
    now: datetime
    at_work: dict[TierId, int]
    eager: frozenset[TierId]

    @classmethod
    def of(cls, fleet: Fleet, now: datetime) -> "_Site":
        """Count once what every failure domain needs."""
        at_work = {
            tier.name: sum(_counts(fleet, fleet.nodes[name]) for name in fleet.members(tier.name).values())
            for tier in fleet.tiers.values()
            if tier.state is TierState.ACTIVE
        }
        return cls(fleet, now, at_work, _eager(fleet, now))


def _eager(fleet: Fleet, now: datetime) -> frozenset[TierId]:
    work = Work(fleet, now, Scope(None, frozenset(), site=False))
    for step in _DECIDING:
        step(work)
    touched = {action.node for action in work.actions}
    return frozenset(taker for _, taker, _ in _moves(fleet, work.fleet, touched))


def _counts(fleet: Fleet, node: Node) -> bool:
    """Say whether a member counts for its tier's minimum, as `report_tiers` counts."""
    if health(fleet, node) is Health.NORMAL:
        return True
    return node.engaged and node.lifecycle not in (Lifecycle.RUNNING, Lifecycle.FAILED)


def _labels(node: Node, by: str) -> list[str]:
    has = node.attributes if node.hardware is None else node.attributes | node.hardware.attributes
    return sorted(word for word in has if by and word.startswith(f"{by}="))


def _is_in_use(fleet: Fleet, host: NodeId) -> bool:
    return fleet.nodes[host].tier is not None or bool(fleet.vms_of.get(host))


# --- one death ------------------------------------------------------------------------


def _lose(site: _Site, name: str, hosts: tuple[NodeId, ...]) -> FailureDomain:
    dead = [site.fleet.nodes[host] for host in hosts]
    for host in hosts:
        dead += site.fleet.virtual_nodes(host)
    work, moves = _play(site, hosts, dead)
    lost = Counter(
        node.tier for node in dead if node.tier in site.at_work and _counts(site.fleet, node) and node.tier
    )
    names = sorted(
        _concerned(lost, moves), key=lambda tier: (-site.fleet.tiers[tier].priority, natural(tier))
    )
    losses = (_loss(site, tier, lost[tier], moves) for tier in names if tier in site.at_work)
    return FailureDomain(
        name,
        hosts,
        tuple(_with_what_is_missing(work, loss, dead) for loss in losses),
        tuple(host for host in hosts if _is_unproved(site.fleet, host)),
    )


_Moves = Counter[tuple[TierId | None, TierId, bool]]
"""How many nodes went from which tier (None for the free pool) to which, and whether they counted there."""


def _play(site: _Site, hosts: tuple[NodeId, ...], dead: list[Node]) -> tuple[Work, _Moves]:
    """Let the planner's steps decide: first for those hit, then for those who paid, and so on."""
    names = frozenset(node.name for node in dead)
    tiers = site.eager | {node.tier for node in dead if node.tier is not None}
    work = Work(site.fleet, site.now, Scope(tiers, names, site=False))
    for host in hosts:
        _kill(work.fleet, host, site.now)
    touched: set[NodeId] = set()
    for _ in range(PASSES):
        for step in _DECIDING:
            step(work)
        touched.update(action.node for action in work.actions)
        donors = frozenset(tier for node in _harvested(work) if (tier := site.fleet.nodes[node].tier))
        if not donors:
            break
        work = Work(work.fleet, site.now, Scope(donors, frozenset(), site=False))
    return work, _moves(site.fleet, work.fleet, touched - names)


def _kill(draft: Draft, host: NodeId, now: datetime) -> None:
    """Show a host off for good; a spare one is simply gone."""
    node, guests = draft.nodes[host], draft.virtual_nodes(host)
    if is_spare(node) and not guests:
        draft.remove_node(host)
        return
    # Only what was seen after a start is evidence, and one in doubt counts as in the future.
    at = max([now, *(each.started_at for each in (node, *guests) if each.started_at is not None)])
    seen = draft.seen(host)
    draft.put_observed(
        host,
        replace(
            seen,
            power=Power.OFF,
            power_at=at + timedelta(seconds=1),
            vmm_reachable=False,
            vmm_failures=max(1, seen.vmm_failures),
        ),
    )
    draft.change_node(host, pending=None, rebooted_at=now + _FOR_GOOD)
    for guest in guests:
        if guest.pending is not None:
            draft.change_node(guest.name, pending=None)


def _harvested(work: Work) -> list[NodeId]:
    return [a.node for a in work.actions if isinstance(a, ReleaseNode) and a.promised is not None]


def _moves(before: Fleet, after: Fleet, touched: Iterable[NodeId]) -> _Moves:
    """Count who went where, whether it is there already or only promised."""
    moves: _Moves = Counter()
    for name in touched:
        was, now = before.nodes.get(name), after.nodes.get(name)
        if was is None or now is None:
            continue
        goal = now.tier or now.promised
        if goal is not None and goal != was.tier:
            moves[was.tier, goal, was.tier is not None and _counts(before, was)] += 1
    return moves


def _concerned(hit: Iterable[TierId], moves: _Moves) -> set[TierId]:
    """Return the tiers that lose something: those hit, who pays for them, and who pays for those."""
    concerned, more = set[TierId](), set(hit)
    while more:
        concerned |= more
        more = {giver for giver, taker, _ in moves if giver is not None and taker in more} - concerned
    return concerned


def _loss(site: _Site, name: TierId, lost: int, moves: _Moves) -> TierLoss:
    tier = site.fleet.tiers[name]
    taken = Counter[TierId]()
    for (giver, taker, _), number in moves.items():
        if giver is not None and taker == name:
            taken[giver] += number
    return TierLoss(
        tier=name,
        kind=tier.kind,
        minimum=tier.minimum,
        target=tier.target,
        now=site.at_work[name],
        lost=lost,
        allocated=moves[None, name, False],
        harvested=tuple(sorted(taken.items(), key=lambda item: natural(item[0]))),
        given=sum(number for (giver, _, counted), number in moves.items() if giver == name and counted),
    )


def _is_unproved(fleet: Fleet, host: NodeId) -> bool:
    return fleet.nodes[host].power is None or bool(fleet.seen(host).power_error)


# --- what is missing -------------------------------------------------------------------


def _with_what_is_missing(work: Work, loss: TierLoss, dead: list[Node]) -> TierLoss:
    """Say what the tier would need to reach its minimum; its target, if its minimum is safe."""
    goal = loss.minimum if loss.short_of_minimum else loss.target
    short, tier = goal - loss.after, work.fleet.tiers[loss.tier]
    if short <= 0:
        return loss
    if has_brake_on(work.fleet, tier):
        return replace(loss, obstacle=f"its brake taken off by metier tier resume {tier.name}")
    on_their_way = sum(number for _, number in loss.harvested)
    missing = min(short, max(0, shortage(work.fleet, tier, goal) - on_their_way))
    held = _held(work.fleet, tier, short - missing, dead) if missing < short else ""
    return replace(loss, missing=missing, node=_node(work.fleet, tier) if missing else "", obstacle=held)


def _node(fleet: Fleet, tier: Tier) -> str:
    needs = needs_of(fleet, tier)
    parts = [
        f"{needs.memory_mib} MiB" if needs.memory_mib else "",
        f"{needs.cpus} CPUs" if needs.cpus > 1 else "",
        f"{needs.disk_gib} GiB of disk" if needs.disk_gib else "",
        f"{needs.nics} NICs" if needs.nics > 1 else "",
        needs.architecture,
        *(f"attribute {word}" for word in sorted(needs.attributes)),
        *(f"network {word}" for word in sorted(needs.networks)),
    ]
    size = " and ".join(part for part in parts if part)
    kind = "virtual node" if tier.kind is TierKind.GUEST else "physical node"
    return f"{kind} of {size}" if size else kind


def _held(fleet: Fleet, tier: Tier, number: int, dead: list[Node]) -> str:
    """Say that slots are held by members that do not work: new nodes would not help."""
    holders = [node for node in dead if node.name in fleet.nodes and fleet.nodes[node.name].tier == tier.name]
    names = ", ".join(f"{node.name} ({_why_held(fleet, tier, node)})" for node in holders)
    return f"{number} of its slots held by {names or 'other members that do not work'}"


def _why_held(fleet: Fleet, tier: Tier, node: Node) -> str:
    if not node.engaged:
        return "disengaged"
    for guest in fleet.virtual_nodes(node.name):
        if not guest.engaged:
            return f"{guest.name} on it is disengaged"
    return "failed" if tier.move_to_maintenance else "failed, and move_to_maintenance is off"

"""Asks drivers what is: which questions are due, how each is asked, and what the answers change."""

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

import structlog

from metier.control.tools import Tools
from metier.control.world import Clock
from metier.domain.effective import address, collectors, is_judged, version_of
from metier.domain.errors import DriverError, chain, told
from metier.domain.fleet import Draft, Fleet
from metier.domain.ids import NodeId
from metier.domain.image import CollectorSpec
from metier.domain.lifecycle import Lifecycle
from metier.domain.node import Node, Place
from metier.domain.observation import POWER_CONTRADICTED, CheckResult, Health, Observed, Power
from metier.drivers.hypervisor.api import VmReport

log = structlog.get_logger()

CALM_S = 5.0
"""Seconds between two looks at something that should not change; a watch tells sooner."""

EAGER_S = 1.0
"""Seconds between two looks at something that is expected to change."""

EAGER_FAILURES = 600
"""So many failures in a row: longer than any machine takes to boot, so that the pace becomes calm."""

TIMEOUT_S = 15.0
"""Seconds that one look may take."""


class Probe(StrEnum):
    """What can be asked about a node."""

    POWER = "power"
    VMS = "vms"
    CHECKS = "checks"


class Question(NamedTuple):
    """One probe of one node."""

    probe: Probe
    node: NodeId


@dataclass(frozen=True, slots=True)
class Sight:
    """The answer to a question: what it changes in what is known.

    Attributes:
        at: When it was asked, not when it was answered: nothing newer can be concluded from it.
        error: Why there is no answer; empty when there is.
    """

    question: Question
    at: datetime
    error: str = ""
    power: Power = Power.UNKNOWN
    report: VmReport | None = None
    checks: tuple[CheckResult, ...] = ()


_TRANSIENT = frozenset({Lifecycle.BOOTING, Lifecycle.STARTING, Lifecycle.STOPPING, Lifecycle.PREPARED})


class Schedule:
    """Which questions are due when; follows the Fleet by being told what changed."""

    def __init__(self) -> None:
        self._pauses: dict[Question, float] = {}
        self._due: dict[Question, datetime] = {}
        self._heap: list[tuple[datetime, Question]] = []
        self._asked: set[Question] = set()
        self._again: set[Question] = set()

    def follow(self, fleet: Fleet, names: Iterable[NodeId], now: datetime) -> None:
        """Take note that these nodes changed, appeared or vanished."""
        for name in names:
            node = fleet.nodes.get(name)
            for probe in Probe:
                question = Question(probe, name)
                pause_s = None if node is None else _PAUSES[probe](fleet, node)
                self._set(question, pause_s, now)

    def at_once(self, question: Question, now: datetime) -> None:
        """Ask as soon as possible, if it is asked at all."""
        if question in self._pauses:
            self._put(question, now)

    def take_due(self, now: datetime) -> list[Question]:
        """Return the questions to ask now; each is taken as asked until `answered`."""
        due: list[Question] = []
        while self._heap and self._heap[0][0] <= now:
            at, question = heapq.heappop(self._heap)
            if self._due.get(question) != at:
                continue
            del self._due[question]
            if question in self._asked:
                self._again.add(question)
            else:
                self._asked.add(question)
                due.append(question)
        return due

    def answered(self, question: Question, now: datetime) -> None:
        """Take note that a question came back; the next one is due after its pause."""
        again = question in self._again
        self._asked.discard(question)
        self._again.discard(question)
        if question in self._pauses and question not in self._due:
            self._put(question, now + timedelta(seconds=0.0 if again else self._pauses[question]))

    def let_rest(self, question: Question) -> bool:
        """Take note that a question came back, and let it rest until `at_once`; False if it is due again."""
        if question in self._again or question in self._due:
            return False
        self._asked.discard(question)
        return True

    def pause_of(self, question: Question) -> float | None:
        """Return how many seconds pass between two looks; None if it is not looked at."""
        return self._pauses.get(question)

    def next_due(self) -> datetime | None:
        """Return when the next question is due."""
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def _set(self, question: Question, pause_s: float | None, now: datetime) -> None:
        before = self._pauses.get(question)
        if pause_s is None:
            self._pauses.pop(question, None)
            self._due.pop(question, None)
        elif before is None or pause_s < before:
            self._pauses[question] = pause_s
            self._put(question, now)
        else:
            self._pauses[question] = pause_s

    def _put(self, question: Question, at: datetime) -> None:
        known = self._due.get(question)
        if known is None or at < known:
            self._due[question] = at
            heapq.heappush(self._heap, (at, question))


def _power_pause(fleet: Fleet, node: Node) -> float | None:
    if node.power is None:
        return None
    if _is_given_up(fleet, node):
        return CALM_S
    return EAGER_S if node.lifecycle in _TRANSIENT or node.request else CALM_S


def _vms_pause(fleet: Fleet, node: Node) -> float | None:
    is_asked = node.placement.place is Place.TIER or _is_busy_host(fleet, node)
    if node.vmm is None or not (is_asked or node.name in fleet.fenced_by):
        return None
    if _is_given_up(fleet, node):
        return CALM_S
    if node.lifecycle in _TRANSIENT or not node.staged:
        return EAGER_S
    return (
        EAGER_S if any(guest.lifecycle in _TRANSIENT for guest in fleet.virtual_nodes(node.name)) else CALM_S
    )


def _is_given_up(fleet: Fleet, node: Node) -> bool:
    return fleet.seen(node.name).vmm_failures >= EAGER_FAILURES


def _is_busy_host(fleet: Fleet, node: Node) -> bool:
    return node.lifecycle is Lifecycle.STOPPING or bool(fleet.vms_of.get(node.name))


def _checks_pause(fleet: Fleet, node: Node) -> float | None:
    if not node.is_virtual or not is_judged(fleet, node):
        return None
    if node.lifecycle is Lifecycle.STARTING:
        return EAGER_S
    return CALM_S if node.lifecycle in (Lifecycle.RUNNING, Lifecycle.FAILED) else None


_PAUSES: dict[Probe, Callable[[Fleet, Node], float | None]] = {
    Probe.POWER: _power_pause,
    Probe.VMS: _vms_pause,
    Probe.CHECKS: _checks_pause,
}


# --- asking: runs in a worker thread ------------------------------------------


def ask(question: Question, fleet: Fleet, tools: Tools, clock: Clock) -> Sight:
    """Put a question to its driver, blocking; every failure is an answer too."""
    node = fleet.nodes[question.node]
    now = clock.now()
    try:
        match question.probe:
            case Probe.POWER:
                return Sight(question, now, power=tools.drivers.power(node).status(timeout_s=TIMEOUT_S))
            case Probe.VMS:
                return Sight(question, now, report=tools.drivers.hypervisor(node).report(timeout_s=TIMEOUT_S))
            case Probe.CHECKS:
                return Sight(question, now, checks=_check(fleet, node, tools))
    except DriverError as error:
        return Sight(question, now, error=told(error))
    except Exception as error:  # a bug in one driver must not blind the loop to everything else
        log.exception("probe failed", probe=question.probe, node=question.node)
        return Sight(question, now, error=f"internal error: {chain(error)}")


def gave_up(question: Question, now: datetime) -> Sight:
    """Return the answer of a question that nobody answered in time."""
    return Sight(question, now, error=f"no answer within {TIMEOUT_S:.0f} s")


def _check(fleet: Fleet, node: Node, tools: Tools) -> tuple[CheckResult, ...]:
    tier = fleet.tiers.get(node.tier) if node.tier is not None else None
    specs = () if tier is None else collectors(fleet, tier, version_of(tier, node))
    where = address(fleet, node)
    return tuple(_check_one(spec, where, tools) for spec in specs)


def _check_one(spec: CollectorSpec, where: str | None, tools: Tools) -> CheckResult:
    if where is None:
        return CheckResult(str(spec), ok=False, message="its address is not known yet")
    return tools.drivers.collector(spec.collector).check(spec, where)


# --- recording: runs in the loop ----------------------------------------------


def record(draft: Draft, sight: Sight) -> str:
    """Put an answer into the Fleet; returns what changed, in words, or nothing.

    An answer that differs only in its age is put quietly, unless somebody waits for
    exactly that: evidence newer than the last order.
    """
    node = draft.nodes.get(sight.question.node)
    if node is None:
        return ""
    seen = draft.seen(node.name)
    if _is_older(sight, seen):
        return ""
    new = _RECORDS[sight.question.probe](draft, node, sight)
    same = _ageless(new) == _ageless(seen)
    draft.put_observed(node.name, new, quiet=same and not _is_awaited(draft, node, seen))
    return "" if same else _words(seen, new)


def aged(seen: Observed, probe: Probe, at: datetime) -> Observed:
    """Return `seen` as it is after a look at `at` that told the same again."""
    match probe:
        case Probe.POWER:
            return replace(seen, power_at=at)
        case Probe.VMS:
            return replace(seen, vmm_at=at, vms_at=at)
        case Probe.CHECKS:
            return replace(seen, health_at=at)


def is_news(fleet: Fleet, sight: Sight) -> bool:
    """Say whether an answer tells more than that nothing changed; false for a node that is gone."""
    node = fleet.nodes.get(sight.question.node)
    if node is None:
        return False
    seen = fleet.seen(node.name)
    new = _RECORDS[sight.question.probe](fleet, node, sight)
    return _ageless(new) != _ageless(seen) or _is_awaited(fleet, node, seen)


def is_doubtful(was: Observed, now: Observed) -> bool:
    """Say whether a look makes another one urgent: what answers a node no longer gives, or gives amiss."""
    is_contradicted = now.power_error == POWER_CONTRADICTED and was.power_error != POWER_CONTRADICTED
    return is_contradicted or (bool(was.vmm_reachable) and not now.vmm_reachable)


def _is_older(sight: Sight, seen: Observed) -> bool:
    known = {Probe.POWER: seen.power_at, Probe.VMS: seen.vmm_at, Probe.CHECKS: seen.health_at}[
        sight.question.probe
    ]
    return known is not None and sight.at < known


def _record_power(fleet: Fleet, node: Node, sight: Sight) -> Observed:
    """Take what a power controller says, but for one thing: a node whose VM manager answers is not off.

    The VM manager is asked anew when they disagree; once it fails, off is off.
    """
    seen = fleet.seen(node.name)
    power, error = sight.power, sight.error
    if power is Power.OFF and seen.vmm_reachable and _vms_pause(fleet, node) is not None:
        power, error = Power.UNKNOWN, POWER_CONTRADICTED
    return replace(seen, power=power, power_at=sight.at, power_error=error)


def _record_vms(fleet: Fleet, node: Node, sight: Sight) -> Observed:
    seen = fleet.seen(node.name)
    if sight.report is None:
        return replace(
            seen,
            vmm_reachable=False,
            vmm_at=sight.at,
            vmm_failures=seen.vmm_failures + 1,
            vmm_error=sight.error,
            power=seen.power if node.power is not None else Power.UNKNOWN,
        )
    return replace(
        seen,
        vmm_reachable=True,
        vmm_at=sight.at,
        vmm_failures=0,
        vmm_error="",
        vms=sight.report.vms,
        vms_at=sight.at,
        foreign_running=sight.report.foreign_running,
        strays=sight.report.strays,
        patch_level=sight.report.patch_level,
        power=seen.power if node.power is not None else Power.ON,
        power_at=seen.power_at if node.power is not None else sight.at,
    )


def _record_checks(fleet: Fleet, node: Node, sight: Sight) -> Observed:
    seen = fleet.seen(node.name)
    ok = all(check.ok for check in sight.checks) and not sight.error
    return replace(
        seen,
        health=Health.NORMAL if ok else Health.CRITICAL,
        health_at=sight.at,
        checks=sight.checks,
        failed_checks=0 if ok else seen.failed_checks + 1,
    )


_RECORDS: dict[Probe, Callable[[Fleet, Node, Sight], Observed]] = {
    Probe.POWER: _record_power,
    Probe.VMS: _record_vms,
    Probe.CHECKS: _record_checks,
}


def _ageless(seen: Observed) -> Observed:
    return replace(seen, power_at=None, vmm_at=None, vms_at=None, health_at=None)


def _is_awaited(fleet: Fleet, node: Node, seen: Observed) -> bool:
    """Say whether the last look was no newer than the last change of what it shows."""
    last = [at for at in (seen.power_at, seen.vms_at, seen.health_at) if at is not None]
    if not last:
        return True
    oldest = min(last)
    if node.vmm is not None and _is_anybody_sought(fleet, oldest):
        return True
    return any(_changed_after(part, oldest) for part in (node, *fleet.virtual_nodes(node.name)))


def _is_anybody_sought(fleet: Fleet, last_look: datetime) -> bool:
    """Say whether a slot was left since the last look by a guest that may run on any host."""
    slots = (slot for tier in fleet.fenced for slot in fleet.fenced_slots(tier))
    return any(
        fence.host is not None and fence.raised is not None and fence.raised >= last_look
        for slot in slots
        for fence in slot.fences
    )


def _changed_after(node: Node, moment: datetime) -> bool:
    return any(at is not None and at >= moment for at in (node.since, node.started_at, node.staged_at))


def _words(was: Observed, now: Observed) -> str:
    said = []
    if was.power is not now.power:
        said.append(f"power is {now.power}")
    if was.vmm_reachable != now.vmm_reachable:
        said.append(
            "its VM manager answers" if now.vmm_reachable else f"its VM manager fails: {now.vmm_error}"
        )
    if was.patch_level and was.patch_level != now.patch_level:
        level = now.patch_level or "unknown"
        said.append(f"its VM manager's patch level is {level}; it was {was.patch_level}")
    before = {vm.number: vm.power for vm in was.vms or ()}
    said += [f"VM{vm.number} is {vm.power}" for vm in now.vms or () if before.get(vm.number) is not vm.power]
    after = {vm.number for vm in now.vms or ()}
    said += [f"VM{number} is gone" for number in before if number not in after]
    if was.health is not now.health:
        failed = "; ".join(f"{check.collector}: {check.message}" for check in now.checks if not check.ok)
        said.append(f"health is {now.health}" + (f" ({failed})" if failed else ""))
    return "; ".join(said)

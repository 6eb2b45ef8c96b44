"""The loop itself, with its threads, a real SQLite store and simulated hosts."""

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from metier.control.engine import HOLD_LOST, STORE_PAUSE
from metier.control.inbox import Message
from metier.control.loop import Loop
from metier.control.observe import Probe, Question, Sight
from metier.domain.errors import MetierError, NoSpace, Refusal
from metier.domain.fleet import Changes, Fleet
from metier.domain.ids import NodeId, TierId
from metier.domain.job import JobState
from metier.domain.lifecycle import Lifecycle
from metier.domain.observation import Power
from metier.domain.tier import TierState
from metier.operations import load_operations
from metier.operations.registry import Caller, operation
from metier.sim.forecast import forecast
from metier.store.api import Entry, Store
from metier.store.open import open_store
from tests.builders import NOW, a_fleet, a_host, a_host_image, a_host_tier, a_job, a_tier, an_image
from tests.unit.control.site import (
    NotedDrivers,
    TickingClock,
    a_datacentre,
    filled,
    order,
    refused,
    running,
    tools_of,
    until,
)

WEB, HOSTS, HOST = TierId("web"), TierId("hosts"), NodeId("host-1")


class Shaky:
    """A store that refuses its next saves.

    Attributes:
        errors: What the next saves raise, first to last.
        trim_error: What trimming raises.
    """

    def __init__(self, store: Any) -> None:
        self._store = store
        self.errors: list[MetierError] = []
        self.trim_error: MetierError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def save(self, changes: Changes, generation: int, entries: Sequence[Entry]) -> None:
        """Save, or do not."""
        if self.errors:
            raise self.errors.pop(0)
        self._store.save(changes, generation, entries)

    def trim(self, keep: int) -> int:
        """Trim, or do not."""
        if self.trim_error is not None:
            raise self.trim_error
        return int(self._store.trim(keep))


class Desk:
    """Everything that outlives a controller: its store's folder, its drivers, its clock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.datacentre = a_datacentre()
        self.drivers = NotedDrivers(self.datacentre)
        self.clock = TickingClock()
        self.host = self.datacentre.machine("host-1")
        self.host.watchers.append(lambda: self.drivers.nudge("host-1"))
        self.store: Any = None

    def loop(self, **settings: Any) -> Loop:
        """Return a new controller on the same store."""
        self.store = Shaky(open_store(self.folder))
        return Loop(self.store, tools_of(self.drivers), self.clock, holder="the test", **settings)

    def stored(self) -> Fleet:
        """Return what the store holds."""
        store = open_store(self.folder)
        try:
            return store.load()
        finally:
            store.close()

    def running(self) -> list[str]:
        """Return the host names of the guests that run."""
        return sorted(vm.hostname for vm in self.host.vms.values() if vm.is_on)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """One free host, an inactive host tier and an inactive guest tier."""
    desk = Desk(tmp_path / "state")
    desk.folder.mkdir()
    fleet = a_fleet(
        a_host_tier(),
        a_tier(target=2, maximum=3, minimum=1),
        a_host_image(vms=3),
        an_image(),
        a_host(tier=None),
    )
    store = open_store(desk.folder)
    filled(store, fleet)
    store.close()
    desk.datacentre.switch("host-1", on=False)
    yield desk
    for gate in desk.drivers.gates.values():
        gate.set()


def serving(count: int) -> Callable[[Fleet], bool]:
    def is_so(fleet: Fleet) -> bool:
        members = fleet.member_nodes(WEB)
        return [node.lifecycle for node in members] == [Lifecycle.RUNNING] * count

    return is_so


def test_two_tiers_come_up_and_the_store_knows_it(desk: Desk) -> None:
    with running(desk.loop()) as loop:
        order(loop, "tier", "activate", name="hosts")
        order(loop, "tier", "activate", name="web")
        until(loop, serving(2), "both guests run")
        view = loop.view()
    assert desk.running() == ["web-1", "web-2"]
    assert len(desk.stored().member_nodes(WEB)) == 2
    assert view.fleet.generation <= desk.stored().generation


def test_a_refused_change_leaves_the_store_as_it_was(desk: Desk) -> None:
    with running(desk.loop()) as loop:
        before = desk.stored()
        error = refused(loop, "tier", "delete", name="nobody")
        assert error.code == "no-such-thing"
        assert refused(loop, "node", "remove", name="host-7").code == "no-such-thing"
        assert desk.stored().tiers == before.tiers


def test_a_preview_changes_nothing(desk: Desk) -> None:
    load_operations()
    activate = operation("tier", "activate")
    with running(desk.loop(foresee=forecast)) as loop:
        arguments = activate.arguments_type(name="hosts")
        answer, plan = loop.preview(activate, arguments, Caller("ann", NOW))
        assert answer.message == "tier hosts activated"
        assert "PowerOn" in {type(one.action).__name__ for one in plan.actions}
        assert loop.fleet().tiers[HOSTS].state is TierState.INACTIVE
    assert desk.drivers.calls == []


# --- a store that fails --------------------------------------------------------------


def test_what_could_not_be_stored_did_not_happen_and_the_loop_goes_on(desk: Desk) -> None:
    with running(desk.loop()) as loop:
        desk.store.errors.append(NoSpace("no space left for the state", remedy="make room"))
        error = refused(loop, "tier", "activate", name="hosts")
        assert (error.code, error.remedy) == ("no-space", "make room")
        assert desk.drivers.calls == []
        assert desk.stored().tiers[HOSTS].state is TierState.INACTIVE
        order(loop, "tier", "activate", name="hosts")
        until(loop, lambda fleet: fleet.nodes[HOST].lifecycle is Lifecycle.RUNNING, "the host runs")
    assert "on host-1" in desk.drivers.calls


class Script:
    """An inbox that plays what is written, and notes for how long the loop was ready to wait."""

    def __init__(self, loop: Loop, *batches: list[Message]) -> None:
        self._loop, self._batches = loop, list(batches)
        self.waits: list[float] = []

    def put(self, message: Message) -> bool:
        """Take nothing from others."""
        return True

    def close(self) -> None:
        """Have nothing to close."""

    def take(self, now: Any, until: Any) -> list[Message]:
        """Return what is written next; the loop is stopped after the last."""
        self.waits.append((until - now).total_seconds())
        if not self._batches:
            self._loop._stopping = True
            return []
        return self._batches.pop(0)


def test_after_a_failed_save_only_the_pause_counts_however_much_is_due(desk: Desk) -> None:
    loop = desk.loop()
    script = Script(loop, [Sight(Question(Probe.POWER, HOST), NOW, power=Power.ON)], [])
    loop._inbox = script  # type: ignore[assignment]  # the loop's waits cannot be seen from outside
    desk.store.errors += [NoSpace("full"), NoSpace("full")]
    loop.start()
    loop._thread.join()
    loop.stop()
    assert desk.store.errors == []
    pause_s = STORE_PAUSE.total_seconds()
    assert [pause_s / 2 < waited <= pause_s for waited in script.waits[1:3]] == [True, True]


def test_a_controller_that_was_replaced_ends_and_says_so(desk: Desk) -> None:
    lost = threading.Event()
    with running(desk.loop(lost=lost.set)) as loop:
        desk.store.errors.append(Refusal("another controller holds it", code=HOLD_LOST))
        assert refused(loop, "tier", "activate", name="hosts").code == HOLD_LOST
        assert lost.wait(10)
        assert str(refused(loop, "tier", "activate", name="hosts")) == "the controller is stopping"
    assert desk.drivers.calls == []


def test_a_journal_that_cannot_be_trimmed_stops_nothing(desk: Desk) -> None:
    with running(desk.loop()) as loop:
        desk.store.trim_error = NoSpace("full")
        desk.clock.advance(2 * 3600)
        order(loop, "tier", "activate", name="hosts")
        until(loop, lambda fleet: fleet.nodes[HOST].lifecycle is Lifecycle.RUNNING, "the host runs")


# --- starting and stopping ---------------------------------------------------------------


def test_a_second_controller_on_the_same_store_is_refused(desk: Desk) -> None:
    with running(desk.loop()):
        other: Store = open_store(desk.folder)
        try:
            with pytest.raises(Refusal, match="controller"):
                Loop(other, tools_of(desk.drivers), desk.clock, holder="another")
        finally:
            other.close()
    with running(desk.loop()):
        pass


def test_a_stopped_controller_refuses_at_once(desk: Desk) -> None:
    with running(desk.loop()) as loop:
        pass
    assert str(refused(loop, "tier", "activate", name="hosts")) == "the controller is stopping"


def test_stopping_wakes_whoever_waits_for_a_change(desk: Desk) -> None:
    waited = threading.Event()
    begun = threading.Event()
    with running(desk.loop()) as loop:

        def wait() -> None:
            begun.set()
            for _ in range(100):
                if loop._stopping:
                    break
                loop.wait_for_change(loop.fleet().generation, 600)
            waited.set()

        threading.Thread(target=wait, daemon=True).start()
        assert begun.wait(10)
    assert waited.wait(10)


def test_stopping_does_not_wait_for_a_driver_that_hangs(desk: Desk) -> None:
    gate = desk.drivers.gates["on"] = threading.Event()
    with running(desk.loop()) as loop:
        order(loop, "tier", "activate", name="hosts")
        until(loop, lambda fleet: fleet.nodes[HOST].pending is not None, "the host is being switched on")
    assert not gate.is_set()


@pytest.mark.parametrize("verb", ["on", "define_vm", "prepare", "start"])
def test_a_restart_resumes_pending_work_and_nothing_runs_twice(desk: Desk, verb: str) -> None:
    gate = desk.drivers.gates[verb] = threading.Event()
    with running(desk.loop()) as loop:
        order(loop, "tier", "activate", name="hosts")
        order(loop, "tier", "activate", name="web")
        until(loop, lambda _: any(call.startswith(verb) for call in desk.drivers.calls), f"{verb} hangs")
    gate.set()
    del desk.drivers.gates[verb]
    desk.clock.advance(60)
    with running(desk.loop()) as loop:
        until(loop, serving(2), "both guests run")
    assert desk.running() == ["web-1", "web-2"]
    assert desk.host.store.copies == 1
    assert len(desk.host.store.instances) == 2


def test_a_job_that_was_cut_off_is_done_by_the_next_run(desk: Desk) -> None:
    arguments = {"name": "web", "version": "2", "location": "/web.tgz", "type": "linux"}
    store = open_store(desk.folder)
    filled(store, a_fleet(a_job(1, state=JobState.RUNNING, attempts=1, arguments=arguments)))
    store.close()
    with running(desk.loop()) as loop:
        fleet = until(loop, lambda fleet: fleet.jobs[1].state is JobState.DONE, "the job is done")
    assert fleet.jobs[1].attempts == 2


def test_a_host_s_nudge_has_it_looked_at(desk: Desk) -> None:
    with running(desk.loop()) as loop:
        order(loop, "tier", "activate", name="hosts")
        order(loop, "tier", "activate", name="web")
        until(loop, serving(2), "both guests run")
        number = min(number for number, vm in desk.host.vms.items() if vm.is_on)
        desk.datacentre.stop_vm(desk.host, desk.host.vms[number])
        until(loop, lambda fleet: fleet.seen(HOST).vm(number).power is Power.OFF, "it is seen")  # type: ignore[union-attr]  # it is there
        until(loop, serving(2), "it is replaced or runs again")


def test_drivers_of_a_removed_node_are_closed(desk: Desk) -> None:
    with running(desk.loop()) as loop:
        order(loop, "node", "remove", name="host-1")
        until(loop, lambda fleet: HOST not in fleet.nodes, "it is gone")
    assert desk.drivers.forgotten == [HOST]

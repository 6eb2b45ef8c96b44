"""A simulated site under a controller that really runs."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from metier.control.loop import Loop
from metier.control.workers import Task
from metier.control.world import SteadyClock
from metier.domain.errors import NoSpace, NoSuchThing, Refusal, WrongUsage
from metier.domain.ids import NodeId, TierId, image_ref
from metier.domain.image import ImageType
from metier.lab.waiting import wait_until
from metier.matrix.api import Answers, Cancelled, ImportOrder
from metier.operations.registry import Caller, operation
from metier.sim.drivers import accept
from metier.sim.faults import FAULTS, FOREVER_S
from metier.sim.live import LiveMatrix, LiveSite
from metier.sim.sample import sample_site
from metier.store.memory import MemoryStore, Records
from tests.builders import NOW

PATIENCE_S = 60.0
HOST = NodeId("host-1")


class StandingClock:
    """Stands still, and counts how long others wait by it; no wait takes real time."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def now(self) -> Any:
        return NOW

    def real_s(self, seconds: float) -> float:
        self.waits.append(seconds)
        return 0.0


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock()


@pytest.fixture
def site(clock: StandingClock) -> LiveSite:
    return LiveSite(sample_site(NOW), clock)


def a_task(what: str = "PowerOn", host: str = "host-1") -> Task:
    return Task(1, NodeId(host), lambda: "made", NOW + timedelta(seconds=60), subject=host, what=what)


# --- how long calls take ------------------------------------------------------------------------


def test_a_call_is_made_when_its_time_is_over(site: LiveSite, clock: StandingClock) -> None:
    waited: list[float] = []
    assert site.call(a_task(), lambda: waited.extend(clock.waits) or "made") == "made"
    assert waited == [1.0]


def test_a_slow_machine_takes_longer(site: LiveSite, clock: StandingClock) -> None:
    site.befall("VM manager of host-1 is slow by 20 s")
    site.befall("BMC of host-1 is slow by 7 s")
    site.call(a_task("StartGuest"), lambda: None)
    site.call(a_task("PowerOn"), lambda: None)
    site.call(a_task("PowerOn", "host-2"), lambda: None)
    assert clock.waits == [20.5, 8.0, 1.0]


def test_a_call_that_hangs_is_never_made_and_frees_its_thread_once_it_was_given_up(site: LiveSite) -> None:
    site.datacentre.machine("host-1").delay_s = FOREVER_S
    answers: list[Any] = []
    pool = site.make_pool(lambda _key, answer: answers.append(answer), threads=2, per_endpoint=1)
    made = threading.Event()
    task = Task(1, HOST, made.set, NOW, subject="host-1", what="StartGuest")
    pool.submit(task)
    assert wait_until(lambda: task.running, PATIENCE_S)
    assert pool.give_up(NOW) == [task]
    assert pool.is_stuck("host-1")
    assert wait_until(lambda: not pool.is_stuck("host-1"), PATIENCE_S)
    assert not made.is_set()
    assert not answers


def test_closing_frees_whoever_waits() -> None:
    site = LiveSite(sample_site(NOW), SteadyClock(NOW, 0.001))
    site.datacentre.machine("host-2").delay_s = FOREVER_S
    threads = [
        threading.Thread(target=site.call, args=(a_task(host=host), str)) for host in ("host-1", "host-2")
    ]
    for thread in threads:
        thread.start()
    site.close()
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


# --- the image matrix -----------------------------------------------------------------------------


def an_order() -> ImportOrder:
    return ImportOrder(image_ref("new@1"), "/any.tgz", NOW, Answers(type=ImageType.LINUX))


def test_an_import_takes_its_time_and_says_how_far_it_is(site: LiveSite, clock: StandingClock) -> None:
    steps: list[tuple[str, int]] = []
    image = site.matrix.import_image(an_order(), lambda step, done, _total: steps.append((step, done)))
    assert image.ref in site.matrix.published
    assert sum(clock.waits) == pytest.approx(20.0)
    assert [step for step, _ in steps] == sorted((step for step, _ in steps), key=_STAGES.index)
    assert len(steps) > 20
    clock.waits.clear()
    assert not site.matrix.verify(image, lambda *_: None)
    assert clock.waits


_STAGES = ["unpacking", "writing", "reading back"]


def test_an_import_can_be_cancelled_half_way_and_leaves_nothing() -> None:
    matrix = LiveMatrix(lambda _seconds: None, 20.0)

    def cancel(step: str, done: int, _total: int | None) -> None:
        if step == "writing" and done:
            raise Cancelled

    with pytest.raises(Cancelled):
        matrix.import_image(an_order(), cancel)
    assert not matrix.published
    assert not matrix.staged


def test_the_image_matrix_can_be_full(site: LiveSite) -> None:
    site.befall("image matrix is full after 100 bytes")
    with pytest.raises(NoSpace):
        site.matrix.import_image(an_order(), lambda *_: None)
    site.befall("image matrix has room again")
    site.matrix.import_image(an_order(), lambda *_: None)


# --- what can befall it -----------------------------------------------------------------------------


def test_a_sentence_does_what_it_says(site: LiveSite) -> None:
    said = site.befall("  host-1 dies ")
    assert said == "host-1 dies: it loses its current, and so does its BMC"
    assert not site.datacentre.machine("host-1").is_on
    site.befall("everything heals")
    assert site.datacentre.machine("host-1").has_mains


def test_the_list_has_every_fault_of_the_outside_and_none_of_controllers(site: LiveSite) -> None:
    listed = {str(row["sentence"]) for row in site.faults()}
    assert "MACHINE dies" in listed
    assert "everything heals" in listed
    assert "controller dies" not in listed
    assert listed == {fault.sentence for fault in FAULTS if not fault.needs_controller}


@pytest.mark.parametrize(
    "sentence", ["controller dies", "observations come twice", "disk of the controller is full 3 times"]
)
def test_what_would_befall_the_controller_is_refused(site: LiveSite, sentence: str) -> None:
    with pytest.raises(Refusal, match="runs for real"):
        site.befall(sentence)


def test_what_is_not_known_is_refused_with_where_to_look(site: LiveSite) -> None:
    with pytest.raises(WrongUsage) as refused:
        site.befall("host-1 explodes")
    assert refused.value.remedy == "see `metier befall --list`"
    with pytest.raises(NoSuchThing, match="no machine host-99"):
        site.befall("host-99 dies")


# --- under the production loop ------------------------------------------------------------------------


@contextmanager
def served(hosts: int = 3, speed: float = 200.0) -> Iterator[tuple[Loop, LiveSite]]:
    fleet = sample_site(NOW, hosts)
    clock = SteadyClock(NOW, speed)
    site = LiveSite(fleet, clock)
    store = MemoryStore(Records(fleet))
    loop = Loop(store, site.tools(accept), clock, holder="the test", make_pool=site.make_pool)
    loop.start()
    try:
        yield loop, site
    finally:
        loop.stop()
        site.close()


def is_normal(loop: Loop, *names: str) -> Callable[[], bool]:
    """Return a question: whether tiers have as many normal nodes as their targets."""

    def ask() -> bool:
        what = operation("tier", "list")
        assert what.read is not None
        rows = {row["name"]: row for row in what.read(loop.view(), what.arguments_type())}
        return all(rows[name]["normal"] >= rows[name]["target"] for name in names or rows)

    return ask


def test_the_sample_comes_up_and_outlives_a_host_and_an_import() -> None:
    with served() as (loop, site):
        assert wait_until(is_normal(loop), PATIENCE_S)
        busy = next(node for node in loop.fleet().nodes.values() if node.tier == TierId("web"))
        assert busy.host is not None
        site.befall(f"{busy.host} loses power")
        assert wait_until(lambda: loop.fleet().nodes[busy.host].lifecycle != "running", PATIENCE_S)
        what = operation("image", "import")
        loop.change(what, what.arguments_type(name="new", file="/any.tgz"), Caller("ann", site.now))
        assert wait_until(is_normal(loop), PATIENCE_S)
        assert wait_until(lambda: image_ref("new@1") in loop.fleet().images, PATIENCE_S)


def test_a_node_that_is_added_is_a_machine_at_once() -> None:
    with served(hosts=2) as (loop, site):
        what = operation("node", "add")
        arguments = what.arguments_type(name="host-3", vmm="simulated", power="simulated")
        loop.change(what, arguments, Caller("ann", site.now))
        assert wait_until(lambda: loop.fleet().nodes[NodeId("host-3")].hardware is not None, PATIENCE_S)
        site.befall("host-3 dies")

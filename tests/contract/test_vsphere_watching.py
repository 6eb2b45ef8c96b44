"""What is heard of a VMware server: soon, in few words, again after a break, and of the right hosts."""

import queue
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("pyVmomi", reason="pyvmomi is not installed")

from metier.domain.errors import Refused
from tests.contract.hypervisor_suite import NEWS_S
from tests.contract.vsphere_campaign import HOSTS, MODES, Stage, servers_in, stage_on
from tests.contract.vsphere_testbed import Counterpart, VsphereTestbed, missing, running

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())

# Longer than the simulator is silent between two changes.
QUIET_S = 0.4


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Counterpart]]:
    yield from servers_in(tmp_path_factory.mktemp("servers"))


@pytest.fixture(params=list(MODES))
def stage(request: pytest.FixtureRequest, servers: dict[str, Counterpart], tmp_path: Path) -> Iterator[Stage]:
    yield from stage_on(servers[request.param], tmp_path, HOSTS[request.param])


@pytest.fixture
def news(stage: Stage) -> queue.SimpleQueue[float]:
    """Hear of the host; the subscription is there."""
    heard: queue.SimpleQueue[float] = queue.SimpleQueue()
    stage.do("define_vm", "prepare")
    stage.driver.watch(lambda: heard.put(time.monotonic()))
    heard.get(timeout=NEWS_S)
    return heard


def drained(news: queue.SimpleQueue[float]) -> int:
    """Return how often there was news until there was none for longer than a tick of the simulator."""
    count = 0
    while True:
        try:
            news.get(timeout=QUIET_S)
        except queue.Empty:
            return count
        count += 1


def waited_for(news: queue.SimpleQueue[float]) -> int:
    """Return how often there was news, which must come."""
    news.get(timeout=NEWS_S)
    return 1 + drained(news)


def test_a_vm_switched_by_hand_is_known_within_a_second(stage: Stage, news: queue.SimpleQueue[float]) -> None:
    for verb in ("start", "stop", "start"):
        drained(news)
        begun = time.monotonic()
        stage.do(verb)
        assert news.get(timeout=NEWS_S) - begun < 1.0


def test_a_storm_of_changes_is_told_in_a_few_words(stage: Stage, news: queue.SimpleQueue[float]) -> None:
    drained(news)
    stage.log()
    stage.server.tell("storm?changes=2000")
    assert waited_for(news) <= 20
    assert set(stage.log()) <= {"WaitForUpdatesEx"}, "nobody is asked one by one"
    stage.do("stop", "start", "stop")


def test_a_watch_goes_on_after_the_session_ended(stage: Stage, news: queue.SimpleQueue[float]) -> None:
    for end in ("expire", "restart"):
        stage.server.tell(end)
        stage.server.tell("storm?changes=8")
        waited_for(news)
        stage.report()
        drained(news)
        stage.server.tell("storm?changes=8")
        waited_for(news)


def test_references_to_a_host_that_is_gone_harm_nobody_else(tmp_path: Path) -> None:
    with running(tmp_path / "vcenter") as server:
        other = Stage(VsphereTestbed(server, tmp_path, host="DC0_C0_H1"))
        stage = Stage(VsphereTestbed(server, tmp_path, host="DC0_C0_H2"))
        for one in (other, stage):
            one.do("define_vm", "prepare")
        heard = threading.Event()
        other.driver.watch(heard.set)
        assert heard.wait(NEWS_S)
        server.tell("host?state=removed&name=DC0_C0_H2")
        for call in (stage.report, stage.start):
            with pytest.raises(Refused):
                call()
        heard.clear()
        other.do("report", "start")
        assert heard.wait(NEWS_S)
        stage.driver.close()  # they share a subscription, which ends with the last of them
        for one in (other, stage):
            one.testbed.clean_up()

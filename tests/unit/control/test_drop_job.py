"""Hosts delete their copies of deleted images, those that cannot be reached once they can."""

from dataclasses import replace
from datetime import timedelta

from metier.control.drop_job import AGAIN_AFTER, drop, drops_left, resume_drops
from metier.domain.fleet import Fleet
from metier.domain.job import Job, JobState
from metier.domain.node import Engagement
from metier.domain.observation import Observed
from metier.sim.clock import VirtualClock
from metier.sim.datacentre import DataCentre
from metier.sim.drivers import SimDrivers
from metier.sim.machines import CallFault, Instance
from tests.builders import NOW, a_fleet, a_host, a_job, an_image

REF = an_image().ref
KEY = "web@1-0123456789ab"


class Site:
    """Three hosts that hold a copy each, as far as `reachable` says so."""

    def __init__(self, *reachable: str) -> None:
        self.names = ("host-1", "host-2", "host-3")
        self.datacentre = DataCentre(VirtualClock(NOW))
        for name in self.names:
            machine = self.datacentre.add(name, is_on=True)
            machine.store.images[KEY] = 1000
        self.drivers = SimDrivers(self.datacentre)
        self.fleet = self.seen(*reachable)
        self.job = a_job(1, kind="image-drop", subject=str(REF), arguments={"key": KEY})

    def seen(self, *reachable: str) -> Fleet:
        observed = {name: Observed(vmm_reachable=name in reachable) for name in self.names}
        return a_fleet(*(a_host(name) for name in self.names), observed=observed)

    def holders(self) -> list[str]:
        return [name for name in self.names if KEY in self.datacentre.machine(name).store.images]


def silent(_step: str, _done: int, _total: int | None) -> None:
    """Take a report and do nothing with it."""


def done(job: Job, result: object) -> Job:
    assert isinstance(result, dict)
    return replace(job, state=JobState.DONE, finished=NOW, result=result)


def test_every_host_that_answers_deletes_its_copy() -> None:
    site = Site("host-1", "host-2", "host-3")
    assert drop(site.job, site.fleet, site, silent) == {}
    assert site.holders() == []


def test_a_copy_that_an_instance_stands_on_is_kept() -> None:
    site = Site("host-1", "host-2", "host-3")
    site.datacentre.machine("host-2").store.instances["web-1-1"] = Instance(KEY)
    assert drop(site.job, site.fleet, site, silent) == {}
    assert site.holders() == ["host-2"]


def test_hosts_that_do_not_answer_or_are_disengaged_are_left_for_later() -> None:
    site = Site("host-1")
    found = drop(site.job, site.fleet, site, silent)
    assert found["left_on"] == ["host-2", "host-3"]
    assert site.holders() == ["host-2", "host-3"]
    aside = a_fleet(
        a_host("host-1", engagement=Engagement(engaged=False)),
        observed={"host-1": Observed(vmm_reachable=True)},
    )
    assert drop(site.job, aside, site, silent)["left_on"] == ["host-1"]


def test_a_host_that_refuses_is_told_with_its_reason() -> None:
    site = Site("host-1", "host-2", "host-3")
    site.datacentre.plant("host-2", "drop_image", CallFault.REFUSED)
    found = drop(site.job, site.fleet, site, silent)
    assert found["left_on"] == ["host-2"]
    assert "drop_image on host-2" in str(found["why"])


def test_it_goes_on_once_a_host_can_be_reached_and_asks_only_that_one() -> None:
    site = Site("host-1", "host-2")
    job = done(site.job, drop(site.job, site.fleet, site, silent))
    assert resumed(site.seen("host-1"), job, AGAIN_AFTER).state is JobState.DONE
    assert resumed(site.seen("host-3"), job, AGAIN_AFTER - timedelta(seconds=1)).state is JobState.DONE
    again = resumed(site.seen("host-3"), job, AGAIN_AFTER)
    assert (again.state, again.arguments["hosts"], again.result) == (JobState.QUEUED, ["host-3"], {})
    site.datacentre.machine("host-1").store.images[KEY] = 1000  # not asked again
    assert drop(again, site.seen("host-1", "host-3"), site, silent) == {}
    assert site.holders() == ["host-1"]


def test_a_host_that_was_removed_holds_nothing_up() -> None:
    site = Site("host-1")
    job = done(site.job, drop(site.job, site.fleet, site, silent))
    gone = a_fleet(a_host("host-1"))
    again = resumed(gone, job, AGAIN_AFTER)
    assert again.state is JobState.QUEUED
    assert drop(again, gone, site, silent) == {}


def test_copies_that_are_left_keep_a_version_from_being_made_anew() -> None:
    """Otherwise a host could run what was deleted under the same name."""
    site = Site("host-1")
    job = done(site.job, drop(site.job, site.fleet, site, silent))
    draft = site.fleet.edit()
    draft.put_job(job)
    assert drops_left(draft) == (1,)
    draft.put_job(replace(job, result={}))
    assert drops_left(draft) == ()


def resumed(fleet: Fleet, job: Job, later: timedelta) -> Job:
    draft = fleet.edit()
    draft.put_job(job)
    resume_drops(draft, drops_left(draft), NOW + later)
    return draft.jobs[1]

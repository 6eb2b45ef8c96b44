"""What hosts themselves run: patch levels (S68), permissions, staged VMs, and moved ones (R-DRIFT-1)."""

from dataclasses import replace

from metier.domain.actions import DiscoverNode, RemoveVms, StageVms
from metier.domain.host_details import HostDetails
from metier.domain.ids import ImageRef, NodeId, TierId
from metier.domain.node import Baseline
from metier.domain.tier import TierState
from tests.builders import HOST_IMAGE, VM_HARDWARE, a_host_image
from tests.unit.planner.stories import Story, names

TWO = ImageRef("vmm", "2")


def message(story: Story, code: str, subject: str) -> str:
    (found,) = (one for one in story.rounds.last.findings if (one.code, one.subject) == (code, subject))
    return found.message


def run_version(story: Story, image: ImageRef) -> None:
    """Put the host tier on another version, as R-HOSTIMAGE-1 has it: while it is inactive."""
    story.tier("hosts", state=TierState.INACTIVE)
    story.rest()
    story.rounds.edit(lambda draft: draft.put_image(a_host_image(str(image))))
    story.tier("hosts", image=image, state=TierState.ACTIVE)
    story.rest()


def test_the_level_at_the_first_staging_is_the_version_s_on_that_host() -> None:
    story = Story(hosts=1)
    story.rest()
    assert story.node("host-1").baselines == (Baseline(HOST_IMAGE, "100"),)
    assert story.fleet.seen(NodeId("host-1")).patch_level == "100"


def test_s68_a_patched_host_says_that_its_image_must_be_captured_anew_and_nothing_is_done() -> None:
    story = Story(hosts=2)
    story.rest()
    story.host("host-1").patch_level = "200"
    assert story.until_rest() == []
    assert story.problems("host-2") == set()
    assert message(story, "host-patched", "host-1") == (
        "host host-1 runs build 200 of its VM manager, and image vmm@1 was taken into use with build 100:"
        " capture the host image anew as a new version and update tier hosts"
    )


def test_s68_it_stands_over_a_reboot_and_a_new_staging() -> None:
    story = Story(hosts=1)
    story.rest()
    story.host("host-1").patch_level = "200"
    story.tier("hosts", state=TierState.INACTIVE)
    story.rest()
    story.tier("hosts", state=TierState.ACTIVE)
    assert names(story.until_rest(), StageVms)
    assert story.node("host-1").baselines == (Baseline(HOST_IMAGE, "100"),)
    assert story.problems("host-1") == {"host-patched"}


def test_s68_it_ends_once_the_tier_runs_another_version_and_comes_back_with_the_old_one() -> None:
    story = Story(hosts=1)
    story.rest()
    story.host("host-1").patch_level = "200"
    run_version(story, TWO)
    assert story.node("host-1").baselines == (Baseline(HOST_IMAGE, "100"), Baseline(TWO, "200"))
    assert story.problems("host-1") == set()
    run_version(story, HOST_IMAGE)
    assert story.problems("host-1") == {"host-patched"}


def test_a_version_that_was_deleted_is_forgotten_with_the_next_one() -> None:
    story = Story(hosts=1)
    story.rest()
    run_version(story, TWO)
    story.rounds.edit(lambda draft: draft.remove_image(HOST_IMAGE))
    run_version(story, ImageRef("vmm", "3"))
    assert [str(one.image) for one in story.node("host-1").baselines] == ["vmm@2", "vmm@3"]


def test_a_host_that_does_not_say_its_level_is_not_judged() -> None:
    story = Story(hosts=1)
    story.host("host-1").patch_level = ""
    story.rest()
    assert story.node("host-1").baselines == ()
    story.host("host-1").patch_level = "100"
    story.rest()
    assert story.problems("host-1") == set()


def test_what_an_account_lacks_is_an_alert_also_of_a_free_host() -> None:
    story = Story(hosts=2, host_target=1)
    story.rest()
    details = HostDetails(lacks=("VirtualMachine.Config.AddNewDisk, to put disks on VMs",))
    for host in (NodeId("host-1"), NodeId("host-2")):
        seen = replace(story.fleet.seen(host), details=details)
        story.rounds.edit(lambda draft, host=host, seen=seen: draft.put_observed(host, seen))  # type: ignore[misc]  # mypy cannot infer such a lambda
    story.go()
    for host in ("host-1", "host-2"):
        told = message(story, "host-lacks-permission", host)
        assert told == f"its account lacks: {details.lacks[0]}"


def test_r_host_1_staged_vms_are_discovered_and_given_back() -> None:
    story = Story(hosts=1, vms=1)
    story.datacentre.stage_vm("host-1", "db", VM_HARDWARE)
    done = story.until_rest()
    assert names(done, DiscoverNode) == ["DiscoverNode host-1/VM1", "DiscoverNode host-1/VM2"]
    assert story.fleet.seen(NodeId("host-1")).vm(2) is not None
    story.tier("web", target=2)
    story.rest()
    assert len(story.running("web")) == 2
    story.tier("web", state=TierState.INACTIVE)
    story.tier("hosts", state=TierState.INACTIVE)
    assert names(story.until_rest(), RemoveVms)
    assert story.host("host-1").foreign == {"db": False}


def test_r_host_1_a_host_image_without_vms_serves_hosts_with_staged_ones_and_with_none() -> None:
    story = Story(hosts=2, vms=0)
    story.datacentre.stage_vm("host-1", "db", VM_HARDWARE)
    story.rest()
    assert story.running("hosts") == ["host-1", "host-2"]
    assert story.waits("hosts") == []
    assert {host: list(vms) for host, vms in story.fleet.vms_of.items()} == {"host-1": [1]}


def test_what_cannot_be_taken_over_is_remembered_until_the_next_staging() -> None:
    story = Story(hosts=1, vms=0)
    story.datacentre.stage_vm("host-1", "db", VM_HARDWARE)
    story.rest()
    assert story.fleet.seen(NodeId("host-1")).staging_remarks == ()
    story.tier("hosts", state=TierState.INACTIVE)
    story.rest()
    story.tier("hosts", state=TierState.ACTIVE)
    story.go()
    story.host("host-1").foreign["db"] = True
    story.rest()
    remarks = story.fleet.seen(NodeId("host-1")).staging_remarks
    assert remarks == ("db on host-1 cannot be taken over: it is running",)


def test_r_drift_1_a_vm_that_was_moved_is_reported_with_where_it_is_and_what_to_do() -> None:
    story = Story(hosts=2, vms=1)
    story.tier("web")
    story.rest()
    (name,) = story.members("web")
    origin, vm = story.host(name.split("/")[0]), story.vm(name)
    other = next(host for host in story.datacentre.machines.values() if host is not origin)
    story.datacentre.move_vm(origin, vm, other)
    story.rest()
    assert vm.is_on, "nobody touches it"
    assert message(story, "vm-moved", other.name) == (
        f"VM1 of {origin.name} runs on {other.name}, moved there by another tool: move it back to"
        f" {origin.name} with that tool, or shut it down on {other.name} and delete it there"
    )
    vm.is_on = False
    story.rest()
    assert "is off on" in message(story, "vm-moved", other.name)
    other.strays.clear()
    story.rest()
    assert "vm-moved" not in story.problems()
    assert TierId("web") in story.fleet.tiers

"""Which nodes a tier gets, and which it gives back (R-ALLOC, R-RELEASE)."""

from dataclasses import replace

from metier.domain.actions import (
    AllocateNode,
    PowerOff,
    ReleaseNode,
    RetireGuest,
    ShutdownGuest,
    StartGuest,
    StopGuest,
)
from metier.domain.hardware import Requirements
from metier.domain.ids import image_ref
from metier.domain.image import OfferedVm
from metier.domain.node import Place, Placement
from metier.domain.pool import PoolSettings
from metier.domain.tier import Spread, TierState
from tests.builders import an_image
from tests.unit.planner.stories import CHECKED, Story, names

SMALL_AND_LARGE = (OfferedVm(1, 512), OfferedVm(2, 2048), OfferedVm(3, 4096))


def test_r_alloc_1_minimums_come_before_targets_and_priorities_within_each() -> None:
    story = Story(hosts=1, vms=4)
    story.tier("low", priority=10, minimum=1, target=3, maximum=3)
    story.tier("high", priority=60, minimum=1, target=3, maximum=3)
    story.rest()
    assert len(story.members("high")) == 3
    assert len(story.members("low")) == 1


def test_r_alloc_1_a_tier_boots_its_image_on_every_member() -> None:
    story = Story(hosts=2, vms=2)
    story.tier("web", target=3, minimum=3, maximum=3)
    story.rest()
    assert len(story.running("web")) == 3
    assert not story.rounds.last.waiting
    assert {one.slot.tier for one in story.datacentre.running()} == {"web"}


def test_r_alloc_1_a_tier_waits_for_the_tier_it_depends_on() -> None:
    story = Story()
    story.tier("db", state=TierState.ALLOCATED)
    story.tier("web", depends_on=("db",))
    story.rest()
    assert "waits for tier db, which is allocated" in story.waits("web")
    story.tier("db", state=TierState.ACTIVE)
    story.rest()
    assert story.running("web")


def test_r_alloc_2_a_disengaged_free_node_is_not_allocated() -> None:
    story = Story(hosts=1, vms=2)
    story.rest()
    story.disengage("host-1/VM1")
    story.tier("web", target=2)
    story.rest()
    assert story.members("web") == ["host-1/VM2"]
    assert "1 disengaged" in " ".join(story.waits("web"))


def test_r_alloc_2_requirements_of_tier_and_image_hold_together() -> None:
    story = Story(hosts=1, offers=SMALL_AND_LARGE)
    story.tier("web", requirements=Requirements(memory_mib=1024))
    story.rest()
    assert story.members("web") == ["host-1/VM2"]


def test_r_alloc_2_requirements_not_known_to_be_met_are_not_met() -> None:
    story = Story(hosts=1)
    story.tier("web", requirements=Requirements(networks=frozenset({"storage"})))
    story.rest()
    assert story.members("web") == []
    assert "too little network" in story.waits("web")[0]


def test_r_alloc_3_the_least_surplus_wins() -> None:
    story = Story(hosts=1, offers=reversed(SMALL_AND_LARGE))
    story.tier("web")
    story.rest()
    assert story.members("web") == ["host-1/VM1"]


def test_r_alloc_3_ties_spread_over_hosts_or_pack() -> None:
    story = Story(hosts=2, vms=3)
    story.tier("wide", target=2)
    story.tier("narrow", target=2, spread=Spread.PACK)
    story.rest()
    assert {story.node(name).host for name in story.members("wide")} == {"host-1", "host-2"}
    assert len({story.node(name).host for name in story.members("narrow")}) == 1


def test_r_alloc_4_disengaged_members_count_and_the_maximum_is_never_passed() -> None:
    story = Story(hosts=1, vms=4)
    story.tier("web", target=2, maximum=2)
    story.rest()
    story.disengage("host-1/VM1")
    story.vm("host-1/VM1").answers = False
    story.rest()
    assert story.members("web") == ["host-1/VM1", "host-1/VM2"]


def test_r_alloc_5_a_shortage_is_counted_and_tells_what_would_cure_it() -> None:
    story = Story(hosts=1, vms=2)
    story.tier("big", requirements=Requirements(memory_mib=768))
    story.rest()
    (why,) = story.waits("big")
    assert why.startswith("needs 1 more node: no free node fits: 2 too little memory; ")
    assert why.endswith("with 256 MiB more memory, host-1/VM1 would do")
    assert "tier-short" in story.problems("big")
    assert story.rules("big") == {"R-ALLOC-5"}


def test_r_release_1_the_one_that_does_not_run_goes_first_then_the_unhealthy() -> None:
    story = Story(hosts=1, vms=3)
    story.tier("web", target=3, minimum=1, reboot_on_failure=False, move_to_maintenance=False)
    story.rest()
    story.vm("host-1/VM1").answers = False
    story.rest()
    story.tier("web", target=2)
    story.rest()
    assert story.members("web") == ["host-1/VM2", "host-1/VM3"]
    story.tier("web", target=1)
    story.rest()
    assert story.members("web") == ["host-1/VM2"], "of equals the newest goes"


def test_r_release_2_a_released_guest_is_asked_then_stopped_then_cleaned() -> None:
    story = Story(hosts=1, vms=2)
    story.tier("web", target=2, minimum=1, shutdown_s=20)
    story.rest()
    story.vm("host-1/VM2").obeys = False
    story.tier("web", target=1)
    done = story.until_rest()
    on_it = [name for name in names(done) if name.endswith("host-1/VM2") and "Fence" not in name]
    assert on_it[0] == "ReleaseNode host-1/VM2"
    assert on_it[1:3] == ["ShutdownGuest host-1/VM2"] * 2, "asked again while it still boots"
    assert on_it[-2:] == ["StopGuest host-1/VM2", "RetireGuest host-1/VM2"]
    (retired,) = [action for action in done if isinstance(action, RetireGuest)]
    assert retired.discard is not None
    node = story.node("host-1/VM2")
    assert (node.placement.place, node.instance) == (Place.FREE, None)


def test_r_release_2_an_instance_is_kept_if_the_tier_says_so() -> None:
    story = Story(hosts=1, vms=2)
    story.tier("db", keep_instances=True)
    story.rest()
    kept = story.slot("db", 1).instance
    story.tier("db", target=0, minimum=0)
    (retired,) = [action for action in story.until_rest() if isinstance(action, RetireGuest)]
    assert retired.discard is None
    story.tier("db", target=1)
    story.rest()
    assert story.node(story.members("db")[0]).instance == kept


def test_r_release_2_a_released_node_is_no_candidate_before_it_is_clean() -> None:
    story = Story(hosts=1, vms=1)
    story.tier("web")
    story.rest()
    story.tier("web", target=0, minimum=0)
    story.tier("other")
    done = story.until_rest()
    order = names(done, RetireGuest, AllocateNode)
    assert order == ["RetireGuest host-1/VM1", "AllocateNode host-1/VM1"]


def test_r_release_2_idle_free_hosts_are_switched_off_except_warm_spares() -> None:
    pool = PoolSettings(power_off_idle=True, idle_off_after_s=60, warm_spares=1)
    story = Story(hosts=3, host_target=0, pool=pool)
    for host in story.datacentre.machines.values():
        host.is_on = True
    assert not names(story.go(3), PowerOff)
    story.later(60)
    assert names(story.until_rest(), PowerOff) == ["PowerOff host-2", "PowerOff host-3"]
    story.rest()


def test_a_lowered_target_releases_members_that_are_still_being_prepared() -> None:
    story = Story(hosts=1, vms=2)
    story.rest()
    story.tier("web", target=2, minimum=0)
    story.rounds.round(takes=lambda action: 5)
    story.tier("web", target=0)
    story.go()
    assert story.rules("web") == {"R-RELEASE-1", "R-ALLOC-1"}
    assert any("PrepareGuest is in flight" in why for why in story.waits("web"))
    story.rest()
    assert story.members("web") == []
    assert not names(story.until_rest(), StartGuest)


def test_a_new_image_version_gets_a_new_instance_and_the_old_one_goes() -> None:
    story = Story(hosts=1, vms=1)
    story.rounds.edit(lambda draft: draft.put_image(an_image("web@2", collectors=CHECKED)))
    story.tier("web")
    story.rest()
    old = story.node("host-1/VM1").instance
    story.tier("web", state=TierState.ALLOCATED)
    story.rest()
    story.tier("web", image=image_ref("web@2"), state=TierState.ACTIVE)
    done = story.until_rest()
    assert [action.discard for action in done if isinstance(action, RetireGuest)] == [old]
    new = story.node("host-1/VM1").instance
    assert new is not None
    assert new.image == image_ref("web@2")
    assert story.running("web")


def test_slots_beyond_a_lowered_maximum_are_emptied_first() -> None:
    story = Story(hosts=1, vms=3)
    story.tier("web", target=2, maximum=3, minimum=0)
    story.rest()
    story.change("host-1/VM2", placement=Placement(Place.TIER, story.the_tier("web").name, 3))
    story.rounds.edit(lambda draft: draft.put_slot(replace(draft.slot(story.slot("web", 2).id), node=None)))
    moved = replace(story.slot("web", 3), node=story.node("host-1/VM2").name)
    story.rounds.edit(lambda draft: draft.put_slot(moved))
    story.tier("web", target=2, maximum=2)
    done = story.until_rest()
    assert names(done, ReleaseNode) == ["ReleaseNode host-1/VM2"]
    assert names(done, ShutdownGuest, StopGuest)
    assert len(story.members("web")) == 2

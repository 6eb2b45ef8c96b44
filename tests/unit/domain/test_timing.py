"""What to expect of an activity: what was measured of the subject, of others, or what is assumed."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.domain.fleet import Fleet, Kind
from metier.domain.ids import NodeId, image_ref
from metier.domain.timing import (
    DEFAULTS_S,
    LONGEST_S,
    MOST_SAMPLES,
    OF_IMAGES,
    Activity,
    Expected,
    Stopwatch,
    Timing,
    TimingId,
    expected_s,
    measured_s,
    subject_of,
    timing_id,
)
from tests.builders import (
    NOW,
    a_fleet,
    a_host,
    a_node,
    a_timing,
    a_virtual_node,
    an_image,
    an_instance,
)

BOOT, ON = Activity.GUEST_BOOT, Activity.POWER_ON


def expected(fleet: Fleet, activity: Activity, subject: str) -> tuple[float, int]:
    found = expected_s(fleet, activity, subject)
    return found.seconds, found.samples


# --- records -----------------------------------------------------------------------


def test_the_newest_samples_are_kept() -> None:
    timing = a_timing(BOOT, "web@1", 0.5)
    for number in range(1, 20):
        timing = timing.with_sample(float(number))
    assert timing.seconds == tuple(map(float, range(4, 20)))


@pytest.mark.parametrize(
    "seconds",
    [(), (1.0,) * 17, (-0.1,), (float("nan"),), (float("inf"),), (1.0, LONGEST_S + 1)],
    ids=str,
)
def test_what_cannot_have_been_measured_makes_no_timing(seconds: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="timing guest-boot/web@1 has"):
        a_timing(BOOT, "web@1", *seconds)


@pytest.mark.parametrize("activity", Activity)
@pytest.mark.parametrize("subject", ["web@2.0-rc", "host-1", "", "a/b"])
def test_an_id_is_read_as_it_was_written(activity: Activity, subject: str) -> None:
    assert timing_id(str(TimingId(activity, subject))) == TimingId(activity, subject)


def test_an_unknown_activity_is_no_id() -> None:
    with pytest.raises(ValueError, match="sleep"):
        timing_id("sleep/web@1")


# --- whose time it is ----------------------------------------------------------------


@pytest.mark.parametrize("activity", Activity)
def test_guests_are_timed_for_their_image_and_hosts_for_themselves(activity: Activity) -> None:
    guest = a_virtual_node(tier="web", instance=an_instance())
    assert subject_of(activity, guest) == ("web@1" if activity in OF_IMAGES else "host-1")
    assert subject_of(activity, a_node()) == (None if activity in OF_IMAGES else "node-1")


# --- what to expect ------------------------------------------------------------------


@pytest.mark.parametrize("activity", Activity)
def test_what_was_never_measured_is_assumed(activity: Activity) -> None:
    assert expected(a_fleet(), activity, "web@1") == (DEFAULTS_S[activity], 0)
    assert measured_s(a_fleet(), activity, "web@1") is None


def test_a_subject_s_own_median_is_expected() -> None:
    fleet = a_fleet(a_timing(BOOT, "web@1", 9.0, 4.0, 5.0), a_timing(BOOT, "db@1", 60.0))
    assert expected(fleet, BOOT, "web@1") == (5.0, 3)
    assert measured_s(fleet, BOOT, "web@1") == 5.0


def test_one_slow_time_changes_little() -> None:
    assert expected(a_fleet(a_timing(BOOT, "web@1", 4.0, 5.0, 3600.0)), BOOT, "web@1") == (5.0, 3)


def test_a_subject_without_a_time_of_its_own_is_taken_as_the_median_of_the_others() -> None:
    fleet = a_fleet(
        a_timing(ON, "host-1", *[100.0] * MOST_SAMPLES),
        a_timing(ON, "host-2", 200.0),
        a_timing(ON, "host-3", 300.0),
        a_timing(BOOT, "web@1", 4.0),
    )
    assert expected(fleet, ON, "host-9") == (200.0, MOST_SAMPLES + 2)
    assert measured_s(fleet, ON, "host-9") is None
    assert expected(fleet, Activity.STAGE, "host-1") == (DEFAULTS_S[Activity.STAGE], 0)


@given(
    st.dictionaries(
        st.sampled_from("abcdef"), st.lists(st.floats(0, LONGEST_S), min_size=1, max_size=16), min_size=1
    )
)
def test_what_is_expected_of_others_lies_among_what_was_measured(times: dict[str, list[float]]) -> None:
    fleet = a_fleet(*[a_timing(BOOT, subject, *seconds) for subject, seconds in times.items()])
    seconds, samples = expected(fleet, BOOT, "other")
    everything = [each for some in times.values() for each in some]
    assert min(everything) <= seconds <= max(everything)
    assert samples == len(everything)


def test_expectations_follow_a_draft_and_leave_its_base_alone() -> None:
    fleet = a_fleet(a_timing(ON, "host-1", 100.0))
    assert expected(fleet, ON, "host-9") == (100.0, 1)
    draft = fleet.edit()
    draft.put_timing(a_timing(ON, "host-2", 300.0))
    assert expected(draft, ON, "host-9") == (200.0, 2)
    frozen = draft.freeze()
    draft.put_timing(a_timing(ON, "host-3", 400.0))
    assert expected(draft, ON, "host-9") == (300.0, 3)
    assert expected(frozen, ON, "host-9") == (200.0, 2)
    assert expected(fleet, ON, "host-9") == (100.0, 1)


def test_all_timings_are_looked_at_once_for_many_questions() -> None:
    class Counted(dict[TimingId, Timing]):
        walks = 0

        def values(self) -> Any:
            self.walks += 1
            return super().values()

    fleet = a_fleet(a_timing(ON, "host-1", 100.0))
    fleet.timings = table = Counted(fleet.timings)
    assert {expected(fleet, ON, f"host-{number}") for number in range(1, 1000)} == {(100.0, 1)}
    assert table.walks == 1
    assert expected(fleet.edit(), ON, "host-2") == (100.0, 1)
    assert table.walks == 1


# --- in the fleet ---------------------------------------------------------------------


def test_timings_are_stamped_and_listed_as_changes() -> None:
    draft = a_fleet().edit()
    draft.put_timing(a_timing(ON, "host-1", 100.0))
    key = TimingId(ON, "host-1")
    assert draft.changes == {Kind.TIMING: {key: Timing(key, (100.0,), draft.generation)}}


def test_timings_go_with_their_node() -> None:
    fleet = a_fleet(
        a_host(),
        a_host("host-10"),
        a_timing(ON, "host-1", 100.0),
        a_timing(Activity.STAGE, "host-1", 1.0),
        a_timing(ON, "host-10", 100.0),
    )
    draft = fleet.edit()
    draft.remove_node(NodeId("host-1"))
    assert list(draft.timings) == [TimingId(ON, "host-10")]
    assert set(draft.changes[Kind.TIMING].values()) == {None}
    assert len(fleet.timings) == 3


def test_timings_go_with_their_image_version() -> None:
    draft = a_fleet(an_image(), a_timing(BOOT, "web@1", 4.0), a_timing(BOOT, "web@10", 5.0)).edit()
    draft.remove_image(image_ref("web@1"))
    assert list(draft.timings) == [TimingId(BOOT, "web@10")]
    assert expected(draft, BOOT, "web@1") == (5.0, 1)


def test_a_node_without_timings_leaves_no_trace_of_them() -> None:
    draft = a_fleet(a_virtual_node()).edit()
    draft.remove_node(NodeId("host-1/VM1"))
    assert Kind.TIMING not in draft.changes


def test_what_is_being_timed_is_told_to_nobody_and_goes_with_its_node() -> None:
    base = a_fleet(a_host())
    draft = base.edit()
    draft.put_stopwatch(NodeId("host-1"), Stopwatch(ON, NOW))
    assert not draft.changes
    fleet = draft.freeze()
    assert (fleet.stopwatches, base.stopwatches) == ({"host-1": (ON, NOW)}, {})
    later = fleet.edit()
    later.remove_node(NodeId("host-1"))
    assert not later.stopwatches
    assert fleet.stopwatches


def test_an_expectation_says_what_it_rests_on() -> None:
    assert expected_s(a_fleet(), ON, "host-1") == Expected(DEFAULTS_S[ON], samples=0)

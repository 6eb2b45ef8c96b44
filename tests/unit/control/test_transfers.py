"""What is being copied to which host: told while it lasts, with its speed, and forgotten at its end."""

import threading
from datetime import timedelta

import pytest

from metier.control.transfers import RATE_OVER, Transfers
from metier.domain.ids import ImageRef, NodeId
from metier.domain.transfer import Transfer
from metier.sim.clock import VirtualClock
from tests.builders import NOW

MIB = 1 << 20
NODE, HOST, IMAGE = NodeId("esx-1/VM2"), NodeId("esx-1"), ImageRef("web", "3")


def later(clock: VirtualClock, seconds: float) -> None:
    clock.move(clock.now() + timedelta(seconds=seconds))


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(NOW)


@pytest.fixture
def transfers(clock: VirtualClock) -> Transfers:
    return Transfers(clock)


def test_a_copy_is_told_with_its_speed_and_what_is_left(transfers: Transfers, clock: VirtualClock) -> None:
    with transfers.track(NODE, HOST, IMAGE) as progress:
        for second in range(4):
            progress(second * 34 * MIB + 18 * MIB, 512 * MIB)
            later(clock, 1)
        progress(154 * MIB, 512 * MIB)
        told = transfers.under_way()[NODE]
    assert told == Transfer(NODE, HOST, IMAGE, NOW, 154 * MIB, 512 * MIB, 34 * MIB)
    assert told.sentence == "copying web@3 to esx-1: 154 of 512 MiB, 34 MiB/s, about 11 s left"


def test_nothing_is_told_before_the_first_byte_nor_after_the_last(transfers: Transfers) -> None:
    with transfers.track(NODE, HOST, IMAGE) as progress:
        assert transfers.under_way() == {}
        progress(1, 2)
        assert list(transfers.under_way()) == [NODE]
        progress(2, 2)
        assert transfers.under_way() == {}


def test_a_copy_that_breaks_off_vanishes(transfers: Transfers) -> None:
    def copy() -> None:
        with transfers.track(NODE, HOST, IMAGE) as progress:
            progress(1, 2)
            raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        copy()
    assert transfers.under_way() == {}


def test_the_speed_is_that_of_the_last_seconds_and_sinks_while_nothing_comes(
    transfers: Transfers, clock: VirtualClock
) -> None:
    with transfers.track(NODE, HOST, IMAGE) as progress:
        for second in range(31):
            progress(second * 100 * MIB, 10_000 * MIB)
            later(clock, 1)
        for second in range(11):
            progress(3000 * MIB + second * MIB, 10_000 * MIB)
            later(clock, 1)
        slow = transfers.under_way()[NODE].rate_bytes_s
        later(clock, 10 * RATE_OVER.total_seconds())
        assert slow == pytest.approx(MIB, rel=0.1)
        assert transfers.under_way()[NODE].rate_bytes_s < slow / 5


def test_a_call_that_was_given_up_takes_nothing_from_the_next(transfers: Transfers) -> None:
    with transfers.track(NODE, HOST, IMAGE) as progress:
        progress(1, 9)
        with transfers.track(NODE, HOST, IMAGE) as again:
            again(5, 9)
        progress(2, 9)
        assert transfers.under_way() == {}
    assert transfers.under_way() == {}


def test_many_threads_copy_and_look_at_once(transfers: Transfers) -> None:
    begun, look = threading.Barrier(5, timeout=30), threading.Barrier(5, timeout=30)

    def copy(number: int) -> None:
        with transfers.track(NodeId(f"esx-1/VM{number}"), HOST, IMAGE) as progress:
            for done in range(1000):
                progress(done, 1000)
                transfers.under_way()
            begun.wait()
            look.wait()

    threads = [threading.Thread(target=copy, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    begun.wait()
    assert sorted(one.done_bytes for one in transfers.under_way().values()) == [999] * 4
    look.wait()
    for thread in threads:
        thread.join(30)
    assert transfers.under_way() == {}


@pytest.mark.parametrize(
    ("done", "total", "rate", "words"),
    [
        (0, 512 * MIB, 0.0, "0 of 512 MiB"),
        (3 * MIB, 9 * MIB, 0.5 * MIB, "3 of 9 MiB, 512 KiB/s, about 12 s left"),
        (1 << 30, 50 << 30, 90 * MIB, "1 of 50 GiB, 90 MiB/s, about 9 min left"),
        (1 << 29, 4 << 40, 10 * MIB, "0 of 4 TiB, 10 MiB/s, about 116.5 h left"),
        (10, 900, 1e12, "10 of 900 B, 931 GiB/s, about 1 s left"),
    ],
)
def test_amounts_are_told_as_people_read_them(done: int, total: int, rate: float, words: str) -> None:
    told = Transfer(NODE, HOST, IMAGE, NOW, done, total, rate)
    assert told.sentence == f"copying web@3 to esx-1: {words}"

"""VMs taken in straight from a host: room first, gone on with after a break, nothing left over."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from metier.domain.errors import MetierError, NoSpace, Refusal, Refused, Unavailable, chain
from metier.domain.image import Image
from metier.drivers.formats.api import Limits
from metier.matrix.api import Cancelled, ImportOrder, SeenVm, Stopping
from metier.matrix.fetching import PAUSES_S, PAUSES_UNHEARD_S, Means
from metier.matrix.folder_matrix import FolderMatrix
from metier.matrix.folders import DOWNLOADS, Folders
from metier.matrix.importing import Importer, Publisher
from metier.matrix.progress import Progress
from metier.matrix.space import Space
from tests.unit.matrix import archives
from tests.unit.matrix.archives import MIB, REF
from tests.unit.matrix.test_import import content_of, everything_below, silent

DISKS = (archives.raw_content(5 * MIB), archives.raw_content(3 * MIB, seed=2))


class LentVm:
    """A VM of somebody's, whose host does what the test says.

    Attributes:
        breaks: Raised at the next pieces, in turn; None lets one pass.
        now: Called at each piece with bytes there of the disk.
    """

    words = "VM My VM of https://esx-1/sdk"

    def __init__(self, *disks: bytes) -> None:
        self.disks = disks or DISKS
        names = [f"disk{number}.vmdk" for number in range(len(self.disks))]
        self.seen = SeenVm(archives.vmx_text(*names), tuple(map(len, self.disks)))
        self.breaks: list[Exception | None] = []
        self.now: Callable[[int], None] = lambda _done: None
        self.sent_bytes = 0

    def look(self) -> SeenVm:
        return self.seen

    def fetch(self, number: int, into: Path, told: Callable[[int, int], None]) -> None:
        disk = self.disks[number]
        with into.open("ab") as file:
            done = file.tell()
            told(done, len(disk))
            while done < len(disk):
                if self.breaks and (error := self.breaks.pop(0)) is not None:
                    raise error
                done += file.write(disk[done : done + MIB])
                file.flush()
                self.sent_bytes = max(self.sent_bytes, 0) + MIB
                self.now(done)
                told(done, len(disk))


class Bench:
    """An image matrix without pauses."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "matrix"
        self.vm = LentVm()
        self.steps: list[str] = []
        self.waited_s = 0.0
        self.free_bytes = 1 << 40
        self.limits = Limits()
        self.report: Callable[[str, int, int | None], None] = silent

    @property
    def order(self) -> ImportOrder:
        return replace(archives.order("https://esx-1/sdk"), vm=self.vm)

    def importer(self) -> Importer:
        space = Space(self.root, lambda _: self.free_bytes)
        publisher = Publisher(Folders(self.root), space, lambda _step: None)
        return Importer(publisher, self.limits, Means(wait=self._wait))

    def run(self) -> Image:
        return self.importer().run(self.order, Progress(self._report))

    def inspect(self) -> dict[str, object]:
        return self.importer().inspect(self.order, Progress(self._report))

    def left(self) -> list[str]:
        return everything_below(self.root)

    def _report(self, step: str, done: int, total: int | None) -> None:
        if step not in self.steps[-1:]:
            self.steps.append(step)
        self.report(step, done, total)

    def _wait(self, seconds: float) -> None:
        self.waited_s += seconds


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_vm_is_taken_in_byte_for_byte(bench: Bench) -> None:
    image = bench.run()
    assert image.machine is not None
    assert image.source == "imported from VM My VM of https://esx-1/sdk"
    assert (image.form, len(image.machine.disks)) == ("vmdk", 2)
    for disk, content in zip(image.machine.disks, DISKS, strict=True):
        assert content_of(archives.published(bench.root) / disk.file) == content
    assert bench.steps[:3] == [
        "looking at VM My VM of https://esx-1/sdk",
        "fetching disk 1 of 2",
        "fetching disk 2 of 2",
    ]
    assert not (bench.root / DOWNLOADS / str(REF)).exists()
    assert FolderMatrix(bench.root).verify(image, silent) == []


def test_an_inspection_fetches_nothing(bench: Bench) -> None:
    row = bench.inspect()
    assert (row["package"], row["obstacles"]) == ("VM My VM of https://esx-1/sdk", [])
    disks = row["disks"]
    assert isinstance(disks, list)
    assert [(disk["bus"], disk["capacity_bytes"]) for disk in disks] == [("sata", 5 * MIB), ("sata", 3 * MIB)]
    stages = row["stages"]
    assert isinstance(stages, list)
    assert [stage["stage"] for stage in stages] == ["fetch", "store"]
    assert stages[0]["needed_bytes"] == 8 * MIB
    assert (bench.vm.sent_bytes, bench.left()) == (0, [])


def test_obstacles_are_told_all_at_once(bench: Bench) -> None:
    bench.vm.seen = replace(bench.vm.seen, obstacles=("it runs: shut it down", "it has snapshots: go"))
    assert bench.inspect()["obstacles"] == ["it runs: shut it down", "it has snapshots: go"]
    with pytest.raises(Refusal, match="it runs: shut it down; it has snapshots: go"):
        bench.run()
    assert bench.left() == []


def test_room_is_proved_before_anything_is_fetched(bench: Bench) -> None:
    bench.free_bytes = 12 * MIB
    with pytest.raises(NoSpace, match=r"at most 8.0 MiB to be fetched, 8.\d MiB to be stored"):
        bench.run()
    assert (bench.vm.sent_bytes, bench.left()) == (0, [])


def test_a_broken_connection_costs_what_was_under_way(bench: Bench) -> None:
    lost = Unavailable("the host does not answer")
    bench.vm.breaks = [None, None, lost, None, None, lost]
    image = bench.run()
    assert image.size_bytes > 0
    assert bench.vm.sent_bytes == 8 * MIB
    assert 0 < bench.waited_s <= 2 * PAUSES_S[1]
    assert any("trying again soon to fetch disk 1: the host" in step for step in bench.steps)


def test_a_host_that_never_answers_is_given_up_soon(bench: Bench) -> None:
    def look() -> SeenVm:
        raise Unavailable("the host does not answer")

    bench.vm.look = look  # type: ignore[method-assign]  # what the host does is the test's to say
    with pytest.raises(Refusal, match="failed 3 times in a row") as caught:
        bench.run()
    assert "does not answer" in chain(caught.value)
    assert bench.waited_s == sum(PAUSES_UNHEARD_S)
    assert bench.left() == []


def test_what_the_host_refuses_is_not_tried_again(bench: Bench) -> None:
    bench.vm.breaks = [None, Refused("it runs")]
    with pytest.raises(Refused, match="it runs"):
        bench.run()
    assert (bench.waited_s, bench.left()) == (0, [])


def test_a_restart_of_the_controller_goes_on(bench: Bench) -> None:
    def stop(done: int) -> None:
        if done == 2 * MIB:
            raise Stopping

    bench.vm.now = stop
    with pytest.raises(Stopping):
        bench.run()
    FolderMatrix(bench.root).sweep([], [REF])
    bench.vm.now, bench.vm.sent_bytes = (lambda _done: None), 0
    bench.run()
    assert bench.vm.sent_bytes == 6 * MIB


def test_after_a_restart_a_vm_that_changed_is_begun_anew(bench: Bench) -> None:
    bench.vm.breaks = [None, None, Stopping()]
    with pytest.raises(Stopping):
        bench.run()
    again = (archives.raw_content(5 * MIB, seed=7), archives.raw_content(3 * MIB, seed=8))
    bench.vm = LentVm(*again)
    bench.vm.seen = replace(bench.vm.seen, vmx=f"# state 2\n{bench.vm.seen.vmx}")
    image = bench.run()
    assert image.machine is not None
    assert content_of(archives.published(bench.root) / image.machine.disks[0].file) == again[0]


@pytest.mark.parametrize("error", [Cancelled(), Refused("gone"), NoSpace("the disk became full")])
def test_nothing_is_left_of_what_was_given_up(bench: Bench, error: Exception) -> None:
    bench.vm.breaks = [None, None, error]
    with pytest.raises(type(error)):
        bench.run()
    assert bench.left() == []


def test_a_change_between_two_disks_is_noticed(bench: Bench) -> None:
    def change(done: int) -> None:
        if done == 3 * MIB:
            bench.vm.seen = replace(bench.vm.seen, vmx=f"# state 2\n{bench.vm.seen.vmx}")

    bench.vm.now = change
    with pytest.raises(Refusal, match="started or changed while it was copied"):
        bench.run()
    assert bench.left() == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda seen: replace(seen, capacities=(5 * MIB,)), "tells of 1 disks"),
        (lambda seen: replace(seen, capacities=(5 * MIB, 4 * MIB)), "came as 3145728 bytes"),
        (lambda seen: replace(seen, capacities=(1 << 50, MIB)), "the limit is"),
        (lambda seen: replace(seen, vmx="no vmx"), "line 1"),
        (lambda seen: replace(seen, vmx=archives.vmx_text()), "no hard disk"),
    ],
)
def test_a_host_that_contradicts_itself_is_refused(
    bench: Bench, change: Callable[[SeenVm], SeenVm], words: str
) -> None:
    bench.vm.seen = change(bench.vm.seen)
    with pytest.raises(MetierError, match=words):
        bench.run()
    assert bench.left() == []

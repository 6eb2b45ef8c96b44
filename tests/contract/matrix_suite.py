"""What every image matrix promises, shown on whatever testbed a test class brings."""

import threading
from collections.abc import Callable
from typing import Any, Protocol

import pytest

from metier.domain.errors import NoSpace, Refusal
from metier.domain.hardware import Requirements
from metier.domain.ids import ImageRef
from metier.domain.image import CollectorSpec, Image
from metier.matrix.api import Cancelled, ImportOrder, Matrix

REF, OTHER = ImageRef("web", "1"), ImageRef("web", "2")


class MatrixTestbed(Protocol):
    """One image matrix, and what befalls it."""

    @property
    def matrix(self) -> Matrix:
        """The matrix under test."""
        ...

    def order(self, ref: ImageRef, **fields: Any) -> ImportOrder:
        """Return an order to import a good archive; `fields` are the order's."""
        ...

    def is_published(self, ref: ImageRef) -> bool:
        """Whether readers can use a version."""
        ...

    def left(self) -> list[str]:
        """Return whatever is there besides published versions."""
        ...

    def fill(self) -> None:
        """Take away nearly all the room there is."""
        ...

    def make_room(self) -> None:
        """Give it back."""
        ...

    def kill_import(self, ref: ImageRef) -> None:
        """Leave behind what an import leaves whose process was killed."""
        ...

    def damage(self, image: Image) -> None:
        """Harm the bytes of a published version."""
        ...


def silent(_step: str, _done: int, _total: int | None) -> None:
    """Take a report and do nothing with it."""


class MatrixSuite:
    """The contract of `metier.matrix.api`."""

    @pytest.fixture
    def matrix(self, testbed: MatrixTestbed) -> Matrix:
        return testbed.matrix

    def imported(self, testbed: MatrixTestbed, ref: ImageRef = REF) -> Image:
        return testbed.matrix.import_image(testbed.order(ref), silent)

    # --- importing ------------------------------------------------------------------

    def test_an_image_is_what_was_ordered(self, testbed: MatrixTestbed, matrix: Matrix) -> None:
        order = testbed.order(
            REF,
            minimum_memory_mib=640,
            requirements=Requirements(cpus=2),
            startup_s=77,
            collectors=(CollectorSpec("tcp", 80),),
        )
        image = matrix.import_image(order, silent)
        assert (image.ref, image.type, image.created) == (REF, order.answers.type, order.created)
        assert (image.startup_s, image.collectors) == (77, order.answers.collectors)
        assert image.requirements == Requirements(memory_mib=640, cpus=2)
        assert image.machine is not None
        assert image.size_bytes == sum(disk.stored_bytes for disk in image.machine.disks)
        assert all(disk.capacity_bytes > 0 and disk.digest for disk in image.machine.disks)
        assert order.location.rpartition("/")[2] in image.source

    def test_the_archive_says_the_memory_if_the_order_does_not(self, testbed: MatrixTestbed) -> None:
        assert self.imported(testbed).requirements.memory_mib > 0

    def test_a_version_is_seen_whole_or_not_at_all(self, testbed: MatrixTestbed, matrix: Matrix) -> None:
        seen = []
        matrix.import_image(testbed.order(REF), lambda *_: seen.append(testbed.is_published(REF)))
        assert seen
        assert not any(seen)
        assert testbed.is_published(REF)
        assert testbed.left() == []

    def test_a_version_is_published_once(self, testbed: MatrixTestbed, matrix: Matrix) -> None:
        image = self.imported(testbed)
        with pytest.raises(Refusal, match=f"cannot make image {REF}: that version exists already"):
            self.imported(testbed)
        assert matrix.verify(image, silent) == []
        assert testbed.left() == []

    def test_progress_is_told_in_words_and_bytes_by_the_caller_s_thread(
        self, testbed: MatrixTestbed, matrix: Matrix
    ) -> None:
        told: list[tuple[str, int, int | None]] = []
        threads = set()

        def report(step: str, done: int, total: int | None) -> None:
            threads.add(threading.get_ident())
            told.append((step, done, total))

        matrix.import_image(testbed.order(REF), report)
        assert threads == {threading.get_ident()}
        assert all(step and 0 <= done <= (done if total is None else total) for step, done, total in told)

    # --- imports that do not come to their end ------------------------------------------

    def test_a_cancelled_import_leaves_nothing_wherever_it_was(
        self, testbed: MatrixTestbed, matrix: Matrix
    ) -> None:
        steps: list[str] = []
        matrix.import_image(testbed.order(OTHER), lambda step, *_: steps.append(step))
        for step in dict.fromkeys(steps):
            with pytest.raises(Cancelled):
                matrix.import_image(testbed.order(REF), _cancelling(step))
            assert not testbed.is_published(REF)
            assert testbed.left() == []
        self.imported(testbed)
        assert testbed.is_published(REF)

    def test_an_import_without_room_is_refused_and_leaves_nothing(self, testbed: MatrixTestbed) -> None:
        testbed.fill()
        with pytest.raises(NoSpace) as refusal:
            self.imported(testbed)
        assert "free" in refusal.value.message
        assert refusal.value.remedy
        assert not testbed.is_published(REF)
        assert testbed.left() == []
        testbed.make_room()
        self.imported(testbed)
        assert testbed.is_published(REF)

    def test_no_room_is_lost_by_imports_that_failed(self, testbed: MatrixTestbed, matrix: Matrix) -> None:
        for _ in range(3):
            with pytest.raises(Cancelled):
                matrix.import_image(testbed.order(REF), _cancelling(""))
        for _ in range(3):
            self.imported(testbed)
            matrix.delete(REF)
        assert testbed.left() == []

    # --- sweeping -------------------------------------------------------------------

    def test_there_is_nothing_to_sweep_at_first(self, matrix: Matrix) -> None:
        assert list(matrix.sweep([])) == []

    def test_a_sweep_removes_what_nobody_knows_and_says_so(
        self, testbed: MatrixTestbed, matrix: Matrix
    ) -> None:
        known = self.imported(testbed)
        self.imported(testbed, OTHER)
        testbed.kill_import(ImageRef("db", "1"))
        assert testbed.left()
        removed = matrix.sweep([known.ref, ImageRef("never", "made")])
        assert len(removed) == 2
        assert [sentence for sentence in removed if str(OTHER) in sentence]
        assert [sentence for sentence in removed if "db@1" in sentence]
        assert testbed.left() == []
        assert not testbed.is_published(OTHER)
        assert matrix.verify(known, silent) == []
        assert list(matrix.sweep([known.ref])) == []

    def test_what_was_killed_can_be_imported_after_the_sweep(
        self, testbed: MatrixTestbed, matrix: Matrix
    ) -> None:
        testbed.kill_import(REF)
        matrix.sweep([])
        self.imported(testbed)
        assert testbed.is_published(REF)

    # --- verifying and deleting ---------------------------------------------------------

    def test_a_whole_version_has_no_faults(self, testbed: MatrixTestbed, matrix: Matrix) -> None:
        steps: list[str] = []
        image = self.imported(testbed)
        assert matrix.verify(image, lambda step, *_: steps.append(step)) == []
        assert steps

    @pytest.mark.parametrize("harm", ["damaged", "deleted"])
    def test_what_is_wrong_is_said(self, testbed: MatrixTestbed, matrix: Matrix, harm: str) -> None:
        image = self.imported(testbed)
        harms: dict[str, Callable[[], None]] = {
            "damaged": lambda: testbed.damage(image),
            "deleted": lambda: matrix.delete(image.ref),
        }
        harms[harm]()
        assert all(matrix.verify(image, silent))
        assert matrix.verify(image, silent)

    def test_a_check_can_be_cancelled(self, testbed: MatrixTestbed, matrix: Matrix) -> None:
        image = self.imported(testbed)
        with pytest.raises(Cancelled):
            matrix.verify(image, _cancelling(""))
        assert matrix.verify(image, silent) == []

    def test_deleting_twice_is_fine_and_leaves_the_others(
        self, testbed: MatrixTestbed, matrix: Matrix
    ) -> None:
        self.imported(testbed)
        other = self.imported(testbed, OTHER)
        for _ in range(2):
            matrix.delete(REF)
        matrix.delete(ImageRef("never", "made"))
        assert not testbed.is_published(REF)
        assert matrix.verify(other, silent) == []
        assert testbed.left() == []


def _cancelling(at: str) -> Callable[[str, int, int | None], None]:
    """Return a report that cancels at a step, or at once if none is named."""

    def report(step: str, _done: int, _total: int | None) -> None:
        if at in ("", step):
            raise Cancelled

    return report

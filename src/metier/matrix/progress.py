"""Progress of a long piece of work: told often enough for a person, seldom enough for speed."""

from metier.matrix.api import Report

# A report at least for each of so many parts of a step, and none for less than so many bytes.
_PARTS = 200
_LEAST_BYTES = 1 << 20


class Progress:
    """Tells a `Report` how far the current step is; what the report raises comes through."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._step = ""
        self._done = 0
        self._total: int | None = None
        self._told = 0

    def begin(self, step: str, total: int | None = None) -> None:
        """Begin a step of `total` bytes."""
        self._step, self._total, self._done = step, total, 0
        self.tell()

    def reach(self, done: int, total: int | None = None) -> None:
        """Note that `done` bytes of the step are done; tells it when it is worth telling."""
        self._done = done
        if total is not None:
            self._total = total
        part = max((self._total or 0) // _PARTS, _LEAST_BYTES)
        if done - self._told >= part or (done == self._total and done != self._told):
            self.tell()

    def advance(self, more: int) -> None:
        """Note that `more` bytes are done."""
        done = self._done + more
        self.reach(done if self._total is None else min(done, self._total))

    def tell(self) -> None:
        """Tell how far the step is, which also lets the report stop the work."""
        self._told = self._done
        self._report(self._step, self._done, self._total)

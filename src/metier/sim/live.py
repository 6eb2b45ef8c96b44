"""A simulated data centre under a controller that really runs: with threads, and a clock that goes on."""

import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from metier.control.tools import Tools, Validate
from metier.control.workers import Answer, Task, Workers
from metier.control.world import RunningClock
from metier.domain.errors import WrongUsage
from metier.domain.fleet import Fleet
from metier.domain.image import Image
from metier.matrix.api import ImportOrder, Report
from metier.operations.registry import Row
from metier.sim.clock import Agenda, VirtualClock
from metier.sim.drivers import SimDrivers
from metier.sim.faults import FAULTS, FOREVER_S, befall, read_fault
from metier.sim.hypervisor import seed_for
from metier.sim.matrix import STAGES, SimMatrix
from metier.sim.measured import measured_datacentre
from metier.sim.pace import pace_of

_PARTS = 10
"""In so many parts a job tells how far a stage of it is, and looks whether it was cancelled."""

_LOOK_S = 0.1
"""How often a call that hangs looks whether it was given up, in real seconds."""


class LiveSite:
    """All that is outside of a controller, in real or accelerated time; safe to use from many threads.

    Attributes:
        datacentre: The machines, as `fleet` last saw them; nothing else is broken, and everything
            takes as long as it was measured to take.
        matrix: Has all images of `fleet`, and believes every archive.
    """

    def __init__(self, fleet: Fleet, clock: RunningClock) -> None:
        self._clock, self._pace = clock, pace_of(fleet)
        self._closing = threading.Event()
        self.datacentre = measured_datacentre(fleet, Agenda(VirtualClock(clock.now())))
        self.datacentre.clock = clock
        self.matrix = LiveMatrix(self.wait, self._pace.job_s)
        self.matrix.published = set(fleet.images)

    @property
    def now(self) -> datetime:
        """The present moment, in UTC."""
        return self._clock.now()

    def tools(self, validate: Validate) -> Tools:
        """Return what a control loop works with; `validate` refuses what it will not have recorded."""
        return Tools(SimDrivers(self.datacentre), self.matrix, seed_for, validate)

    def make_pool(self, answer: Answer, /, *, threads: int, per_endpoint: int) -> "LiveWorkers":
        """Return threads in which driver calls take their time; keeps `control.crew.MakePool`."""
        return LiveWorkers(answer, self, threads=threads, per_endpoint=per_endpoint)

    def call(self, task: Task, make: Callable[[], Any]) -> Any:
        """Make a driver call when its time is over: what happens meanwhile decides how it ends.

        One that hangs is never made; its thread is free again once the call was given up.
        """
        takes_s = self._pace.takes_s(task, self.datacentre)
        if takes_s < FOREVER_S:
            self.wait(takes_s)
            return make()
        while not task.given_up and not self._closing.wait(_LOOK_S):
            pass
        return None

    def wait(self, seconds: float) -> None:
        """Return after so many seconds of the site's clock, or at once if the site is closed."""
        self._closing.wait(self._clock.real_s(seconds))

    def close(self) -> None:
        """Let go of every thread that waits; only when no control loop listens any more."""
        self._closing.set()

    # --- what can befall it ---------------------------------------------------------

    def faults(self) -> Sequence[Row]:
        """Return the sentences that `befall` understands, with what each means."""
        return [
            {"sentence": fault.sentence, "help": fault.help, "heals": fault.heals}
            for fault in FAULTS
            if not fault.needs_controller
        ]

    def befall(self, sentence: str) -> str:
        """Let what a sentence says happen now; returns what that means.

        Raises:
            WrongUsage: No fault reads like that.
            NoSuchThing: It names what is not there.
            Refusal: It would befall the controller, which runs for real.
        """
        try:
            fault, _ = read_fault(sentence)
        except WrongUsage as error:
            raise WrongUsage(str(error), remedy="see `metier befall --list`") from None
        with self.datacentre.lock:
            befall(self, sentence)
        return f"{sentence.strip()}: {fault.help}"


class LiveWorkers(Workers):
    """Threads in which each driver call takes as long as it would outside."""

    def __init__(self, answer: Answer, site: LiveSite, *, threads: int, per_endpoint: int) -> None:
        super().__init__(answer, threads=threads, per_endpoint=per_endpoint)
        self._site = site

    def submit(self, task: Task) -> None:
        """Queue a task; its key must not be in flight already."""
        make = task.call
        task.call = lambda: self._site.call(task, make)
        super().submit(task)


class LiveMatrix(SimMatrix):
    """An image matrix whose work takes its time, and says how far it is."""

    def __init__(self, wait: Callable[[float], None], job_s: float) -> None:
        super().__init__()
        self._wait, self._stage_s = wait, job_s / len(STAGES)

    def import_image(self, order: ImportOrder, report: Report) -> Image:
        return super().import_image(order, self._slowly(report))

    def verify(self, image: Image, report: Report) -> Sequence[str]:
        return super().verify(image, self._slowly(report))

    def _slowly(self, report: Report) -> Report:
        begun: set[str] = set()

        def told(stage: str, done: int, total: int | None) -> None:
            if stage not in begun:
                begun.add(stage)
                for part in range(_PARTS):
                    report(stage, (total or 0) * part // _PARTS, total)
                    self._wait(self._stage_s / _PARTS)
            report(stage, done, total)

        return told

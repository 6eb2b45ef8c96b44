"""One host's connection: opened when first needed, opened anew when it broke, bounded in time."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import libvirt

from metier.domain.errors import Unavailable
from metier.drivers.hypervisor.api import Progress
from metier.drivers.hypervisor.libvirt.attempt import Attempt, Attempts
from metier.drivers.hypervisor.libvirt.event_loop import ensure_event_loop
from metier.drivers.hypervisor.libvirt.events import Line
from metier.drivers.hypervisor.libvirt.faults import cannot_connect, is_alive, said, translated

T = TypeVar("T")

# A silent host is given up after five seconds times three: longer than any pause of a healthy
# daemon, shorter than what a hung call should hold up.
KEEPALIVE_INTERVAL_S = 5
KEEPALIVE_COUNT = 3
# A host works on five requests of a connection at once, unless it is configured otherwise, and with
# five at work it hears nothing, keepalive's questions included: so no more than four.
MAX_CHANGES = 3
MAX_READS = 1


class Connection:
    """The driver's way to its host; safe to use from many threads.

    `url` is the host's libvirt URI.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._attempts = Attempts()
        self._opening = threading.Lock()
        self._changes = threading.Semaphore(MAX_CHANGES)
        self._reads = threading.Semaphore(MAX_READS)
        self._line: Line | None = None
        self._spare_lock = threading.Lock()
        self._spare: Any | None = None
        self._closed = False
        self._watchers: list[Callable[[], None]] = []

    def do(
        self,
        what: str,
        work: Callable[[Line, Attempt], T],
        *,
        timeout_s: float,
        progress: Progress | None = None,
        changes: bool = True,
    ) -> T:
        """Call `work(line, attempt)` and return its result; raises only a driver's three errors.

        Args:
            what: The call in words, for messages.
            work: Runs in another thread; calls `attempt.begin()` before its first change.
            timeout_s: When the caller leaves, in seconds.
            progress: Called from the caller's thread with what the work tells.
            changes: It may change something, so it may take long; reading has a place of its own.
        """

        def attempt_it(attempt: Attempt) -> T:
            with attempt.turn(self._changes if changes else self._reads):
                line = self._connected(attempt)
                with translated(attempt, line.connection):
                    return work(line, attempt)

        return self._attempts.run(what, attempt_it, timeout_s=timeout_s, progress=progress)

    @contextmanager
    def another(self, attempt: Attempt) -> Iterator[Any]:
        """Have one more connection for oneself, for a transfer: it holds up nobody, and nobody it.

        One that was used without trouble is kept for the next transfer.
        """
        with self._spare_lock:
            spare, self._spare = self._spare, None
        if spare is not None and not _answers(spare):
            _close(spare)
            spare = None
        connection = self._dialled(attempt) if spare is None else spare
        try:
            with translated(attempt, connection):
                yield connection
        except BaseException:  # whatever it is, the connection may be amid something
            _close(connection)
            raise
        with self._spare_lock:
            surplus, self._spare = (connection, None) if self._closed else (self._spare, connection)
        if surplus is not None:
            _close(surplus)

    def watch(self, changed: Callable[[], None]) -> None:
        """Call `changed` on every change of power on the host and when the connection is lost."""
        self._watchers.append(changed)

    def close(self) -> None:
        """Let go; later calls raise Unavailable."""
        self._closed = True
        # Saying goodbye asks the host, who may not answer.
        threading.Thread(target=self._hang_up, name="libvirt: close", daemon=True).start()

    def _hang_up(self) -> None:
        with self._opening:
            line, self._line = self._line, None
            if line is not None:
                line.hang_up()
        with self._spare_lock:
            spare, self._spare = self._spare, None
        if spare is not None:
            _close(spare)

    def _connected(self, attempt: Attempt) -> Line:
        """Return a connection that has just answered."""
        # Of many callers one opens; while that hangs the others do not start more of the same.
        if not self._opening.acquire(timeout=attempt.left_s):
            raise Unavailable(f"cannot {attempt.what}: an earlier attempt to reach {self.url} still hangs")
        try:
            attempt.check()
            if self._closed:
                raise Unavailable(f"cannot {attempt.what}: the connection to {self.url} was closed")
            if self._line is not None and not _answers(self._line.connection):
                lost, self._line = self._line, None
                lost.hang_up()
                attempt.check()  # that may have taken long: whoever still waits opens a new one
            if self._line is None:
                self._line = Line(self._dialled(attempt), self._tell_watchers)
            return self._line
        finally:
            self._opening.release()

    def _dialled(self, attempt: Attempt) -> Any:
        ensure_event_loop()
        try:
            connection = libvirt.open(self.url)
        except libvirt.libvirtError as error:
            raise cannot_connect(error, attempt.what, self.url) from said(error)
        with suppress(libvirt.libvirtError):  # a driver inside this process has nobody to keep alive
            connection.setKeepAlive(KEEPALIVE_INTERVAL_S, KEEPALIVE_COUNT)
        return connection

    def _tell_watchers(self) -> None:
        for changed in self._watchers:
            changed()


def _answers(connection: Any) -> bool:
    """Whether the host answers on this connection; costs one round trip."""
    if not is_alive(connection):
        return False
    try:
        connection.getLibVersion()
    except libvirt.libvirtError:
        return False
    return True


def _close(connection: Any) -> None:
    with suppress(libvirt.libvirtError):
        connection.close()

"""One VMware server, an ESX host or a vCenter: a session that all drivers of its hosts share."""

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from metier.domain.errors import DriverError, Refused
from metier.drivers.hypervisor.api import Progress
from metier.drivers.hypervisor.vsphere.attempt import Attempt
from metier.drivers.hypervisor.vsphere.configuration import Settings, Url, url_of
from metier.drivers.hypervisor.vsphere.faults import Unreadable, translated, unreadable_is_told
from metier.drivers.hypervisor.vsphere.vmware import F_OPTIONAL, SoapStubAdapter, vim, vmodl
from metier.drivers.hypervisor.vsphere.wire import DEADLINES, Trust, is_stale

T = TypeVar("T")

# What the oldest hosts that are still met understand, 5.5, and all later ones do.
_API = "vim.version.version9"
# Idle connections that are kept; the loop has at most this many calls under way.
_KEPT = 32
_LONGEST_KIND = 80
# Leaving is no duty: a server that does not answer forgets the session by itself.
_GOODBYE_S = 5.0


class NotSoap(Unreadable, http.client.HTTPException):
    """What answered is no server of VMware's; pyVmomi closes the connection on this kind of error."""


class SoapAnswer(http.client.HTTPResponse):
    """An answer that pyVmomi may read: it takes the page of a proxy for an answer without content."""

    def begin(self) -> None:
        """Read the headers; raises NotSoap if what follows them is something else."""
        super().begin()
        kind = self.headers.get("Content-Type", "")
        if kind and "xml" not in kind:
            raise NotSoap(f"HTTP status {self.status} with content of type {kind[:_LONGEST_KIND]}")


class Stub(SoapStubAdapter):  # type: ignore[misc]  # pyVmomi has no types to check against
    """Carries calls to one server, each within the deadline of the attempt that its thread is at."""

    def __init__(self, url: Url, trust: Trust, login: Callable[[], None]) -> None:
        super().__init__(host=url.host, port=url.port, path=url.path, poolSize=_KEPT, version=_API)
        self._trust, self._login = trust, login
        self._here = threading.local()
        self.is_closed = False

    @property
    def attempt(self) -> Attempt:
        """Return what the calling thread is at."""
        attempt: Attempt = self._here.attempt
        return attempt

    @contextmanager
    def serving(self, attempt: Attempt) -> Iterator[None]:
        """Let this thread's calls be made for an attempt."""
        before = getattr(self._here, "attempt", None)
        self._here.attempt = attempt
        try:
            yield
        finally:
            self._here.attempt = before

    def InvokeMethod(self, mo: Any, info: Any, args: Any, outerStub: Any = None) -> Any:  # noqa: N802, N803
        """Call a method; if the session has ended, which means that nothing was done, in a new one."""
        try:
            return self._invoke(mo, info, args, outerStub)
        except vim.fault.NotAuthenticated:
            if info.name in ("Login", "Logout"):
                raise
            self._login()
            return self._invoke(mo, info, args, outerStub)

    def _invoke(self, mo: Any, info: Any, args: Any, outer: Any) -> Any:
        self.attempt.check()
        try:
            with unreadable_is_told(self.attempt):
                answer = super().InvokeMethod(mo, info, args, outer)
                if answer is None and info.result is not type(None) and not info.resultFlags & F_OPTIONAL:
                    raise TypeError("nothing was answered")
                return answer
        finally:
            DEADLINES.forget(self.attempt)

    def GetConnection(self) -> http.client.HTTPSConnection:  # noqa: N802
        """Return a connection that is not known to be broken, shut when the attempt's time is up."""
        connection = self._kept() or self._connected()
        assert connection.sock is not None
        connection.response_class = SoapAnswer
        connection.sock.settimeout(max(self.attempt.left_s, 0.001))
        DEADLINES.watch(connection.sock, self.attempt)
        return connection

    def _connected(self) -> http.client.HTTPSConnection:
        try:
            return self._trust.connect(self.attempt.left_s)
        except Refused as error:
            raise Refused(f"cannot {self.attempt.what}: {error}", remedy=error.remedy) from error.__cause__

    def _kept(self) -> http.client.HTTPSConnection | None:
        while True:
            with self.lock:
                if not self.pool:
                    return None
                connection: http.client.HTTPSConnection = self.pool.pop(0)[0]
            if not is_stale(connection):
                return connection
            connection.close()

    def ReturnConnection(self, conn: http.client.HTTPSConnection) -> None:  # noqa: N802
        """Keep a connection for the next call, unless there will be none."""
        if self.is_closed:
            conn.close()
        else:
            super().ReturnConnection(conn)

    @property
    def session_cookie(self) -> str:
        """Return what the server knows the session by, as a `Cookie` header; empty before the login."""
        return str(self.cookie).partition(";")[0]


class Endpoint:
    """The way to one server; safe to use from many threads.

    Attributes:
        user: The account that it logs in with.
    """

    def __init__(self, settings: Settings) -> None:
        self.url = url_of(settings.url)
        self.trust = Trust(self.url, settings.thumbprint, settings.ca)
        self.user, self._password = settings.user, settings.password
        self.stub = Stub(self.url, self.trust, self._log_in_again)
        self._opening = threading.Lock()
        self._content: Any | None = None
        self._logins = 0

    def do(
        self,
        what: str,
        work: Callable[["Endpoint", Attempt], T],
        *,
        timeout_s: float,
        progress: Progress | None = None,
    ) -> T:
        """Call `work(self, attempt)` and return its result; raises only a driver's three errors.

        Args:
            what: The call in words, for messages.
            work: Calls `attempt.begin()` before its first change.
            timeout_s: When it is given up, in seconds.
            progress: Called, from this thread, with what the work tells.
        """
        attempt = Attempt(what, timeout_s, progress, self.user)
        with self.stub.serving(attempt), translated(attempt):
            self._open(attempt)
            return work(self, attempt)

    @property
    def content(self) -> Any:
        """The server's root: its managers, its root folder, and what it is."""
        assert self._content is not None
        return self._content

    @property
    def is_vcenter(self) -> bool:
        """Whether it has hosts, and is not one."""
        return bool(self.content.about.apiType == "VirtualCenter")

    @property
    def instance(self) -> int:
        """Return a number that another login changes, and what was kept of the server's objects is old."""
        return self._logins

    def ensure_session(self) -> None:
        """Log in again if the session has ended: before a transfer, which could not begin anew."""
        # A call that changes nothing, and that needs a session on every kind of server.
        collector = self.content.propertyCollector.CreatePropertyCollector()
        with suppress(vmodl.fault.ManagedObjectNotFound):  # the session ended, and there is a new one
            collector.DestroyPropertyCollector()

    def say_goodbye(self) -> None:
        """Log out, if the server answers."""

        def leave() -> None:
            attempt = Attempt("log out", _GOODBYE_S)
            with suppress(DriverError), self.stub.serving(attempt), translated(attempt):
                if self._content is not None:
                    self._content.sessionManager.Logout()
            self.stub.is_closed = True
            self.stub.DropConnections()

        threading.Thread(target=leave, name="vsphere: log out", daemon=True).start()

    def _open(self, attempt: Attempt) -> None:
        if self._content is not None:
            return
        with attempt.alone(self._opening, f"an earlier attempt to log in at {self.url} still hangs"):
            if self._content is None:
                content = vim.ServiceInstance("ServiceInstance", self.stub).RetrieveContent()
                if content is None:
                    raise Unreadable("it does not tell what it is")
                self._log_in(content)
                self._content = content

    def _log_in_again(self) -> None:
        logins, attempt = self._logins, self.stub.attempt
        with attempt.alone(self._opening, f"an earlier attempt to log in at {self.url} still hangs"):
            if self._logins == logins:  # else another thread has done it meanwhile
                self._log_in(self._content)

    def _log_in(self, content: Any) -> None:
        self.stub.SetSessionId(None)
        content.sessionManager.Login(self.user, str(self._password), None)
        self._logins += 1

"""Asks an ESX host or a vCenter for its VMs: some properties of each, and nothing else.

Everything asked for is covered by the role `Read-only`.
"""

import hashlib
import http.client
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from xml.parsers.expat import ExpatError

from metier.domain.errors import Refusal, Unavailable, WrongUsage
from metier.estate.inventory import Estate
from metier.estate.vsphere_vm import PROPERTIES, machine_of

_TIMEOUT_S = 60
_PAGE = 500
_MOST_VMS = 200_000
_LOOK = "look at the URL, and whether vSphere answers there"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to ask, who asks, and by what the server is known to be itself.

    Attributes:
        ca_file: Authorities to believe, PEM; empty for those that this machine believes.
        thumbprint: SHA-256 of the server's certificate in lower-case hex, if it is pinned.
    """

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    ca_file: str = ""
    thumbprint: str = ""

    @classmethod
    def parsed(cls, url: str, user: str, password: str, ca_file: str, thumbprint: str) -> "Endpoint":
        """Return the endpoint behind a URL such as `https://esx-1/sdk`.

        Raises:
            WrongUsage: That is no such URL, or no thumbprint.
        """
        try:
            parts = urlsplit(url)
            port = parts.port or 443
        except ValueError as error:
            raise WrongUsage(f"{url!r} is no URL", remedy="say for example https://esx-1/sdk") from error
        if parts.username or parts.password:
            raise WrongUsage("a user or password in the URL is seen by everyone", remedy="use --user")
        if parts.scheme != "https" or not parts.hostname or parts.path not in ("", "/", "/sdk"):
            raise WrongUsage(f"{url!r} is no URL of vSphere", remedy="say for example https://esx-1/sdk")
        pinned = thumbprint.replace(":", "").lower()
        if pinned and (len(pinned) != 64 or set(pinned) - set("0123456789abcdef")):
            raise WrongUsage(
                f"--thumbprint has {len(pinned)} characters and not 64 digits of hex",
                remedy="take the SHA-256 one",
            )
        return cls(parts.hostname, port, user, password, ca_file, pinned)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"https://{host}/sdk" if self.port == 443 else f"https://{host}:{self.port}/sdk"


class VsphereInventory:
    """The inventory of one ESX host or vCenter."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def read(self) -> Estate:
        """Return the estate; see `Inventory`."""
        with _session(self._endpoint) as content:
            hosts = {str(ref): word for ref, word in _hosts(content)}
            vms = []
            for values in objects_of(content, "VirtualMachine", PROPERTIES):
                vms.append(machine_of(values, hosts.get(str(values.get("runtime.host")), "")))
                if len(vms) > _MOST_VMS:
                    raise Refusal(f"cannot list {self._endpoint}: it has more than {_MOST_VMS} VMs")
            about = content.about
            return Estate(f"{about.fullName} at {self._endpoint}", tuple(vms), len(hosts))


def _hosts(content: Any) -> Iterator[tuple[Any, str]]:
    for values in objects_of(content, "HostSystem", ("name",)):
        yield values["object"], str(values.get("name", ""))


def objects_of(content: Any, kind: str, properties: tuple[str, ...]) -> Iterator[Mapping[str, Any]]:
    """Yield what is known of each object of a kind, page by page; `object` is itself.

    What the account may not see, or this version does not know, is missing.

    Raises:
        Unavailable: The list ends before all that the server has was told of.
    """
    from pyVmomi import vim, vmodl

    collector: Any = vmodl.query.PropertyCollector
    kind_type = getattr(vim, kind)
    view = content.viewManager.CreateContainerView(content.rootFolder, [kind_type], recursive=True)
    try:
        path = collector.TraversalSpec(name="all", path="view", skip=False, type=type(view))
        wish = collector.FilterSpec(
            objectSet=[collector.ObjectSpec(obj=view, skip=True, selectSet=[path])],
            propSet=[collector.PropertySpec(type=kind_type, pathSet=list(properties))],
        )
        ask = content.propertyCollector
        page = _told(ask.RetrievePropertiesEx, [wish], collector.RetrieveOptions(maxObjects=_PAGE))
        count = 0
        while page is not None:
            for one in page.objects:
                count += 1
                yield {"object": one.obj, **{item.name: item.val for item in one.propSet}}
            page = _told(ask.ContinueRetrievePropertiesEx, page.token) if page.token else None
        # An answer that is none reads like the end of the list.
        expected = _told(getattr, view, "view")
        if expected is None or len(expected) > count:
            known = "an unknown number" if expected is None else len(expected)
            raise Unavailable(
                f"cannot list the VMs: vSphere told of {count} objects and has {known}", remedy="try again"
            )
    finally:
        view.Destroy()


def _told(call: Callable[..., Any], *arguments: Any) -> Any:
    """Return an answer; what reads it raises whatever comes of words that it does not know."""
    try:
        return call(*arguments)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise Unavailable("cannot list the VMs: the server's answer makes no sense", remedy=_LOOK) from error


@contextmanager
def _session(endpoint: Endpoint) -> Iterator[Any]:
    """Log in, and out again; every fault becomes one of ours, with the server's words."""
    try:
        from pyVim import connect
        from pyVmomi import vim, vmodl
    except ImportError as error:
        raise Refusal(
            f"cannot ask {endpoint}: the package pyvmomi is not installed",
            remedy="install it: pip install 'metier[vsphere]'; or read an RVTools export with --file",
        ) from error
    opened: list[ssl.SSLSocket] = []
    try:
        with _logged_in(connect, endpoint, _trust(endpoint, opened)) as content:
            yield content
    except vim.fault.InvalidLogin:
        raise Refusal(
            f"cannot log in to {endpoint} as {endpoint.user}: name or password is wrong",
            remedy="give others: --user, METIER_VSPHERE_PASSWORD",
        ) from None
    except vim.fault.NotAuthenticated:
        raise Unavailable(
            f"cannot list the VMs of {endpoint}: it ended the session meanwhile", remedy="try again"
        ) from None
    except vim.fault.NoPermission as error:
        raise Refusal(
            f"{endpoint.user} may not list the VMs of {endpoint}: "
            f"it lacks the privilege {error.privilegeId or 'System.View'}",
            remedy="give it the role Read-only on the whole inventory",
        ) from None
    except _NotPinned:
        raise _doubted(endpoint, "it is not the pinned one") from None
    except ssl.SSLCertVerificationError as error:
        raise _doubted(endpoint, error.verify_message) from None
    except vmodl.MethodFault as error:
        # As text a fault is a page of its fields.
        words = getattr(error, "msg", "") or type(error).__name__
        raise Unavailable(f"cannot list the VMs of {endpoint}: {words}", remedy=_LOOK) from None
    except (OSError, http.client.HTTPException, ExpatError) as error:
        raise Unavailable(f"cannot list the VMs of {endpoint}", remedy=_LOOK) from error
    finally:
        for one in opened:
            one.close()  # the client keeps some for later calls, and there are none


@contextmanager
def _logged_in(client: Any, endpoint: Endpoint, trust: ssl.SSLContext) -> Iterator[Any]:
    service = client.SmartConnect(
        host=endpoint.host,
        port=endpoint.port,
        user=endpoint.user,
        pwd=endpoint.password,
        sslContext=trust,
        httpConnectionTimeout=_TIMEOUT_S,
    )
    try:
        yield service.RetrieveContent()
    finally:
        client.Disconnect(service)


def _trust(endpoint: Endpoint, opened: list[ssl.SSLSocket]) -> ssl.SSLContext:
    """Return what believes the right server alone; it notes in `opened` what it connects."""
    try:
        context = (
            _unchecked()
            if endpoint.thumbprint
            else ssl.create_default_context(cafile=endpoint.ca_file or None)
        )
    except OSError as error:
        raise WrongUsage(
            f"cannot read certificates from {endpoint.ca_file}", remedy="name a PEM file"
        ) from error

    class NotedSocket(ssl.SSLSocket):
        def do_handshake(self, block: bool = False) -> None:
            opened.append(self)
            super().do_handshake(block)
            shown = self.getpeercert(binary_form=True) or b""
            # A pinned certificate is believed whoever signed it, and however weakly.
            if endpoint.thumbprint and hashlib.sha256(shown).hexdigest() != endpoint.thumbprint:
                raise _NotPinned

    context.sslsocket_class = NotedSocket
    return context


class _NotPinned(OSError):
    """The server showed another certificate than the pinned one."""


def _unchecked() -> ssl.SSLContext:
    """Return what takes any certificate; whoever uses it looks at it before saying a word."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _certificate(endpoint: Endpoint) -> bytes:
    """Return the certificate that the server shows, unchecked; nothing is sent to it."""
    connection = http.client.HTTPSConnection(
        endpoint.host, endpoint.port, timeout=_TIMEOUT_S, context=_unchecked()
    )
    try:
        connection.connect()
        assert isinstance(connection.sock, ssl.SSLSocket)
        return connection.sock.getpeercert(binary_form=True) or b""
    finally:
        connection.close()


def _doubted(endpoint: Endpoint, why: str) -> Refusal:
    try:
        digits = hashlib.sha256(_certificate(endpoint)).hexdigest().upper()
    except (OSError, http.client.HTTPException):
        digits = ""  # it told nothing, and that is told
    seen = ":".join(digits[at : at + 2] for at in range(0, len(digits), 2)) or "unknown"
    return Refusal(
        f"cannot believe the certificate of {endpoint}: {why}; its SHA-256 thumbprint is {seen}",
        remedy="compare it with what the host's own console shows, and give it with --thumbprint, or an "
        "authority with --ca-file",
    )

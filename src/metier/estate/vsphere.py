"""Asks an ESX host or a vCenter for its VMs: some properties of each, and nothing else.

Everything asked for is covered by the role `Read-only`.
"""

import http.client
import ssl
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit
from xml.parsers.expat import ExpatError

from metier.domain.errors import Refusal, Refused, Unavailable, WrongUsage
from metier.drivers.certificate import Advice, NotPinned, Server, Trust, thumbprint_of
from metier.estate.cells import word
from metier.estate.inventory import Estate, EstateVm
from metier.estate.vsphere_vm import PROPERTIES, machine_of

_TIMEOUT_S = 60
_PAGE = 500
_MOST_VMS = 200_000
_ADVICE = Advice("--thumbprint {}", "--ca-file FILE, PEM")
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
        try:
            pinned = thumbprint_of(thumbprint)
        except ValueError as error:
            raise WrongUsage(f"--thumbprint {error}", remedy="take the SHA-256 one") from None
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
            stores = {
                str(values.get("name", "")): str(values.get("summary.type", ""))
                for values in objects_of(content, "Datastore", ("name", "summary.type"))
            }
            vms = []
            for values in objects_of(content, "VirtualMachine", PROPERTIES):
                vm = machine_of(values, hosts.get(str(values.get("runtime.host")), ""), stores)
                vms.append((vm, word(str(values.get("config.files.vmPathName", "")))))
                if len(vms) > _MOST_VMS:
                    raise Refusal(f"cannot list {self._endpoint}: it has more than {_MOST_VMS} VMs")
            about = content.about
            return Estate(f"{about.fullName} at {self._endpoint}", self._reached(vms), len(hosts))

    def _reached(self, vms: list[tuple[EstateVm, str]]) -> tuple[EstateVm, ...]:
        """Return VMs with where an import finds each: those of one name by their .vmx."""
        counts = Counter(vm.called for vm, _ in vms)
        url, user = str(self._endpoint), self._endpoint.user
        return tuple(
            replace(vm, url=url, user=user, called=vm.called if counts[vm.called] == 1 else file)
            for vm, file in vms
        )


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
    trust = Trust(
        Server(endpoint.host, endpoint.port, str(endpoint)),
        endpoint.thumbprint,
        endpoint.ca_file,
        _ADVICE,
        opened.append,
    )
    try:
        with _logged_in(connect, endpoint, trust.context()) as content:
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
    except (NotPinned, ssl.SSLCertVerificationError) as error:
        doubt = trust.doubted(error, _TIMEOUT_S)
        raise Refusal(doubt.message, remedy=doubt.remedy) from None
    except Refused as error:
        raise Refusal(error.message, remedy=error.remedy) from error.__cause__
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

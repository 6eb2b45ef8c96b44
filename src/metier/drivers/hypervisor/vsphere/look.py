"""Looks at all VMs of a host: what they do each time anew, their configuration only where it changed."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from metier.drivers.hypervisor.vsphere.endpoint import Endpoint
from metier.drivers.hypervisor.vsphere.properties import Found, Values, read_listed, read_objects
from metier.drivers.hypervisor.vsphere.vmware import identity, vim

_VERSION, _POWER, _UUID = "config.changeVersion", "runtime.powerState", "config.instanceUuid"
# What may change without a new version of the configuration.
LIVE_PATHS = ("name", _POWER, "runtime.connectionState", "guest.ipAddress", _VERSION)


class _Seen(NamedTuple):
    """How a VM is configured.

    Attributes:
        ref: pyVmomi's handle.
        state: What it was read at: the version, and whether the VM ran, since a host that gives an
            interface its address at the first start need not count that as a change.
    """

    ref: Any
    state: tuple[str, str]
    values: Mapping[str, Any]


class Looks:
    """What earlier looks at one host saw; to be thrown away when something went wrong."""

    def __init__(self) -> None:
        self._seen: Mapping[str, _Seen] = {}
        self._is_first = True

    def look(self, endpoint: Endpoint, host: Any, paths: Sequence[str]) -> list[Found]:
        """Return properties of all VMs of a host, as they are now.

        The server answers what has changed since the last look, so that the answer is as good as a whole
        one: a configuration is believed only with its version, which is asked for each time.

        Args:
            endpoint: The way to the server.
            host: pyVmomi's handle.
            paths: All that is to be known of each; those of `LIVE_PATHS` are asked for each time.
        """
        wanted = list(dict.fromkeys((*LIVE_PATHS, *paths)))
        if self._is_first:
            found = read_listed(endpoint, host, "vm", vim.VirtualMachine, *wanted)
        else:
            found = list(self._put_together(endpoint, host, wanted))
        self._seen = {identity(one.ref): seen for one in found if (seen := _seen(one)) is not None}
        self._is_first = False
        return found

    def find(self, identity_of_vm: str) -> Any | None:
        """Return the handle of the VM that had an instance UUID at the last look; None if there was none."""
        matching = (seen.ref for seen in self._seen.values() if seen.values.get(_UUID) == identity_of_vm)
        return next(matching, None)

    def _put_together(self, endpoint: Endpoint, host: Any, wanted: Sequence[str]) -> Iterator[Found]:
        live = read_listed(endpoint, host, "vm", vim.VirtualMachine, *LIVE_PATHS)
        changed = [one.ref for one in live if self._known(one) is None]
        anew = {identity(one.ref): one for one in read_objects(endpoint, changed, *wanted)}
        for one in live:
            known = self._known(one)
            if known is not None:
                yield Found(one.ref, Values({**known, **one.values}))
            elif identity(one.ref) in anew:  # else it is gone since
                yield anew[identity(one.ref)]

    def _known(self, found: Found) -> Mapping[str, Any] | None:
        seen, now = self._seen.get(identity(found.ref)), _seen(found)
        return seen.values if seen is not None and now is not None and seen.state == now.state else None


def _seen(found: Found) -> _Seen | None:
    values = found.values
    version, power = values.get(_VERSION), values.get(_POWER)
    if not version or not power:
        return None
    kept = {path: value for path, value in values.items() if path not in LIVE_PATHS}
    return _Seen(found.ref, (str(version), str(power)), kept)

"""Under which licence a host runs, and when it ends, in words; its key is never shown."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from metier.drivers.hypervisor.vsphere.endpoint import Endpoint
from metier.drivers.hypervisor.vsphere.properties import read
from metier.drivers.hypervisor.vsphere.vmware import identity, vim, vmodl

_EVALUATION = "eval"
_HOURS = 24


def licence(endpoint: Endpoint, host: Any) -> str:
    """Return the licence of a host in words; empty where the account may not see it, or nobody tells."""
    try:
        found = _assigned(endpoint, host)
    except vmodl.MethodFault:
        return ""  # not needed for any work, so no reason to fail, nor to raise an alert
    clock = vim.ServiceInstance("ServiceInstance", endpoint.stub)
    return in_words(found, clock.CurrentTime) if found is not None else ""


def in_words(found: Any, now: Callable[[], datetime]) -> str:
    """Return a licence in words; `now` is the server's clock, asked only where it matters."""
    name = str(found.name or "").strip() or "unnamed licence"
    if found.editionKey == _EVALUATION:
        name = "evaluation mode"
    end = _end({str(entry.key): entry.value for entry in found.properties or ()}, now)
    return f"{name}, {end}" if end else name


def _assigned(endpoint: Endpoint, host: Any) -> Any:
    """Return what a vCenter has assigned to the host, or what the host itself has."""
    manager = endpoint.content.licenseManager
    if manager is None:
        return None
    if endpoint.is_vcenter:
        assigner = read(endpoint, manager, "licenseAssignmentManager").get("licenseAssignmentManager")
        found = assigner.QueryAssignedLicenses(identity(host)) if assigner is not None else None
        return found[0].assignedLicense if found else None
    found = read(endpoint, manager, "licenses").get("licenses")
    return found[0] if found else None


def _end(told: Mapping[str, Any], now: Callable[[], datetime]) -> str:
    """Say when it ends, in days: a sentence that differs every hour would be news every hour."""
    until = told.get("expirationDate")
    if isinstance(until, datetime):
        return f"{'ended' if until <= now() else 'ends'} on {until:%Y-%m-%d}"
    hours = told.get("expirationHours")
    if not isinstance(hours, int):
        return ""
    if hours <= 0:
        return "ended"
    days = hours // _HOURS
    return f"ends in {days} days" if days > 1 else "ends within two days"

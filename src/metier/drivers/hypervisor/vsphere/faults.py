"""What VMware's faults mean to the loop: a table from their types to the three errors of a driver."""

import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from xml.parsers.expat import ExpatError

from metier.domain.errors import DriverError, OutcomeUnknown, Refused, Unavailable
from metier.drivers.hypervisor.vsphere.attempt import Attempt
from metier.drivers.hypervisor.vsphere.privileges import purpose
from metier.drivers.hypervisor.vsphere.vmware import identity, kind_of, vim, vmodl

# Longest part of VMware's own words that is passed on.
MAX_WORDS = 500

# The way to the host behind a vCenter is broken: what that means depends on whether something was begun.
_LOST = (
    vmodl.fault.HostCommunication,
    vmodl.fault.HostNotConnected,
    vmodl.fault.HostNotReachable,
    vim.fault.HostConnectFault,
    vim.fault.NotAuthenticated,
    vmodl.fault.SystemError,
)
# The host had no time for it and did nothing: try in a later round.
_BUSY = (
    vim.fault.TaskInProgress,
    vim.fault.ConcurrentAccess,
    vim.fault.ResourceInUse,
    vim.fault.FileLocked,
    vim.fault.TooManyHosts,
)
# The host began and did not see the end.
_OPEN = (vim.fault.Timedout, vmodl.fault.RequestCanceled)
# All others are the host's answer to what was asked, and it would give the same again.
_LOOK = "see the events of the VM and of its host in VMware's own tools, and mend there what they name"
_REFUSALS = (
    (
        vim.fault.InvalidLogin,
        "login failed",
        "check the node's settings user and password",
    ),
    (
        vmodl.fault.ManagedObjectNotFound,
        "what it is about was removed meanwhile by another tool",
        "leave it to Metier, which looks at the host again, or ask who removed it",
    ),
    (
        vim.fault.NoDiskSpace,
        "its datastore is full",
        "make room on the datastore",
    ),
    (
        (vim.fault.InsufficientResourcesFault, vmodl.fault.NotEnoughLicenses),
        "the host has no room or no licence for it",
        "free memory or CPUs on the host, or see to its licence",
    ),
    (
        vim.fault.InvalidState,
        "its host or its VM is not in a state for it",
        "take the host out of maintenance mode if it is in it; else see its events and the VM's",
    ),
)

# Expat's codes for XML that ends too early: "no element found" and "unclosed token".
_CUT_SHORT = (3, 5)
# What pyVmomi, and whoever reads what it returns, raise on answers that are not what the API promises.
_UNREADABLE = (ExpatError, AttributeError, KeyError, TypeError, ValueError, IndexError)


class Unreadable(Exception):
    """An answer lacks what VMware's API promises to be in it."""


class VmwareSaid(Exception):
    """The cause of a driver's error, in VMware's words and nothing else."""


def words(fault: Any) -> str:
    """Return VMware's own words on one line, cut to a readable length, with the fault's type."""
    told = [getattr(fault, "msg", None) or getattr(fault, "localizedMessage", None) or ""]
    told += [str(part.message) for part in getattr(fault, "faultMessage", None) or () if part.message]
    text = " ".join(" ".join(str(part) for part in told).split())
    kind = type(fault).__name__.rsplit(".", 1)[-1]
    text = f"{kind}: {text}" if text and kind not in text else text or kind
    return text if len(text) <= MAX_WORDS else f"{text[:MAX_WORDS]}…"


def said(fault: Any) -> VmwareSaid:
    """Return VMware's words as the cause of an error."""
    return VmwareSaid(words(fault))


@contextmanager
def translated(attempt: Attempt) -> Iterator[None]:
    """Turn what pyVmomi and sockets raise, and answers that cannot be read, into a driver's three errors."""
    try:
        yield
    except vmodl.MethodFault as fault:
        raise meaning(fault, attempt) from said(fault)
    except Unreadable as error:
        raise _unreadable(attempt) from error
    except (OSError, http.client.HTTPException) as error:
        raise attempt.lost() from VmwareSaid(str(error) or type(error).__name__)


@contextmanager
def unreadable_is_told(attempt: Attempt) -> Iterator[None]:
    """Turn an answer that is not what VMware's API promises into a driver's error."""
    try:
        yield
    except _UNREADABLE as error:
        if attempt.left_s == 0 or getattr(error, "code", None) in _CUT_SHORT:
            raise attempt.lost() from VmwareSaid("the connection ended amid an answer")
        raise _unreadable(attempt) from VmwareSaid(f"{type(error).__name__} while it was read")


def _unreadable(attempt: Attempt) -> DriverError:
    if attempt.has_begun:
        return OutcomeUnknown(f"cannot tell whether to {attempt.what} worked: the answer cannot be read")
    return Refused(
        f"cannot {attempt.what}: the answer is not one of VMware's",
        remedy="check that the node's url is that of an ESX host or a vCenter",
    )


def meaning(fault: Any, attempt: Attempt) -> DriverError:
    """Return what a fault means to the call it ended."""
    what = attempt.what
    if isinstance(fault, _LOST):
        return attempt.lost()
    if isinstance(fault, vim.fault.NoPermission):
        return _forbidden(fault, attempt)
    if isinstance(fault, _BUSY):
        return Unavailable(f"cannot {what}: the host is busy with it")
    if isinstance(fault, _OPEN):
        return OutcomeUnknown(f"cannot tell whether to {what} worked")
    for kinds, why, remedy in _REFUSALS:
        if isinstance(fault, kinds):
            return Refused(f"cannot {what}: {why}", remedy=remedy)
    return Refused(f"cannot {what}: the host refused", remedy=_LOOK)


def _forbidden(fault: Any, attempt: Attempt) -> Refused:
    privilege, thing = str(getattr(fault, "privilegeId", None) or ""), getattr(fault, "object", None)
    where = f" on {kind_of(thing)} {identity(thing)}" if thing is not None else ""
    return Refused(
        f"cannot {attempt.what}: the account {attempt.account} lacks the privilege"
        f" {privilege or '(it is not told which)'}{where}",
        remedy=permit(attempt.account, privilege),
    )


def permit(account: str, privilege: str) -> str:
    """Return what to do for an account that lacks a privilege."""
    harm = purpose(privilege)
    without = f" (without it {harm})" if harm else ""
    role = f"a role with {privilege}{without}" if privilege else "a role with it"
    return f"give {account} {role} there, or set another account as the node's setting user"

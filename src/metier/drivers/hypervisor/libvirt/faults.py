"""What libvirt's errors mean to the loop: a table from its codes to the three errors of a driver."""

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager

import libvirt

from metier.domain.errors import DriverError, OutcomeUnknown, Refused, Unavailable
from metier.drivers.hypervisor.libvirt.attempt import Attempt

# Longest part of libvirt's own words that is passed on; QEMU's can run to pages.
MAX_WORDS = 500


def _codes(*names: str) -> frozenset[int]:
    """Return the numbers of these errors; a name that the installed libvirt does not know never occurs."""
    numbers = (getattr(libvirt, f"VIR_ERR_{name}", None) for name in names)
    return frozenset(number for number in numbers if number is not None)


# The connection is gone: what that means depends on whether something was begun.
_LOST = _codes("NO_CONNECT", "INVALID_CONN", "RPC", "GNUTLS_ERROR", "SSH", "LIBSSH")
# The host had no time for it and did nothing: try in a later round.
_BUSY = _codes("OPERATION_TIMEOUT", "RESOURCE_BUSY")
# The host began and did not see the end.
_OPEN = _codes("OPERATION_ABORTED", "AGENT_UNRESPONSIVE", "AGENT_COMMAND_TIMEOUT", "AGENT_COMMAND_FAILED")
# All others are the host's answer to what was asked, and it would give the same again: Refused.

# Why a connection cannot be opened that a later attempt would not mend.
_WRONG_ADDRESS = _codes(
    "INVALID_ARG",
    "AUTH_FAILED",
    "AUTH_CANCELLED",
    "AUTH_UNAVAILABLE",
    "ACCESS_DENIED",
    "NO_SUPPORT",
    "CONFIG_UNSUPPORTED",
)


def words(error: libvirt.libvirtError) -> str:
    """Return libvirt's own words on one line, cut to a readable length."""
    text = " ".join((error.get_error_message() or str(error)).split())
    return text if len(text) <= MAX_WORDS else f"{text[:MAX_WORDS]}…"


def code(error: libvirt.libvirtError) -> int:
    """Return libvirt's code; -1 where it gave none."""
    number = error.get_error_code()
    return -1 if number is None else int(number)


@contextmanager
def translated(attempt: Attempt, connection: "libvirt.virConnect") -> Iterator[None]:
    """Turn what libvirt raises, and answers that cannot be read, into a driver's three errors."""
    try:
        yield
    except libvirt.libvirtError as error:
        raise meaning(error, attempt, connection_lives=is_alive(connection)) from said(error)
    except ET.ParseError as error:
        raise Refused(f"cannot {attempt.what}: the host's answer is not XML") from error


def meaning(error: libvirt.libvirtError, attempt: Attempt, *, connection_lives: bool) -> DriverError:
    """Return what an error of libvirt means to the call it ended."""
    number = code(error)
    if number in _LOST or not connection_lives:
        return attempt.lost()
    if number in _BUSY:
        return Unavailable(f"cannot {attempt.what}: the host is busy with it")
    if number in _OPEN:
        return OutcomeUnknown(f"cannot tell whether to {attempt.what} worked")
    return Refused(f"cannot {attempt.what}: the host refused")


def cannot_connect(error: libvirt.libvirtError, what: str, url: str) -> DriverError:
    """Return what it means that a connection could not be opened."""
    message = f"cannot {what}: no connection to libvirt at {url}"
    if code(error) in _WRONG_ADDRESS:
        return Refused(message, remedy="check the node's VMM url and that this controller may log in there")
    return Unavailable(message)


def is_alive(connection: "libvirt.virConnect") -> bool:
    """Whether a connection is not known to be broken; asks nobody."""
    try:
        return bool(connection.isAlive() == 1)
    except libvirt.libvirtError:
        return False


class LibvirtSaid(Exception):
    """The cause of a driver's error, in libvirt's words and nothing else."""


def said(error: libvirt.libvirtError) -> LibvirtSaid:
    """Return libvirt's words as the cause of an error."""
    return LibvirtSaid(words(error))

"""Whether guests really run with KVM here: shown by one that ran, never by a device file or a list.

The guest has nothing but its firmware, which finds no disk and resets the machine;
the host is told to end it there.  A guest that ends in this way has executed some
millions of instructions from reset on.  One that is aborted, hangs or crawls has not.
"""

import queue
import time
from typing import Any

import libvirt

from metier.drivers.hypervisor.libvirt.attempt import Attempt
from metier.drivers.hypervisor.libvirt.configuration import Place
from metier.drivers.hypervisor.libvirt.events import Events, Line
from metier.drivers.hypervisor.libvirt.faults import code
from metier.drivers.hypervisor.libvirt.offer import knows_kvm, probe_xml

# Emulation takes about half a second for the same: hardware help that needs longer is none.
MAX_PROBE_S = 5.0


def runs_with_kvm(line: Line, attempt: Attempt, place: Place) -> bool:
    """Start the guest, see how it ends, and leave nothing behind.

    Raises:
        Unavailable: The deadline came before an answer.
    """
    if not knows_kvm(line.connection):
        return False
    return firmware_runs(line, attempt, probe_xml(place, "pc", accelerated=True))


def firmware_runs(line: Line, attempt: Attempt, xml: str, *, patience_s: float = MAX_PROBE_S) -> bool:
    """Whether the guest of `probe_xml` executes its firmware to the end within `patience_s` seconds."""
    # Listening begins before it starts: it may end sooner than the call that starts it returns.
    with line.listening() as events:
        attempt.check()
        try:
            guest = line.connection.createXML(xml, libvirt.VIR_DOMAIN_START_AUTODESTROY)
        except libvirt.libvirtError:
            return False  # such as QEMU aborting before the guest's first instruction
        try:
            return _reset_itself(guest.UUIDString(), events, attempt, time.monotonic() + patience_s)
        finally:
            _end(guest)


def _reset_itself(guest: str, events: Events, attempt: Attempt, until: float) -> bool:
    while (left_s := until - time.monotonic()) > 0:
        attempt.check()
        try:
            event = events.get(timeout=min(left_s, attempt.left_s))
        except queue.Empty:
            continue
        if event.guest == guest and event.kind == libvirt.VIR_DOMAIN_EVENT_STOPPED:
            return bool(event.detail == libvirt.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN)
    return False


def _end(guest: Any) -> None:
    try:
        guest.destroy()
    except libvirt.libvirtError as error:
        if code(error) != libvirt.VIR_ERR_NO_DOMAIN:
            raise

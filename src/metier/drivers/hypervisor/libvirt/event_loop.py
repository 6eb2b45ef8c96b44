"""libvirt's event loop: one daemon thread for the whole process, started with the first connection.

Keepalive and events need it; without it a dead remote host is never noticed.
"""

import threading

import libvirt

_lock = threading.Lock()
_thread: threading.Thread | None = None
# How long the loop rests when libvirt says that it cannot run, so that it does not spin.
_PAUSE_S = 1.0


def ensure_event_loop() -> None:
    """Make sure that the loop runs; must be called before a connection is opened."""
    global _thread  # noqa: PLW0603 - libvirt has one loop a process, so have we
    with _lock:
        if _thread is None:
            # Errors are raised as exceptions; libvirt would print them on standard error as well.
            libvirt.registerErrorHandler(lambda _context, _error: None, None)
            libvirt.virEventRegisterDefaultImpl()
            _thread = threading.Thread(target=_run, name="libvirt events", daemon=True)
            _thread.start()


def _run() -> None:
    rest = threading.Event()
    while True:
        try:
            libvirt.virEventRunDefaultImpl()
        except libvirt.libvirtError:
            rest.wait(_PAUSE_S)

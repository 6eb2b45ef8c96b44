"""What Metier asks of a power controller.

Calls are plain, blocking and idempotent, and raise only `Refused`,
`Unavailable` or `OutcomeUnknown`.  An `off` that returns proves nothing: the
loop believes `status` alone.
"""

from enum import StrEnum
from typing import ClassVar, Protocol, runtime_checkable

from metier.domain.observation import Power


class Capability(StrEnum):
    """What a power controller can do beyond on, off and status."""

    SHUTDOWN = "shutdown"


@runtime_checkable
class PowerController(Protocol):
    """What switches one physical node."""

    CAPABILITIES: ClassVar[frozenset[Capability]]

    def on(self, *, timeout_s: float) -> None:
        """Switch the node on; on already is fine."""

    def off(self, *, timeout_s: float) -> None:
        """Cut the node's power; off already is fine."""

    def status(self, *, timeout_s: float) -> Power:
        """Return what the controller sees; `unknown` when it answers neither on nor off."""

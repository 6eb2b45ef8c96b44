"""What the loop works with: drivers, matrix and personality, all passed in by `app.py`."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from metier.control.sealing import NO_VAULT, DeclaredSecrets, nothing_declared
from metier.domain.errors import Refusal
from metier.domain.fleet import Changes, Fleet
from metier.domain.ids import NodeId
from metier.domain.node import Endpoint, Node
from metier.domain.personality import Carried, Seed
from metier.domain.secret import Vault
from metier.drivers.collectors.api import Collector
from metier.drivers.hypervisor.api import Hypervisor
from metier.drivers.power.api import PowerController
from metier.matrix.api import Matrix
from metier.operations.registry import Row


class Drivers(Protocol):
    """Opened drivers, one per node and family, kept open between calls."""

    def hypervisor(self, host: Node) -> Hypervisor:
        """Return the VM manager of a host node."""

    def power(self, node: Node) -> PowerController:
        """Return the power controller of a physical node."""

    def collector(self, name: str) -> Collector:
        """Return a collector."""

    def visiting(self, endpoint: Endpoint) -> AbstractContextManager[Any]:
        """Open the VM manager of a host that is no node of ours, for as long as it is visited.

        Sealed settings are opened.  The context manager raises Refused on entry if it cannot be opened.
        """

    def notify(self, changed: Callable[[NodeId], None]) -> None:
        """Call `changed`, from any thread, when a host says that one of its VMs changed."""

    def forget(self, name: NodeId) -> None:
        """Close what is open for a node that was removed."""

    def close(self) -> None:
        """Close everything."""


class Personality(Protocol):
    """Makes a slot's seed disk."""

    def __call__(self, carried: Carried, /) -> Seed:
        """Return what the guest finds in its CD-ROM drive: the same for the same.

        Raises:
            Refusal: A template cannot be rendered with this node's values.
        """


Texts = Callable[[Sequence[Carried]], Sequence[Mapping[str, str]]]
"""Renders personalities: for each, what the guest gets, by the name of the text.

It raises WrongUsage, naming template, line and column, if one cannot be rendered.
"""


def no_texts(_: Sequence[Carried]) -> Sequence[Mapping[str, str]]:
    """Refuse: nothing that renders templates was put in."""
    raise Refusal(
        "this controller was put together without anything that renders personalities",
        remedy="ask a controller that serves a site",
    )


class Validate(Protocol):
    """Refuses what only the outside can judge, before anything is recorded."""

    def __call__(self, before: Fleet, changes: Changes) -> None:
        """Raise MetierError if the outside will not have what `changes` would make of `before`."""


class Guide(Protocol):
    """Tells what operators need to know before they name a driver or a server."""

    def drivers(self) -> Sequence[Row]:
        """Return every installed driver; see `Services`."""

    def certificate(self, url: str) -> Row:
        """Return what is seen of a server's certificate; see `Services`; raises MetierError."""


class NoGuide:
    """Knows no driver and reaches no server."""

    def drivers(self) -> Sequence[Row]:
        """Return nothing."""
        return ()

    def certificate(self, url: str) -> Row:
        """Refuse to look."""
        raise Refusal(
            f"this controller reaches no server, and none at {url}", remedy="ask one that serves a real site"
        )


NO_GUIDE = NoGuide()


@dataclass(frozen=True, slots=True)
class Tools:
    """Everything that reaches beyond the process.

    Attributes:
        vault: Seals secrets before they are recorded.
        secrets: Which settings of drivers are secrets.
    """

    drivers: Drivers
    matrix: Matrix
    personality: Personality
    validate: Validate
    texts: Texts = no_texts
    vault: Vault = NO_VAULT
    secrets: DeclaredSecrets = nothing_declared
    guide: Guide = NO_GUIDE

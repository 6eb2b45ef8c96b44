"""An estate with all that was found out about it, as the command shows it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metier.estate.fit import Nodes
from metier.estate.inventory import Estate, Inventory
from metier.estate.looking import looked_at
from metier.estate.rows import Row, by_name, summary_row, vm_row
from metier.estate.waves import Looked


@dataclass(frozen=True, slots=True)
class Survey:
    """An estate, and what was found out about each of its VMs.

    Attributes:
        nodes: None where no controller said which it has.
    """

    estate: Estate
    looked: Sequence[Looked]
    nodes: Nodes | None

    @classmethod
    def of(cls, inventory: Inventory, nodes: Sequence[Mapping[str, Any]] | None) -> "Survey":
        """Read an inventory and look at it; `nodes` are the rows of a controller's nodes.

        Raises:
            MetierError: It cannot be read; see `Inventory`.
        """
        found = inventory.read()
        return cls(found, looked_at(found), None if nodes is None else Nodes(nodes))

    def rows(self) -> list[Row]:
        """Return the row of each VM."""
        return [vm_row(one, self.nodes) for one in self.looked]

    def rows_of(self, name: str) -> list[Row]:
        """Return the rows of the VMs of a name; empty if there is none."""
        return [vm_row(one, self.nodes) for one in by_name(self.looked, name)]

    def summary(self) -> Row:
        """Return the estate in sum."""
        return summary_row(self.estate, self.looked)

    def in_one_line(self) -> str:
        """Say how many VMs are how far."""
        summed = self.summary()
        asked = "" if self.nodes is not None else "; no controller said where they would fit"
        return (
            f"{summed['vms']} VMs: {summed['ready']} ready, {summed['needs_work']} need work, "
            f"{summed['not_possible']} not possible{asked}; see `metier estate summary`"
        )

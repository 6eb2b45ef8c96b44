"""What a node has, what a tier or image needs, and how the two compare."""

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Hardware:
    """Facts about a node that allocation looks at.

    Attributes:
        memory_mib: Memory in MiB.
        cpus: Number of CPUs.
        disk_gib: Room for an instance's disk in GiB; 0 where none is offered.
        architecture: As `uname -m` says it.
        nics: Number of network interfaces.
        attributes: Free words set by operators, such as `ssd` or `rack=a`.
        networks: Names of the networks that its interfaces reach.
        image_forms: Forms of image it can run (`qcow2`, `vmdk`, `vmm-host`).
    """

    memory_mib: int
    cpus: int = 1
    disk_gib: int = 0
    architecture: str = "x86_64"
    nics: int = 1
    attributes: frozenset[str] = frozenset()
    networks: frozenset[str] = frozenset()
    image_forms: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Requirements:
    """What a node must have at least; zero and empty mean no requirement."""

    memory_mib: int = 0
    cpus: int = 0
    disk_gib: int = 0
    architecture: str = ""
    nics: int = 0
    attributes: frozenset[str] = frozenset()
    networks: frozenset[str] = frozenset()

    def joined_with(self, other: "Requirements") -> "Requirements":
        """Return what satisfies both; the other's architecture wins if both name one."""
        return Requirements(
            max(self.memory_mib, other.memory_mib),
            max(self.cpus, other.cpus),
            max(self.disk_gib, other.disk_gib),
            other.architecture or self.architecture,
            max(self.nics, other.nics),
            self.attributes | other.attributes,
            self.networks | other.networks,
        )


class Shortfall(NamedTuple):
    """One requirement that a node does not meet.

    Attributes:
        what: The requirement, such as `memory`.
        missing: What would have to be added, in words: `256 MiB more memory`.
        amount: The size of the gap, for choosing the nearest miss.
    """

    what: str
    missing: str
    amount: int


_NUMBERS = (
    ("memory_mib", "memory", " MiB"),
    ("cpus", "CPUs", ""),
    ("disk_gib", "disk", " GiB"),
    ("nics", "NICs", ""),
)
_WORDS = (("attributes", "attribute"), ("networks", "network"))


def shortfalls(needs: Requirements, has: Hardware) -> tuple[Shortfall, ...]:
    """Say everything that `has` lacks for `needs`; empty when it fits."""
    found = []
    for field, name, unit in _NUMBERS:
        gap = getattr(needs, field) - getattr(has, field)
        if gap > 0:
            found.append(Shortfall(name, f"{gap}{unit} more {name}", gap))
    if needs.architecture and needs.architecture != has.architecture:
        found.append(Shortfall("architecture", f"architecture {needs.architecture}", 1))
    for field, name in _WORDS:
        found += [
            Shortfall(name, f"{name} {word}", 1)
            for word in sorted(getattr(needs, field) - getattr(has, field))
        ]
    return tuple(found)


def surplus(needs: Requirements, has: Hardware) -> int:
    """Return the cost of spending `has` on `needs`: what it has too much of.

    In points: one per 64 MiB of memory, 16 per CPU, one per GiB of disk, four per
    NIC, 64 per attribute not asked for.  Lower is better; never negative when
    `shortfalls` is empty.  Source: the manual's least-cost choice (P21), in which
    every attribute makes a node dearer.
    """
    return (
        (has.memory_mib - needs.memory_mib) // 64
        + 16 * (has.cpus - needs.cpus)
        + (has.disk_gib - needs.disk_gib)
        + 4 * (has.nics - needs.nics)
        + 64 * len(has.attributes - needs.attributes)
    )

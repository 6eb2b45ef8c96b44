"""The options by which tiers and images say what a node must have."""

from dataclasses import dataclass, replace
from typing import Any

from metier.domain.hardware import Requirements
from metier.domain.ids import plain_name
from metier.operations.parsing import in_range, words
from metier.operations.registry import option

# Far beyond any machine of today; a number above it is a slip of the finger or of the unit.
_MEMORY_LIMIT_MIB = 1 << 27
_CPU_LIMIT = 1 << 16
_DISK_LIMIT_GIB = 1 << 20
_NIC_LIMIT = 1 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class RequirementOptions:
    """What a node must have at least; 0 or an empty word removes a requirement."""

    memory: int | None = option("memory that a node must have, in MiB; 0 for any", None, example="1024")
    cpus: int | None = option("CPUs that a node must have; 0 for any", None, example="2")
    disk: int | None = option("room for disks that a node must have, in GiB; 0 for any", None, example="20")
    nics: int | None = option("network interfaces that a node must have; 0 for any", None, example="2")
    architecture: str | None = option("architecture as `uname -m` says it", None, example="x86_64")
    attribute: tuple[str, ...] = option(
        "an attribute that a node must have; repeatable; an empty word removes all", (), example="ssd"
    )
    network: tuple[str, ...] = option(
        "a network that a node must reach; repeatable; an empty word removes all", (), example="default"
    )


def required(before: Requirements, given: RequirementOptions) -> Requirements:
    """Return `before` with what was given put in its place.

    Raises:
        WrongUsage: A number is out of its range, or a word cannot be one.
    """
    numbers = {
        "memory_mib": _number(given.memory, "memory in MiB", _MEMORY_LIMIT_MIB),
        "cpus": _number(given.cpus, "the number of CPUs", _CPU_LIMIT),
        "disk_gib": _number(given.disk, "disk in GiB", _DISK_LIMIT_GIB),
        "nics": _number(given.nics, "the number of NICs", _NIC_LIMIT),
    }
    known: dict[str, Any] = {name: value for name, value in numbers.items() if value is not None}
    after = replace(before, **known)
    if given.architecture is not None:
        architecture = plain_name(given.architecture, "CPU architecture") if given.architecture else ""
        after = replace(after, architecture=architecture)
    if given.attribute:
        after = replace(after, attributes=words(given.attribute, "an attribute"))
    if given.network:
        after = replace(after, networks=words(given.network, "a network"))
    return after


def _number(value: int | None, what: str, limit: int) -> int | None:
    return None if value is None else in_range(value, what, 0, limit)

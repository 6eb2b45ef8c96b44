"""Which of the nodes that exist could run an image, and why none could."""

from collections.abc import Sequence
from dataclasses import replace

from metier.domain.fleet import Fleet
from metier.domain.hardware import Hardware, Requirements, shortfalls
from metier.domain.ids import natural
from metier.domain.image import Image
from metier.domain.node import Node, NodeKind
from metier.operations.registry import Row

_GIB = 1 << 30

_NUMBERS = (
    ("memory_mib", "{} MiB"),
    ("disk_gib", "{} GiB of disk"),
    ("cpus", "{} CPUs"),
    ("nics", "{} NICs"),
)
_WORDS = (("attributes", "attribute"), ("networks", "network"))


def fit_row(fleet: Fleet, image: Image) -> Row:
    """Return how many of the nodes that exist can run an image, and what keeps all of them from it."""
    needs, kind = needs_of(image), _kind(image)
    fitting = [node for node, hardware in _known(fleet, kind) if not shortfalls(needs, hardware)]
    return {"fits": len(fitting), "doubts": doubts(fleet, needs, kind)}


def needs_of(image: Image) -> Requirements:
    """Return what an image requires of a node; its disks have to fit, grown to their full size."""
    if image.machine is None:
        return image.requirements
    capacity = sum(disk.capacity_bytes for disk in image.machine.disks)
    return replace(
        image.requirements, disk_gib=max(image.requirements.disk_gib, -(-capacity // _GIB) if capacity else 0)
    )


def doubts(fleet: Fleet, needs: Requirements, kind: NodeKind = NodeKind.VIRTUAL) -> list[str]:
    """Say why no node that exists can run what needs so much; empty if one can, busy or not."""
    known = _known(fleet, kind)
    if not known:
        return [f"there is no {kind} node yet that could run it"]
    if any(not shortfalls(needs, hardware) for _, hardware in known):
        return []
    return _short_of_all(needs, known, kind) or [_never_together(needs, known, kind)]


def _kind(image: Image) -> NodeKind:
    return NodeKind.PHYSICAL if image.is_host_image else NodeKind.VIRTUAL


def _known(fleet: Fleet, kind: NodeKind) -> list[tuple[Node, Hardware]]:
    found = [
        (node, node.hardware)
        for node in fleet.nodes.values()
        if node.kind is kind and node.hardware is not None
    ]
    return sorted(found, key=lambda pair: natural(pair[0].name))


def _short_of_all(needs: Requirements, known: Sequence[tuple[Node, Hardware]], kind: NodeKind) -> list[str]:
    """Name every single thing that not one of the nodes has."""
    found = []
    for field, words in _NUMBERS:
        wanted = getattr(needs, field)
        node, hardware = max(known, key=lambda pair: int(getattr(pair[1], field)))
        most = getattr(hardware, field)
        if most < wanted:
            found.append(f"no {kind} node has {words.format(wanted)}; the largest, {node.name}, has {most}")
    if needs.architecture and all(hardware.architecture != needs.architecture for _, hardware in known):
        found.append(f"no {kind} node has architecture {needs.architecture}")
    for field, name in _WORDS:
        found += [
            f"no {kind} node has {name} {word}"
            for word in sorted(getattr(needs, field))
            if all(word not in getattr(hardware, field) for _, hardware in known)
        ]
    return found


def _never_together(needs: Requirements, known: Sequence[tuple[Node, Hardware]], kind: NodeKind) -> str:
    node, hardware = min(known, key=lambda pair: len(shortfalls(needs, pair[1])))
    missing = ", ".join(gap.missing for gap in shortfalls(needs, hardware))
    return f"no {kind} node has all it needs; the nearest, {node.name}, would need {missing}"

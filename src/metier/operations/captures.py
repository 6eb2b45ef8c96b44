"""Captures under way: what they copy must neither run nor go meanwhile."""

from metier.domain.errors import Refusal
from metier.domain.fleet import Fleet
from metier.domain.job import Job
from metier.domain.node import Node
from metier.operations.records import live_jobs

KIND = "image-capture"


def capture_at(fleet: Fleet, node: Node) -> Job | None:
    """Return the job that copies the disks of a node, or is about to."""
    return next((job for job in _captures(fleet) if job.arguments.get("node") == node.name), None)


def refuse_while_captured(fleet: Fleet, node: Node, verb: str) -> None:
    """Raise Refusal while a node is being captured: its disks must stay as they are."""
    job = capture_at(fleet, node)
    if job is not None:
        raise Refusal(
            f"cannot {verb} node {node.name}: job {job.id} captures its disks as image {job.subject}",
            remedy=f"wait for it, or cancel it: `metier job cancel {job.id}`",
        )


def capture_warnings(fleet: Fleet, host: Node) -> list[str]:
    """Return one warning for each capture that fails if `host` goes down."""
    found = ((node, capture_at(fleet, node)) for node in fleet.virtual_nodes(host.name))
    return [
        f"{node.name} is being captured as image {job.subject} by job {job.id}, which fails"
        for node, job in found
        if job is not None
    ]


def _captures(fleet: Fleet) -> list[Job]:
    return [job for job in live_jobs(fleet) if job.kind == KIND]

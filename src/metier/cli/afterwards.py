"""What is shown, and fetched, once the jobs that a command began are done."""

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from metier.cli.client import Client, Request
from metier.cli.failure import Failure
from metier.cli.output import emit, printable
from metier.cli.receiving import receive, targets, written
from metier.cli.session import Session, warn
from metier.cli.waiting import Progress
from metier.operations.paths import ROOT, NewFile

if TYPE_CHECKING:
    from metier.operations.registry import Operation

# What these begin is of no use before it has ended.
_FINDING = ("image diff", "image inspect")
_MAKING = ("image-import", "image-capture")


def new_file(operation: "Operation") -> bool:
    """Say whether an operation writes the file that it is told."""
    return any(part.name == "file" and part.type is NewFile for part in operation.arguments)


def is_waited_for(operation: "Operation", client: Client) -> bool:
    """Say whether a command waits for its job though nobody said so."""
    return operation.key in _FINDING or (new_file(operation) and not client.is_local)


def is_finding(operation: "Operation") -> bool:
    """Say whether it is the job's result that a command shows."""
    return operation.key in _FINDING


def tell_doubts(client: Client, jobs: Iterable[Mapping[str, Any]], told: Iterable[str]) -> None:
    """Warn of what keeps every node from running an image that was made, unless that was told before."""
    known = set(told)
    for job in jobs:
        if job.get("kind") in _MAKING:
            where = f"{ROOT}/images/{quote(str(job['subject']), safe='@')}"
            with contextlib.suppress(Failure):  # it may be gone already; it was made all the same
                doubts = client.ask(Request("GET", where)).value.get("doubts") or ()
                warn([doubt for doubt in doubts if doubt not in known])


def check_target(target: Path) -> None:
    """Refuse a file that cannot be written, before anything is begun for it."""
    if not target.parent.is_dir():
        raise Failure(f"cannot write {target}: there is no folder {target.parent}", remedy="make it first")
    for path in targets(target, 1):
        if path.is_symlink() or path.exists():
            raise Failure(f"cannot write {path}: there is such a file", remedy="name another file")


def take_home(
    session: Session, client: Client, jobs: Iterable[Mapping[str, Any]], target: Path | None, form: str
) -> None:
    """Fetch what exports wrote for us; where the controller wrote it in its place, say so."""
    progress = Progress(shown=session.verbose)
    for job in jobs:
        paths: list[Any] = list((job.get("result") or {}).get("files") or ())
        if target is not None:
            try:
                paths = list(receive(client, job, target, progress))
            finally:
                progress.end()
        if form == "table":
            emit(printable(written(paths)))

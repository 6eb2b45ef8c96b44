"""Puts a controller together from its parts; imports everything, imported by nothing."""

import os
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import structlog

from metier.control.loop import Loop
from metier.control.tools import Tools
from metier.control.world import SystemClock
from metier.domain.errors import Refusal
from metier.domain.fleet import Changes, Fleet, Kind
from metier.domain.job import JobState
from metier.domain.node import Node
from metier.drivers.book import DriverBook
from metier.drivers.registry import check_settings, load_driver
from metier.matrix.folder_matrix import FolderMatrix
from metier.matrix.seed import nocloud_seed
from metier.operations import load_operations
from metier.operations.registry import OPERATIONS
from metier.store.backup import restore as restore_store
from metier.store.open import open_store
from metier.web.app import Parts, build_app
from metier.web.identity import TokenFile
from metier.web.server import Listen
from metier.web.server import serve as serve_api

MATRIX = "images"
"""The image matrix's folder in the state folder; a symbolic link to another file system is fine."""

UPLOADS = "uploads"
TOKENS = "tokens.json"

log = structlog.get_logger()


def serve(state: Path, listen: Listen | None = None) -> None:
    """Run a controller on `state` until SIGTERM or SIGINT.

    Raises:
        Refusal: Another controller runs there, or its state cannot be used.
    """
    load_operations()
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    loop = Loop(
        open_store(database(state)),
        _tools(state),
        SystemClock(),
        holder=f"the controller on {state}",
        lost=_end_process,
    )
    loop.start()
    try:
        tokens = TokenFile(state / TOKENS)
        parts = Parts(
            OPERATIONS,
            uploads=state / UPLOADS,
            tokens=tokens,
            figures=loop.figures,
            is_ready=loop.is_ready,
        )
        serve_api(build_app(loop, tokens.authenticate, parts), state, listen or Listen())
    finally:
        loop.stop()


def database(state: Path) -> str | Path:
    """Return where the store is: `METIER_DATABASE`, or the state folder."""
    return os.environ.get("METIER_DATABASE") or state


def backup(state: Path, out: BinaryIO) -> None:
    """Write a consistent copy of everything kept for `state`; a controller may run meanwhile."""
    store = open_store(database(state))
    try:
        out.writelines(store.backup())
    finally:
        store.close()


def restore(state: Path, source: BinaryIO) -> None:
    """Fill the empty state of `state` from a backup.

    Raises:
        Refusal: It is not empty, a controller runs on it, or the backup is damaged.
    """
    restore_store(database(state), source)


def _tools(state: Path) -> Tools:
    return Tools(DriverBook(), FolderMatrix(state / MATRIX), nocloud_seed, validate)


def validate(before: Fleet, changes: Changes) -> None:
    """Refuse what only the outside can judge: driver settings, and archives that are not there."""
    for name, node in changes.get(Kind.NODE, {}).items():
        if node is not None:
            _check_drivers(before.nodes.get(name), node)
    for kind in (Kind.TIER, Kind.IMAGE):
        for record in changes.get(kind, {}).values():
            _check_collectors(spec.collector for spec in (record.collectors if record else None) or ())
    for job in changes.get(Kind.JOB, {}).values():
        _check_collectors(spec["collector"] for spec in job.arguments.get("collectors", ()))
        archive = Path(str(job.arguments.get("archive", ".")))
        if job.state is JobState.QUEUED and not archive.exists():
            raise Refusal(f"cannot import {archive}: there is no such file", remedy="name the archive's path")


def _check_collectors(names: Iterable[str]) -> None:
    """Raise WrongUsage for a collector that is not installed: its guests would never count as healthy."""
    for name in names:
        load_driver("collector", name)


def _check_drivers(before: Node | None, node: Node) -> None:
    if node.vmm is not None and (before is None or before.vmm != node.vmm):
        check_settings("hypervisor", node.vmm.driver, node.vmm.settings)
    if node.power is not None and (before is None or before.power != node.power):
        check_settings("power", node.power.driver, node.power.settings)


def _end_process() -> None:
    """Stop as if told to: the server ends in order, and with it the process."""
    log.critical("another controller took over; this one ends")
    os.kill(os.getpid(), signal.SIGTERM)

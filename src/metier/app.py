"""Puts a controller together from its parts; imports everything, imported by nothing."""

import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import structlog
from fastapi import FastAPI

from metier.cli.inprocess import Console, Line
from metier.control.loop import Loop
from metier.control.matrix_sight import LowSpace
from metier.control.sealing import NO_VAULT, login_of
from metier.control.tools import Tools
from metier.control.world import Clock, SteadyClock, SystemClock
from metier.domain.errors import Refusal
from metier.domain.fleet import Changes, Fleet, Kind
from metier.domain.job import Job, JobState
from metier.domain.node import Endpoint, Node
from metier.domain.secret import Vault
from metier.domain.url import is_url
from metier.drivers.book import DriverBook, SealedForGood, opened
from metier.drivers.guide import InstalledDrivers
from metier.drivers.registry import check_settings, load_driver, secrets_of
from metier.matrix.folder_matrix import FolderMatrix
from metier.matrix.seeds.making import check_personalities, make_seed, texts_of
from metier.matrix.settings import MatrixSettings, read_settings
from metier.operations import load_operations
from metier.operations.registry import OPERATIONS
from metier.sim.folder import is_simulated, refuse_simulated, simulated_folder
from metier.sim.forecast import forecast_within
from metier.sim.live import LiveSite
from metier.sim.opening import begin_site
from metier.sim.rehearsal import Means, Rehearsal
from metier.sim.relay import Relay
from metier.store.backup import restore as restore_store
from metier.store.journal_file import read_journal
from metier.store.open import open_store
from metier.store.site_file import dump_site
from metier.store.vault import FileVault
from metier.web.app import Parts, build_app
from metier.web.identity import TokenFile
from metier.web.server import Listen
from metier.web.server import serve as serve_api

MATRIX = "images"
"""The image matrix's folder in the state folder; a symbolic link to another file system is fine."""

# The extents of a few of the largest split disks, and what else there is.
_FILES = 65_536

UPLOADS = "uploads"
TOKENS = "tokens.json"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Simulated:
    """A simulated site that is to be served.

    Attributes:
        site: An exported site to begin with; None for the sample.
        hosts: How many hosts the sample has, 2 to 1000.
        speed: How many seconds pass there in each real one.
        folder: Its state folder; None for one that is removed at the end.
    """

    site: Path | None = None
    hosts: int | None = None
    speed: float = 1.0
    folder: Path | None = None


def serve(state: Path, listen: Listen | None = None) -> None:
    """Run a controller on `state` until SIGTERM or SIGINT.

    Raises:
        Refusal: Another controller runs there, or its state cannot be used.
    """
    load_operations()
    _log_plainly()
    _allow_many_files()
    refuse_simulated(state)
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    clock = SystemClock()
    holder = f"the controller on {state}"
    matrix = read_settings(state)
    store, tools = open_store(database(state)), _tools(state, matrix)
    foresee = forecast_within(clock)
    low = LowSpace(matrix.low_space_percent, matrix.low_space_gib << 30)
    loop = Loop(
        store, tools, clock, holder=holder, lost=_end_process, foresee=foresee, dump=dump_site, low=low
    )
    loop.start()
    try:
        _serve_api(loop, clock, state, listen)
    finally:
        loop.stop()


def serve_simulated(
    what: Simulated, listen: Listen | None, tell: Callable[[Path, Fleet], None] = lambda _state, _fleet: None
) -> None:
    """Run a controller of a simulated site until SIGTERM or SIGINT; nothing real is touched.

    Args:
        what: Which site, and how fast its time passes.
        listen: Where to serve besides the state folder's socket.
        tell: Called with the state folder and what is known at the start, just before it serves.

    Raises:
        Refusal: The state folder is not a simulated site's, or another controller runs there.
        WrongUsage: The exported site cannot be read.
    """
    load_operations()
    _log_plainly()
    _end_in_order()
    with simulated_folder(what.folder) as state:
        store = open_store(state)
        fleet, moment = begin_site(store, state, what.site, what.hosts)
        clock = SteadyClock(moment, what.speed)
        site = LiveSite(fleet, clock)
        holder = f"the simulated controller on {state}"
        guide = InstalledDrivers(is_simulated=True)
        tools = replace(site.tools(validate_simulated), texts=texts_of, secrets=secrets_of, guide=guide)
        loop = Loop(
            store,
            tools,
            clock,
            holder=holder,
            lost=_end_process,
            make_pool=site.make_pool,
            foresee=forecast_within(clock),
            dump=dump_site,
        )
        loop.start()
        try:
            _serve_api(loop, clock, state, listen, site, lambda: tell(state, fleet))
        finally:
            _end_in_order()
            loop.stop()
            site.close()


def _serve_api(
    loop: Loop,
    clock: Clock,
    state: Path,
    listen: Listen | None,
    site: LiveSite | None = None,
    tell: Callable[[], None] = lambda: None,
) -> None:
    tokens = TokenFile(state / TOKENS)
    parts = Parts(
        OPERATIONS,
        uploads=state / UPLOADS,
        tokens=tokens,
        faults=site,
        clock=clock.now,
        figures=loop.figures,
        is_ready=loop.is_ready,
    )
    api = build_app(loop, tokens.authenticate, parts)
    tell()  # it takes a while to build, and nothing to be reached from then on
    serve_api(api, state, listen or Listen())


def database(state: Path) -> str | Path:
    """Return where the store is: `METIER_DATABASE`, or the state folder; always that if it is simulated."""
    named = None if is_simulated(state) else os.environ.get("METIER_DATABASE")
    return named or state


def rehearsal(site: str, name: str) -> Rehearsal:
    """Return what lets scenarios happen to an exported site, in memory and virtual time.

    Args:
        site: The exported site's text.
        name: What the operator calls it, for messages.
    """
    load_operations()
    return Rehearsal(site, name, Means(_console, read_journal))


def _console(relay: Relay, folder: Path) -> Console:
    """Return an operator's console for a simulation; files that commands name are in `folder`."""

    @cache
    def api() -> FastAPI:  # only once somebody types: building it takes longer than most simulations
        return build_app(relay, lambda _: None, Parts(OPERATIONS, clock=relay.now))

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        await api()(scope, receive, send)

    return Console(Line(answer, relay.pass_s, relay.is_up, folder=folder))


def backup(state: Path, out: BinaryIO) -> Path | None:
    """Write a consistent copy of everything kept for `state`; a controller may run meanwhile.

    Returns the key that opens the secrets in it, and that is not in it; None if there is none.
    """
    store = open_store(database(state))
    try:
        out.writelines(store.backup())
    finally:
        store.close()
    key = FileVault(state).path
    return key if key.exists() else None


def restore(state: Path, source: BinaryIO) -> None:
    """Fill the empty state of `state` from a backup.

    Raises:
        Refusal: It is not empty, a controller runs on it, or the backup is damaged.
    """
    restore_store(database(state), source)


def _tools(state: Path, settings: MatrixSettings) -> Tools:
    matrix = FolderMatrix(state / MATRIX, others=settings.folders)
    vault = FileVault(state)
    return Tools(
        DriverBook(vault),
        matrix,
        make_seed,
        lambda before, changes: validate(before, changes, vault),
        texts_of,
        vault,
        secrets_of,
        InstalledDrivers(),
    )


def validate(before: Fleet, changes: Changes, vault: Vault = NO_VAULT) -> None:
    """Refuse what only the outside can judge: driver settings, and archives that are not there."""
    for name, node in changes.get(Kind.NODE, {}).items():
        if node is not None:
            _check_drivers(before.nodes.get(name), node, vault)
    validate_simulated(before, changes)
    for job in changes.get(Kind.JOB, {}).values():
        if job is not None and job.state is JobState.QUEUED:
            _check_paths(job)
            login = login_of(job.arguments)
            if login is not None:
                _check_endpoint("hypervisor", login, vault)


def _check_paths(job: Job) -> None:
    """Refuse a job that would read what is not there, or write where no folder is."""
    location, target = job.arguments.get("location"), job.arguments.get("target")
    if isinstance(location, str) and not is_url(location) and not Path(location).exists():
        raise Refusal(f"cannot import {location}: there is no such file", remedy="name the file's path")
    if isinstance(target, str) and not Path(target).parent.is_dir():
        raise Refusal(
            f"cannot write {target}: there is no folder {Path(target).parent}",
            remedy="make it, or name another place",
        )


def validate_simulated(before: Fleet, changes: Changes) -> None:
    """Refuse collectors that no site would know, and personalities that cannot be rendered.

    Machines and archives are whatever they are called.
    """
    check_personalities(before, changes)
    for kind in (Kind.TIER, Kind.IMAGE):
        for record in changes.get(kind, {}).values():
            _check_collectors(spec.collector for spec in (record.collectors if record else None) or ())
    for job in changes.get(Kind.JOB, {}).values():
        _check_collectors(spec["collector"] for spec in job.arguments.get("collectors", ()))


def _check_collectors(names: Iterable[str]) -> None:
    """Raise WrongUsage for a collector that is not installed: its guests would never count as healthy."""
    for name in names:
        load_driver("collector", name)


def _check_drivers(before: Node | None, node: Node, vault: Vault) -> None:
    if node.vmm is not None and (before is None or before.vmm != node.vmm):
        _check_endpoint("hypervisor", node.vmm, vault)
    if node.power is not None and (before is None or before.power != node.power):
        _check_endpoint("power", node.power, vault)


def _check_endpoint(family: str, endpoint: Endpoint, vault: Vault) -> None:
    try:
        settings = opened(endpoint.settings, vault)
    except SealedForGood as error:
        raise Refusal(
            f"cannot check the settings of driver {endpoint.driver}",
            remedy=f"give {error.setting} again, too",
        ) from error
    check_settings(family, endpoint.driver, settings)


def _log_plainly() -> None:
    """Let traces in the log show lines of code alone: their frames may hold an order with a secret."""
    *usual, _ = structlog.get_config()["processors"]
    colors = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    renderer = structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*usual, renderer])


def _allow_many_files() -> None:
    """Let this process open many files: a split disk has thousands, all open at once."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _end_process() -> None:
    """Stop as if told to: the server ends in order, and with it the process."""
    log.critical("another controller took over; this one ends")
    os.kill(os.getpid(), signal.SIGTERM)


def _end_in_order() -> None:
    """Let SIGTERM end the process as an exception does while no server minds it: what was made is removed."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

"""A private PostgreSQL server for the tests that want one.

It is made of the machine's own PostgreSQL programs, in a temporary folder, reachable by a unix socket
only, and it ends with the tests.  Each xdist worker that needs a server starts one.
"""

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import quote

import psycopg
import pytest

# Root may not run PostgreSQL; Debian's packages make this user for it.
UNPRIVILEGED_USER = "postgres"
DATABASE_USER = "metier"

# A loaded machine with two cores has needed up to 5 s.
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0

# Nothing here outlives the tests, so nothing waits for the disk.
SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "shared_buffers": "16MB",
    "max_connections": "50",
    "log_min_messages": "warning",
    "timezone": "UTC",
}


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A running server, by the folder that holds its socket."""

    socket_folder: Path

    def url(self, database: str) -> str:
        """Return where a database is, in the form that METIER_DATABASE takes."""
        return f"postgresql://{DATABASE_USER}@/{database}?host={quote(str(self.socket_folder), safe='')}"

    def execute(self, statement: str) -> None:
        """Run one statement outside of any transaction, as CREATE DATABASE wants."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement)


def find_programs() -> Path | None:
    """Return the folder of the newest PostgreSQL server programs, or None where there are none."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if found:
        return max(found, key=lambda folder: int(folder.parent.name))
    elsewhere = shutil.which("initdb")
    return Path(elsewhere).resolve().parent if elsewhere else None


def unprivileged(*options: str) -> list[str]:
    """Return how a command line begins that must not run as root."""
    if os.geteuid() != 0:
        return ["setpriv", *options]
    return [
        "setpriv",
        f"--reuid={UNPRIVILEGED_USER}",
        f"--regid={UNPRIVILEGED_USER}",
        "--clear-groups",
        *options,
    ]


def make_cluster(programs: Path, folder: Path) -> Path:
    """Create the server's files below `folder` and return where they are."""
    if os.geteuid() == 0:
        shutil.chown(folder, UNPRIVILEGED_USER, UNPRIVILEGED_USER)
    data = folder / "data"
    options = ["--auth=trust", f"--username={DATABASE_USER}", "--encoding=UTF8", "--locale=C", "--no-sync"]
    made = subprocess.run(
        [*unprivileged(), programs / "initdb", "-D", data, *options],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, f"initdb failed:\n{made.stdout}{made.stderr}"
    return data


def start(programs: Path, folder: Path, data: Path) -> subprocess.Popen[str]:
    """Start the server and return once it accepts connections."""
    settings = [f"--{name}={value}" for name, value in SETTINGS.items()]
    process = subprocess.Popen(
        # setpriv becomes the server, which is told to stop should the test process die.
        [*unprivileged("--pdeathsig=INT"), programs / "postgres", "-D", data, "-k", folder, *settings],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    ready = threading.Event()
    log: list[str] = []
    threading.Thread(target=follow, args=(process.stderr, log, ready), daemon=True).start()
    if not ready.wait(START_TIMEOUT_S) or process.poll() is not None:
        process.kill()
        pytest.fail("the private PostgreSQL server did not start:\n" + "".join(log))
    return process


def follow(stream: IO[str], log: list[str], ready: threading.Event) -> None:
    """Read the server's log to its end, and tell when it is ready or has given up."""
    with stream:
        for line in stream:
            log.append(line)
            if "ready to accept connections" in line:
                ready.set()
    ready.set()


def stop(process: subprocess.Popen[str]) -> None:
    """Stop the server by its own process, without waiting for clients to leave."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server of this test process alone."""
    programs = find_programs()
    if programs is None:
        if os.environ.get("METIER_SKIP_POSTGRES"):
            pytest.skip("PostgreSQL is not installed, and METIER_SKIP_POSTGRES is set")
        pytest.fail("PostgreSQL is not installed; run 'make test', or set METIER_SKIP_POSTGRES=1 to skip")
    # Not pytest's own temporary folder: the path of a socket has at most 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="metier-postgres-"))
    try:
        process = start(programs, folder, make_cluster(programs, folder))
        try:
            yield PostgresServer(folder)
        finally:
            stop(process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


_numbers = itertools.count(1)


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of a fresh, empty database."""
    database = f"test_{next(_numbers)}"
    postgres_server.execute(f'CREATE DATABASE "{database}"')
    yield postgres_server.url(database)
    postgres_server.execute(f'DROP DATABASE "{database}" WITH (FORCE)')

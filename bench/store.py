"""The store on SQLite against its floors: parsing the same bytes, and a bare insert, in the same run.

The floors check nothing, make no objects, write no journal and fence off nobody; the store does.
"""

import gc
import json
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from metier.domain.fleet import Changes, Kind
from metier.domain.hardware import Hardware
from metier.domain.ids import ImageRef, NodeId, SlotId, TierId
from metier.domain.lifecycle import Lifecycle
from metier.domain.node import Instance, Node, NodeKind, Place, Placement
from metier.domain.observation import Observed, Power
from metier.domain.tier import Slot
from metier.store.api import Entry
from metier.store.open import open_store
from metier.store.sql import SqlStore

_NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
_TIER = TierId("web")
_LOADS, _SAVES = 5, 300


def run(nodes: int = 10_000) -> list[dict[str, Any]]:
    """Return a row for loading `nodes` nodes, each in a slot and observed, and one for saving a change."""
    with tempfile.TemporaryDirectory(prefix="metier-bench-") as name:
        folder = Path(name)
        with closing(open_store(folder / "state")) as store:
            store.hold("bench")
            store.save(_site(nodes), 1, [])
            return [_load(store, folder, nodes), _save(store, folder)]


def _site(nodes: int) -> Changes:
    guests = [_guest(number) for number in range(nodes)]
    seen = Observed(Power.ON, _NOW, address="192.0.2.7", health_at=_NOW)
    slots = [Slot(SlotId(_TIER, number + 1), guest.name) for number, guest in enumerate(guests)]
    return {
        Kind.NODE: {guest.name: guest for guest in guests},
        Kind.SLOT: {slot.id: slot for slot in slots},
        Kind.OBSERVED: {guest.name: seen for guest in guests},
    }


def _guest(number: int) -> Node:
    host = NodeId(f"host-{number // 8}")
    return Node(
        NodeId(f"{host}/VM{number % 8 + 1}"),
        NodeKind.VIRTUAL,
        Placement(Place.TIER, _TIER, number + 1),
        Lifecycle.RUNNING,
        hardware=Hardware(2048, 2, 20, networks=frozenset({"default"}), image_forms=frozenset({"qcow2"})),
        host=host,
        vm_number=number % 8 + 1,
        power_ip="192.0.2.1",
        instance=Instance(
            id=f"web-{number}-1", image=ImageRef("web", "1"), store=host, slot=SlotId(_TIER, number + 1)
        ),
        since=_NOW,
    )


def _load(store: SqlStore, folder: Path, nodes: int) -> dict[str, Any]:
    with closing(sqlite3.connect(folder / "state" / "metier.db")) as plain:
        bodies = [
            body
            for table in ("intent", "observation")
            for (body,) in plain.execute(f"SELECT body FROM {table}")  # noqa: S608 - two names of ours
        ]
    text = "[" + ",".join(bodies) + "]"
    floor, ours = [], []
    for _ in range(_LOADS):
        gc.collect()
        # Seconds of processor, because neither waits for anything; interleaved all the same.
        floor.append(_timed(lambda: json.loads(text))[1])
        ours.append(_timed(store.load)[1])
    return {
        "bench": "store",
        "case": f"load {nodes} nodes ({len(bodies)} records, {len(text) / 1e6:.1f} MB)",
        "peer": "json.loads of the same bytes",
        "peer_s": round(min(floor), 4),
        "ours_s": round(min(ours), 4),
        "ratio": round(min(ours) / min(floor), 1),
        "limit": 15.0,
        "limit_s": nodes / 10_000,
    }


def _save(store: SqlStore, folder: Path) -> dict[str, Any]:
    guest = _guest(0)
    entry = Entry(_NOW, "outcome", guest.name, "its services answered", "R-ALLOC-1")
    body = json.dumps({"name": guest.name, "filler": "x" * 450})
    floor, ours = [], []
    with closing(_plain(folder / "floor.db")) as plain:

        def bare() -> None:
            plain.execute("BEGIN IMMEDIATE")
            plain.execute("INSERT OR REPLACE INTO intent VALUES ('node', ?, 1, ?)", (guest.name, body))
            plain.execute("COMMIT")

        for generation in range(2, _SAVES + 2):
            changes: Changes = {Kind.NODE: {guest.name: replace(guest, generation=generation)}}
            floor.append(_timed(bare))
            ours.append(_timed(partial(store.save, changes, generation, [entry])))
    (peer_s, peer_cpu_s), (ours_s, ours_cpu_s) = (
        map(median, zip(*times, strict=True)) for times in (floor, ours)
    )
    return {
        "bench": "store",
        "case": "save one changed node with a journal entry, synchronised with the disk",
        "peer": "one bare insert into SQLite, synchronised likewise",
        "peer_s": round(peer_s, 6),
        "ours_s": round(ours_s, 6),
        "ratio": round(ours_s / peer_s, 2),
        "limit": 3.0,
        "peer_cpu_s": round(peer_cpu_s, 6),
        "ours_cpu_s": round(ours_cpu_s, 6),
        "limit_cpu_s": 0.001,
    }


def _plain(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL").close()
    connection.execute("PRAGMA synchronous = FULL").close()
    connection.execute(
        "CREATE TABLE intent (kind TEXT, key TEXT, generation INTEGER, body TEXT, PRIMARY KEY (kind, key))"
    )
    return connection


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds, and the seconds of processor, that `work` takes."""
    gc.disable()  # as the store does while it loads, so that the floor gets the same
    start, start_cpu = time.perf_counter(), time.process_time()
    kept = work()
    seconds, cpu_s = time.perf_counter() - start, time.process_time() - start_cpu
    gc.enable()
    del kept  # what it made is thrown away outside of what is measured
    return seconds, cpu_s


if __name__ == "__main__":
    for row in run(*map(int, sys.argv[1:])):
        print(json.dumps(row))

"""How a simulated site that is served begins: from the sample, an exported site, or where it stopped."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from metier.control.world import wall_time
from metier.domain.errors import Refusal, WrongUsage
from metier.domain.fleet import Fleet
from metier.sim.sample import HOSTS, sample_site
from metier.store.api import Entry, Store
from metier.store.site_file import read_site

_REMEDY = "name a file that `metier export-site --out FILE` wrote"

_MOST_BYTES = 1 << 30
"""An exported site of 100,000 nodes takes about a tenth of it."""


def begin_site(store: Store, state: Path, exported: Path | None, hosts: int | None) -> tuple[Fleet, datetime]:
    """Return what is known of a site and the time it has, once both are in its store.

    A site that the store remembers goes on when it stopped: no time passes while nobody
    serves it.  An exported one begins when it was exported, and the sample now.

    Raises:
        Refusal: The store remembers a site, and another one was asked for; or it is held.
        WrongUsage: The exported site cannot be read.
    """
    fleet, last = store.load(), store.journal_tail(limit=1)
    if fleet.generation or last:
        if exported is not None or hosts is not None:
            raise Refusal(
                f"cannot begin another site in {state}: it remembers one already",
                remedy="go on with it, without FILE and --hosts, or name a new folder",
            )
        return fleet, last_moment(fleet, last)
    fleet, moment, entries = _exported(exported) if exported is not None else _sample(hosts)
    store.hold("the beginning of a simulated site")
    try:
        store.save(fleet.records(), fleet.generation, entries)
    finally:
        store.release()
    return fleet, moment


def last_moment(fleet: Fleet, entries: Sequence[Entry]) -> datetime:
    """Return the latest moment that anything in a store tells of."""
    return max([*(entry.at for entry in entries), *_moments(fleet)], default=wall_time())


def _moments(fleet: Fleet) -> Iterator[datetime]:
    for seen in fleet.observed.values():
        yield from filter(None, (seen.power_at, seen.vmm_at, seen.vms_at, seen.health_at))
    for node in fleet.nodes.values():
        yield from filter(None, (node.since, node.started_at, node.staged_at))


def _sample(hosts: int | None) -> tuple[Fleet, datetime, Sequence[Entry]]:
    now = wall_time()
    return sample_site(now, hosts or HOSTS), now, ()


def _exported(path: Path) -> tuple[Fleet, datetime, Sequence[Entry]]:
    try:
        with path.open("rb") as file:
            raw = file.read(_MOST_BYTES + 1)
        text = raw.decode()
    except OSError as error:
        raise WrongUsage(f"cannot read {path}: {error.strerror}", remedy=_REMEDY) from None
    except UnicodeDecodeError as error:
        raise WrongUsage(f"cannot read {path} as text in UTF-8", remedy=_REMEDY) from error
    if len(raw) > _MOST_BYTES:
        raise WrongUsage(f"cannot read {path}: it is larger than {_MOST_BYTES} bytes", remedy=_REMEDY)
    site = read_site(text, str(path))
    return site.fleet, site.exported, site.entries

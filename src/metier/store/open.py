"""Opening a store by where it is."""

from pathlib import Path

from metier.domain.errors import WrongUsage
from metier.store.holder import Clock, wall_clock
from metier.store.postgres import open_url
from metier.store.schema import OURS, Schema
from metier.store.sql import SqlStore
from metier.store.sqlite import open_folder


def open_store(where: str | Path, *, clock: Clock = wall_clock, schema: Schema = OURS) -> SqlStore:
    """Open the store of a site, made or migrated first if need be.

    Args:
        where: The state folder, or `postgresql://USER:PASSWORD@HOST/DATABASE`.
        clock: For the `since` in messages about who holds it.
        schema: Other than ours in tests only.

    Raises:
        Refusal: It is damaged, another program's, from a newer Metier, or out of reach.
        NoSpace: The disk is full.
        WrongUsage: `where` is no such thing.
    """
    text = str(where)
    if not isinstance(where, Path) and "://" in text:
        if not text.startswith(("postgresql://", "postgres://")):
            scheme = text.partition("://")[0]
            raise WrongUsage(
                f"cannot keep state in a {scheme!r} database", remedy="name a folder, or postgresql://…"
            )
        return SqlStore(open_url(text, schema), clock)
    # Absolute, so that a change of the working folder later makes no difference.
    return SqlStore(open_folder(Path(text).absolute(), schema, clock), clock)

"""Which schema version a database has, and bringing it to ours with Alembic."""

from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from metier import __version__
from metier.domain.errors import Refusal
from metier.store.faults import damaged_file
from metier.store.tables import METADATA

SCHEMA_VERSION = 1
"""The newest revision in `migrations/versions`; also named in every backup."""


@dataclass(frozen=True, slots=True)
class Schema:
    """A schema version, and the migrations that lead to it."""

    version: int = SCHEMA_VERSION
    scripts: Path = Path(__file__).parent / "migrations"


OURS = Schema()


def schema_version(connection: sa.Connection, place: str) -> int:
    """Return the schema version of a database, 0 for an empty one.

    Raises:
        Refusal: It is another program's, or damaged.
    """
    names = set(sa.inspect(connection).get_table_names())
    if "alembic_version" not in names:
        strange = names & set(METADATA.tables)
        if strange:
            raise _not_ours(place, f"it has a table {min(strange)} and no schema version")
        return 0
    rows = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalars().all()
    if not rows:
        return 0
    if not str(rows[0]).isdecimal():
        raise _not_ours(place, f"its schema version is {rows[0]!r}")
    if "site" not in names:
        raise damaged_file(f"cannot open {place}")
    return int(rows[0])


def _not_ours(place: str, why: str) -> Refusal:
    return Refusal(
        f"cannot open {place}: it is no store of Metier, {why}",
        code="not-a-store",
        remedy="give Metier a database of its own",
    )


def refuse_newer(connection: sa.Connection, place: str, found: int, schema: Schema = OURS) -> None:
    """Refuse a database whose schema is newer than ours, naming both versions."""
    if found <= schema.version:
        return
    raise Refusal(
        f"cannot open {place}: it has schema version {found}, written by {_writer(connection)}; "
        f"this is Metier {__version__}, which knows versions up to {schema.version}",
        code="newer-store",
        remedy="run that Metier or a later one; or restore, with this one, a backup that this one made",
    )


def _writer(connection: sa.Connection) -> str:
    """Name the Metier that wrote a database; vague when its tables are no longer as we know them."""
    try:
        version = connection.execute(sa.text("SELECT version FROM site")).scalar()
    except sa.exc.DBAPIError:
        return "a newer Metier"
    return f"Metier {version}"


def upgrade(connection: sa.Connection, schema: Schema = OURS) -> None:
    """Bring an empty or older database to `schema`, within the transaction that `connection` is in."""
    # Imported here because it takes longer than everything else and is hardly ever needed.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(schema.scripts).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")

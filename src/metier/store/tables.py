"""The tables of schema version 1, as SQLAlchemy sees them; `migrations/` makes them."""

import sqlalchemy as sa

METADATA = sa.MetaData()

# Sorted by code point everywhere, so that a Fleet is read in the same order from any database.
_KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _records(name: str) -> sa.Table:
    """One row per record: its body is JSON, because the domain's fields are no business of the database."""
    return sa.Table(
        name,
        METADATA,
        sa.Column("kind", _KEY, primary_key=True),
        sa.Column("key", _KEY, primary_key=True),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )


INTENT = _records("intent")
"""What operators want, and what the loop decided and has in flight."""

OBSERVATION = _records("observation")
"""What drivers saw last."""

JOURNAL = sa.Table(
    "journal",
    METADATA,
    sa.Column("id", _NUMBER, sa.Identity(), primary_key=True),
    sa.Column("subject", _KEY, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Index("journal_by_subject", "subject", "id"),
    sqlite_autoincrement=True,  # the id of an entry that was trimmed is never given again
)

SITE = sa.Table(
    "site",
    METADATA,
    sa.Column("one", sa.Integer, sa.CheckConstraint("one = 1"), primary_key=True, autoincrement=False),
    sa.Column("id", sa.Text, nullable=False),
    sa.Column("generation", sa.BigInteger, nullable=False),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
)
"""One row: who the site is, its Fleet's generation, and which hold is the newest.

`holder` is a `Holder` as JSON, empty while nobody holds it; `version` is the
Metier that held it last.
"""

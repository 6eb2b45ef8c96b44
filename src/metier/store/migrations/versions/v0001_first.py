"""Schema version 1: records, journal, site."""

from uuid import uuid4

import sqlalchemy as sa
from alembic import op

from metier import __version__

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Written out instead of taken from `tables`, which moves on while this stays what version 1 was.
_KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables, and the site with an identity of its own."""
    for name in ("intent", "observation"):
        op.create_table(
            name,
            sa.Column("kind", _KEY, primary_key=True),
            sa.Column("key", _KEY, primary_key=True),
            sa.Column("generation", sa.BigInteger, nullable=False),
            sa.Column("body", sa.Text, nullable=False),
        )
    op.create_table(
        "journal",
        sa.Column("id", _NUMBER, sa.Identity(), primary_key=True),
        sa.Column("subject", _KEY, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("journal_by_subject", "journal", ["subject", "id"])
    site = op.create_table(
        "site",
        sa.Column("one", sa.Integer, sa.CheckConstraint("one = 1"), primary_key=True, autoincrement=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
    )
    first = {"one": 1, "id": str(uuid4()), "generation": 0, "epoch": 0, "holder": "", "version": __version__}
    op.bulk_insert(site, [first])

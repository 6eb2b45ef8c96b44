"""What the two kinds of database have in common for `SqlStore`."""

from dataclasses import dataclass
from typing import Protocol

import sqlalchemy as sa

from metier.store.holder import Holder


class Guard(Protocol):
    """Keeps a second controller out for as long as the first one lives, and not longer."""

    def acquire(self, connection: sa.Connection, holder: Holder, /) -> None:
        """Take the hold for the session of `connection`; raises Refusal naming who has it."""

    def release(self, connection: sa.Connection, /) -> None:
        """Give the hold back."""


@dataclass(frozen=True, slots=True)
class Database:
    """An opened database whose schema is ours.

    Attributes:
        name: What messages call it: a path, or a URL without its password.
        reader: Its transactions see one moment of everything.
        writer: Its transactions exclude other writers from their start.
    """

    name: str
    reader: sa.Engine
    writer: sa.Engine
    guard: Guard

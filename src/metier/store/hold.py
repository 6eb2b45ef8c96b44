"""One hold of a database: the session that it lives in, and the epoch that fences its writes."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import DBAPIConnection

from metier import __version__
from metier.domain.errors import Bug, MetierError
from metier.store.database import Database
from metier.store.faults import HoldLost, connection_lost, translated
from metier.store.holder import Holder, holder_text, who
from metier.store.tables import SITE

# Both change nothing, and lock nothing, once a later hold has begun.
_REACH = (
    sa.update(SITE)
    .where(SITE.c.epoch == sa.bindparam("held"), SITE.c.generation <= sa.bindparam("reached"))
    .values(generation=sa.bindparam("reached"))
)
_STAY = sa.update(SITE).where(SITE.c.epoch == sa.bindparam("held")).values(one=1)


class Hold:
    """The right to write, from `take_hold` until `end`.

    Attributes:
        epoch: Higher than that of any hold before it.
        connection: What is written through, and nothing else is done with it: when its
            session ends, so does the hold.
    """

    def __init__(
        self, database: Database, connection: sa.Connection, session: DBAPIConnection | None
    ) -> None:
        self.connection = connection
        self.epoch = 0
        self._database = database
        self._session = session

    def begin(self, holder: Holder) -> None:
        """Take the guard, then an epoch; raises Refusal when another process is the holder."""
        self._database.guard.acquire(self.connection, holder)
        later = sa.update(SITE).values(
            epoch=SITE.c.epoch + 1, holder=holder_text(holder), version=__version__
        )
        with self.connection.begin():
            self.epoch = int(self.connection.execute(later.returning(SITE.c.epoch)).scalar_one())

    @contextmanager
    def transaction(self, generation: int | None) -> Iterator[sa.Connection]:
        """Yield the connection in a transaction that only the newest hold gets into.

        Raises:
            HoldLost: A later hold has begun, or the session has ended.
        """
        name = self._database.name
        try:
            with self.connection.begin():
                self._check(name, generation)
                yield self.connection
        except sa.exc.DBAPIError as error:
            if not connection_lost(error):
                raise
            raise HoldLost(
                f"cannot save to {name}: the connection that was our hold is lost",
                remedy="hold it again and load: what was being saved is there either whole or not at all",
            ) from error.orig

    def _check(self, name: str, generation: int | None) -> None:
        """Refuse unless this hold is the newest; if it is, its row's lock keeps a later one waiting."""
        if generation is None:
            done = self.connection.execute(_STAY, {"held": self.epoch})
        else:
            done = self.connection.execute(_REACH, {"held": self.epoch, "reached": generation})
        if done.rowcount == 1:
            return
        site = self.connection.execute(sa.select(SITE.c.epoch, SITE.c.holder, SITE.c.generation)).one()
        if site.epoch == self.epoch:
            raise Bug(f"generation {generation} cannot follow {site.generation} in {name}")
        raise HoldLost(
            f"cannot save to {name}: hold {self.epoch} was overtaken by hold {site.epoch}, "
            f"{who(site.holder)}; nothing was written",
            remedy="leave the site to that controller, or stop it and start this one again",
        )

    def resign(self) -> None:
        """Take our name off the site; it is no harm if that fails, because the hold ends all the same."""
        ours = sa.update(SITE).where(SITE.c.epoch == self.epoch)
        name = self._database.name
        with suppress(MetierError), translated("release", name), self.connection.begin():
            self.connection.execute(ours.values(holder=""))

    def end(self) -> None:
        """Give back what `begin` took, whatever state it is in."""
        try:
            # Where the session is gone, the server has taken its lock back already.
            with suppress(sa.exc.SQLAlchemyError):
                self._database.guard.release(self.connection)
        finally:
            self.connection.close()
            if self._session is not None:
                self._session.close()


def take_hold(database: Database, holder: Holder) -> Hold:
    """Become the one writer of a database; raises Refusal."""
    connection = database.writer.connect()
    # Out of the pool, so that closing it ends its session.  SQLAlchemy forgets to close a connection
    # like this one when it breaks, so we keep what it stands for.
    session = connection.connection.dbapi_connection
    connection.detach()
    hold = Hold(database, connection, session)
    try:
        hold.begin(holder)
    except BaseException:  # whatever went wrong, the session ends
        hold.end()
        raise
    return hold

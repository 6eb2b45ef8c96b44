"""Run by Alembic, in our process, on the connection and in the transaction that `schema.upgrade` gives it."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()

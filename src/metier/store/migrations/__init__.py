"""The store's schema versions: Alembic's environment, and one revision a file in `versions/`."""

"""The revisions, oldest first; each is numbered by the schema version it makes."""

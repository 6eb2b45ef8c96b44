"""A data centre in memory."""

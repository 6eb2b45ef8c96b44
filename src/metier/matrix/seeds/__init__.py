"""Personalities as guests get them: templates rendered, and put on a small CD-ROM."""

"""Choices that steps make, one policy a file."""

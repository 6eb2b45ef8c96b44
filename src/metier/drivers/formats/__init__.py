"""Readers of disk and archive formats; everything they are given may be hostile."""

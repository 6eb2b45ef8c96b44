"""Collectors: health checks on what a node serves."""

"""Drivers: everything that talks to the world, one protocol and one contract suite a family."""

"""A small real data centre on one machine, for the demo, for trials and for end-to-end tests.

`datacentre` builds hosts and their network, `hostpower` is the hosts' power
switch, `guest` builds a system that boots in seconds and `archive` packs it as
operators bring it.
"""

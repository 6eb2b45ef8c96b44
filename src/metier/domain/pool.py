"""Automation settings of the pools, for the whole site."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """What happens by itself to nodes that are in no tier.

    Attributes:
        automatic_discovery: VMs of a running host become virtual nodes.
        automatic_inventory: Discovered nodes are asked what they have.
        automatic_free: Inventoried nodes move to the free pool.
        power_off_idle: Free physical nodes with a power controller are switched off.
        idle_off_after_s: After how many seconds.
        warm_spares: How many free physical nodes stay on all the same.
        harvest_cooldown_s: A node is not harvested twice within this time.
        reboot_window_s: A node is rebooted for a failure at most once in this time.
        storm_window_s: Failures count together for R-STORM-1 within this time.
        site_max_unhealthy_percent: R-STORM-1 for the site as a whole.
    """

    automatic_discovery: bool = True
    automatic_inventory: bool = True
    automatic_free: bool = True
    power_off_idle: bool = False
    idle_off_after_s: int = 900
    warm_spares: int = 1
    harvest_cooldown_s: int = 1800
    reboot_window_s: int = 3600
    storm_window_s: int = 600
    site_max_unhealthy_percent: int = 40
    generation: int = 0

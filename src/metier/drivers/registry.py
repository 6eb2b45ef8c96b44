"""Finds drivers by their entry points: the only code that knows the group names."""

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from metier.domain.errors import WrongUsage
from metier.drivers.settings import SettingDoc, describe_settings, secret_settings

GROUPS = {"hypervisor": "metier.hypervisors", "power": "metier.power", "collector": "metier.collectors"}


def driver_names(family: str) -> tuple[str, ...]:
    """Return the names of the installed drivers of a family, sorted."""
    return tuple(sorted(point.name for point in entry_points(group=GROUPS[family])))


def load_driver(family: str, name: str) -> Any:
    """Return a driver's class.

    Raises:
        WrongUsage: No such driver is known, or what it needs is not installed.
    """
    point = _entry_point(family, name)
    try:
        return point.load()
    except ImportError as error:
        raise WrongUsage(
            f"{family} driver {name} cannot be loaded",
            remedy=f"install what it needs: pip install 'metier[{name}]'",
        ) from error


def open_driver(family: str, name: str, node: str, settings: Mapping[str, str]) -> Any:
    """Open a driver for one node with the operator's settings; does not connect yet.

    Raises:
        WrongUsage: The driver does not exist, or a setting is missing, unknown or malformed.
    """
    return load_driver(family, name).open(node, settings)


def check_settings(family: str, name: str, settings: Mapping[str, str]) -> None:
    """Raise WrongUsage if a driver would not take these settings; connects to nothing."""
    load_driver(family, name).check_settings(settings)


def settings_of(family: str, name: str) -> tuple[SettingDoc, ...]:
    """Return what there is to set for a driver, in the order of declaration.

    Raises:
        WrongUsage: No such driver is known, or what it needs is not installed.
    """
    settings = getattr(load_driver(family, name), "SETTINGS", None)
    return () if settings is None else describe_settings(settings)


def secrets_of(family: str, name: str) -> frozenset[str]:
    """Return the names of a driver's secret settings; of one that cannot be loaded none are known."""
    try:
        settings = getattr(load_driver(family, name), "SETTINGS", None)
    except WrongUsage:
        return frozenset()
    return frozenset() if settings is None else secret_settings(settings)


def _entry_point(family: str, name: str) -> EntryPoint:
    for point in entry_points(group=GROUPS[family]):
        if point.name == name:
            return point
    known = ", ".join(driver_names(family)) or "none"
    raise WrongUsage(f"there is no {family} driver {name}; installed: {known}")

"""Operators are told which drivers there are and what is to be set for them."""

from typing import Any

import pytest

from metier.domain.errors import NoSuchThing, Refusal
from metier.domain.fleet import Fleet
from metier.drivers.guide import InstalledDrivers
from metier.operations.registry import Row
from tests.unit.operations.asking import FakeServices, a_view, ask


class Services(FakeServices):
    """Drivers of one name in two families."""

    def drivers(self) -> list[Row]:
        return [{"name": "http", "family": family} for family in ("power", "collector")]


def read(verb: str, services: FakeServices, **arguments: Any) -> Any:
    return ask(Fleet(), "driver", verb, view=a_view(Fleet(), services=services), **arguments)


def test_a_name_of_two_families_wants_the_family() -> None:
    with pytest.raises(Refusal, match="families power and collector") as caught:
        read("show", Services(), name="http")
    assert "--family" in caught.value.remedy
    assert read("show", Services(), name="http", family="power")["family"] == "power"


def test_a_driver_that_is_not_there_is_named() -> None:
    with pytest.raises(NoSuchThing, match="there is no power driver odd"):
        read("show", Services(), name="odd", family="power")
    assert [row["family"] for row in read("list", Services(), family="collector")] == ["collector"]


def test_what_is_installed_is_told_with_its_secrets_marked() -> None:
    rows = {(row["family"], row["name"]): row for row in InstalledDrivers().drivers()}
    command = rows["power", "command"]
    assert command["is_ready"]
    assert [one["name"] for one in command["settings"] if one["is_required"]] == ["on", "off", "status"]
    assert not any(one["is_secret"] for one in command["settings"])
    assert rows["collector", "ping"]["settings"] == []
    vsphere = rows["hypervisor", "vsphere"]
    if vsphere["is_ready"]:
        assert [one["name"] for one in vsphere["settings"] if one["is_secret"]] == ["password"]
    else:
        assert "pip install" in vsphere["problem"]

"""Fixtures: one simulated machine that is on, with a VM that is off."""

import pytest

from metier.sim.clock import VirtualClock
from metier.sim.datacentre import DataCentre
from metier.sim.hypervisor import SimHypervisor
from metier.sim.power import SimPower
from tests.builders import NOW
from tests.unit.sim.bed import HOST, OFFER


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(NOW)


@pytest.fixture
def datacentre(clock: VirtualClock) -> DataCentre:
    datacentre = DataCentre(clock)
    datacentre.add(HOST, is_on=True, boot_s=30.0)
    SimHypervisor(datacentre, HOST).define_vm(OFFER, timeout_s=1)
    return datacentre


@pytest.fixture
def hypervisor(datacentre: DataCentre) -> SimHypervisor:
    return SimHypervisor(datacentre, HOST)


@pytest.fixture
def power(datacentre: DataCentre) -> SimPower:
    return SimPower(datacentre, HOST)

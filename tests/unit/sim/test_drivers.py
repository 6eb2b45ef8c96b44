"""What only simulated drivers meet: planted faults, BMCs that lie, boots that hang."""

import pytest

from metier.domain.errors import DriverError, OutcomeUnknown, Refused, Unavailable
from metier.domain.observation import Power
from metier.sim.clock import VirtualClock
from metier.sim.datacentre import DataCentre
from metier.sim.hypervisor import SimHypervisor
from metier.sim.machines import BmcFault, CallFault
from metier.sim.power import SimPower
from tests.unit.sim.bed import HOST, later, power_of

# --- planted faults ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "error", "after"),
    [
        (CallFault.REFUSED, Refused, Power.OFF),
        (CallFault.UNAVAILABLE, Unavailable, Power.OFF),
        (CallFault.LOST_REQUEST, OutcomeUnknown, Power.OFF),
        (CallFault.LOST_ANSWER, OutcomeUnknown, Power.ON),
    ],
)
class TestAPlantedFault:
    def test_of_a_vm_manager_meets_one_call_and_says_what_it_did(
        self, hypervisor: SimHypervisor, datacentre: DataCentre, fault: CallFault, error: type, after: Power
    ) -> None:
        datacentre.plant(HOST, "start", fault)
        with pytest.raises(error, match="start on host-1"):
            hypervisor.start(1, timeout_s=1)
        assert power_of(hypervisor) is after
        hypervisor.start(1, timeout_s=1)
        assert power_of(hypervisor) is Power.ON

    def test_of_a_bmc_does_too(
        self, power: SimPower, datacentre: DataCentre, fault: CallFault, error: type, after: Power
    ) -> None:
        power.off(timeout_s=1)
        datacentre.plant(HOST, "on", fault)
        with pytest.raises(error, match="switch on host-1"):
            power.on(timeout_s=1)
        assert power.status(timeout_s=1) is after
        power.on(timeout_s=1)
        assert power.status(timeout_s=1) is Power.ON


def test_faults_meet_calls_in_the_order_planted(datacentre: DataCentre, hypervisor: SimHypervisor) -> None:
    datacentre.plant(HOST, "start", CallFault.UNAVAILABLE, CallFault.REFUSED)
    assert not datacentre.machine(HOST).is_steady()
    errors: tuple[type[DriverError], ...] = (Unavailable, Refused)
    for error in errors:
        with pytest.raises(error):
            hypervisor.start(1, timeout_s=1)
    hypervisor.start(1, timeout_s=1)
    assert datacentre.machine(HOST).is_steady()


def test_a_machine_that_does_not_answer_uses_no_planted_fault_up(
    datacentre: DataCentre, hypervisor: SimHypervisor
) -> None:
    datacentre.plant(HOST, "start", CallFault.REFUSED)
    datacentre.machine(HOST).reachable = False
    with pytest.raises(Unavailable):
        hypervisor.start(1, timeout_s=1)
    datacentre.machine(HOST).reachable = True
    with pytest.raises(Refused):
        hypervisor.start(1, timeout_s=1)


# --- what ails a BMC ---------------------------------------------------------------


@pytest.mark.parametrize("is_on", [True, False])
@pytest.mark.parametrize(
    ("fault", "says"),
    [(BmcFault.MUTE, Power.UNKNOWN), (BmcFault.SAYS_ON, Power.ON), (BmcFault.SAYS_OFF, Power.OFF)],
)
def test_a_bmc_that_lies_still_switches(
    datacentre: DataCentre, power: SimPower, fault: BmcFault, says: Power, is_on: bool
) -> None:
    machine = datacentre.machine(HOST)
    machine.bmc.fault = fault
    (power.on if is_on else power.off)(timeout_s=1)
    assert machine.is_on is is_on
    assert power.status(timeout_s=1) is says


@pytest.mark.parametrize(
    ("fault", "error"), [(BmcFault.DEAD, Unavailable), (BmcFault.REFUSES, Refused), (BmcFault.IGNORES, None)]
)
def test_a_bmc_that_does_not_do_it(
    datacentre: DataCentre, power: SimPower, fault: BmcFault, error: type[DriverError] | None
) -> None:
    machine = datacentre.machine(HOST)
    machine.bmc.fault = fault
    if error is None:
        power.off(timeout_s=1)
        assert power.status(timeout_s=1) is Power.ON
    else:
        with pytest.raises(error, match="host-1"):
            power.off(timeout_s=1)
    assert machine.is_on


def test_a_dead_bmc_says_nothing_and_one_that_refuses_the_truth(
    datacentre: DataCentre, power: SimPower
) -> None:
    datacentre.machine(HOST).bmc.fault = BmcFault.REFUSES
    assert power.status(timeout_s=1) is Power.ON
    datacentre.machine(HOST).bmc.fault = BmcFault.DEAD
    with pytest.raises(Unavailable):
        power.status(timeout_s=1)


def test_a_bmc_that_flaps_answers_every_other_call(datacentre: DataCentre, power: SimPower) -> None:
    machine = datacentre.machine(HOST)
    machine.bmc.fault = BmcFault.FLAPS
    assert not machine.is_steady()
    answered: list[Power | None] = []
    for _ in range(6):
        try:
            answered.append(power.status(timeout_s=1))
        except Unavailable:
            answered.append(None)
    assert answered == [None, Power.ON] * 3
    assert machine.bmc.calls == 6


def test_a_machine_without_bmc_cannot_be_switched(datacentre: DataCentre) -> None:
    datacentre.add("bare", is_on=True, has_bmc=False)
    with pytest.raises(Unavailable):
        SimPower(datacentre, "bare").off(timeout_s=1)
    assert datacentre.machine("bare").is_on


def test_without_mains_there_is_neither_machine_nor_bmc(datacentre: DataCentre, power: SimPower) -> None:
    machine = datacentre.machine(HOST)
    machine.has_mains = False
    datacentre.switch(HOST, on=False)
    with pytest.raises(Unavailable):
        power.status(timeout_s=1)
    datacentre.switch(HOST, on=True)
    assert not machine.is_on
    datacentre.heal()
    assert power.status(timeout_s=1) is Power.OFF
    power.on(timeout_s=1)
    assert machine.is_on


# --- booting -----------------------------------------------------------------------


def test_a_vm_manager_answers_when_its_machine_has_booted(
    datacentre: DataCentre, hypervisor: SimHypervisor, power: SimPower, clock: VirtualClock
) -> None:
    power.off(timeout_s=1)
    power.on(timeout_s=1)
    later(clock, 29.9)
    with pytest.raises(Unavailable):
        hypervisor.report(timeout_s=1)
    later(clock, 0.1)
    assert power_of(hypervisor) is Power.OFF


def test_a_hung_boot_never_ends_and_the_next_may_go_well(
    datacentre: DataCentre, hypervisor: SimHypervisor, power: SimPower, clock: VirtualClock
) -> None:
    machine = datacentre.machine(HOST)
    machine.boot_hangs = True
    assert power_of(hypervisor) is Power.OFF  # it hangs when it boots, not before
    for is_hung in (True, False):
        power.off(timeout_s=1)
        power.on(timeout_s=1)
        machine.boot_hangs = False
        later(clock, 1e6)
        assert power.status(timeout_s=1) is Power.ON
        assert machine.vmm_answers(clock.now()) is not is_hung


def test_a_network_boot_needs_dhcp_at_that_moment(
    datacentre: DataCentre, power: SimPower, clock: VirtualClock
) -> None:
    machine = datacentre.machine(HOST)
    machine.boots_from_network = True
    datacentre.has_dhcp = False
    power.off(timeout_s=1)
    power.on(timeout_s=1)
    datacentre.has_dhcp = True
    later(clock, 3600)
    assert not machine.vmm_answers(clock.now())
    power.off(timeout_s=1)
    power.on(timeout_s=1)
    later(clock, 3600)
    assert machine.vmm_answers(clock.now())

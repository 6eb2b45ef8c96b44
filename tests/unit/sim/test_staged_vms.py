"""VMs that people staged on simulated hosts, configurations moved aside, and hosts that are patched."""

from dataclasses import replace

import pytest

from metier.domain.errors import Refused
from metier.domain.ids import NodeId
from metier.sim.clock import Agenda, VirtualClock
from metier.sim.datacentre import DataCentre
from metier.sim.faults import befall
from metier.sim.hypervisor import SimHypervisor
from metier.sim.laws import staged_vms_are_given_back
from metier.sim.simulation import Simulation
from metier.sim.site import datacentre_of
from tests.builders import NOW, VM_HARDWARE, a_fleet, a_host, a_virtual_node
from tests.unit.sim.bed import HOST, prepare


def test_a_staged_vm_is_taken_over_used_and_given_back(
    datacentre: DataCentre, hypervisor: SimHypervisor
) -> None:
    datacentre.stage_vm(HOST, "db", VM_HARDWARE)
    host = datacentre.machine(HOST)
    assert hypervisor.adopt_vms({1, 2}, timeout_s=1) == ()
    assert hypervisor.adopt_vms({1, 2}, timeout_s=1) == ()
    (_, vm) = hypervisor.report(timeout_s=1).vms
    assert (vm.number, vm.is_staged, vm.hardware) == (3, True, VM_HARDWARE)
    hypervisor.start(3, timeout_s=1)
    with pytest.raises(Refused, match="running"):
        hypervisor.remove_vm(3, timeout_s=1)
    hypervisor.stop(3, timeout_s=1)
    hypervisor.remove_vm(3, timeout_s=1)
    assert (host.foreign, host.lost()) == ({"db": False}, [])


def test_a_running_staged_vm_is_not_taken_over(datacentre: DataCentre, hypervisor: SimHypervisor) -> None:
    datacentre.stage_vm(HOST, "db", VM_HARDWARE)
    datacentre.machine(HOST).foreign["db"] = True
    assert hypervisor.adopt_vms((), timeout_s=1) == ("db on host-1 cannot be taken over: it is running",)
    assert hypervisor.report(timeout_s=1).foreign_running == 1


def test_a_vm_is_aside_from_retiring_until_it_is_prepared_or_started(
    datacentre: DataCentre, hypervisor: SimHypervisor
) -> None:
    datacentre.machine(HOST).puts_aside = True

    def is_aside() -> bool:
        return hypervisor.report(timeout_s=1).vms[0].is_aside

    prepare(hypervisor)
    hypervisor.retire(1, None, timeout_s=1)
    assert is_aside()
    prepare(hypervisor)
    assert not is_aside()
    hypervisor.retire(1, None, timeout_s=1)
    hypervisor.start(1, timeout_s=1)
    assert not is_aside()


def test_what_a_host_shows_is_taken_over_into_a_simulation(
    datacentre: DataCentre, hypervisor: SimHypervisor
) -> None:
    datacentre.stage_vm(HOST, "db", VM_HARDWARE)
    hypervisor.adopt_vms({1}, timeout_s=1)
    host = datacentre.machine(HOST)
    host.patch_level, host.vms[1].is_aside = "200", True
    report = hypervisor.report(timeout_s=1)
    draft = a_fleet(a_host(HOST), a_virtual_node(HOST, 1), a_virtual_node(HOST, 2)).edit()
    seen = draft.seen(NodeId(HOST))
    draft.put_observed(
        NodeId(HOST), replace(seen, vms=report.vms, vmm_reachable=True, patch_level=report.patch_level)
    )
    copy = datacentre_of(draft.freeze(), Agenda(VirtualClock(NOW)))
    assert SimHypervisor(copy, HOST).report(timeout_s=1) == report
    assert copy.machine(HOST).puts_aside
    SimHypervisor(copy, HOST).remove_vm(2, timeout_s=1)
    assert copy.machine(HOST).lost() == []


@pytest.fixture
def simulation() -> Simulation:
    made = Simulation(a_fleet(a_host(HOST), a_virtual_node(HOST, 1)), NOW)
    made.datacentre.machine(HOST)
    return made


def test_sentences_patch_a_host_and_stage_vms_on_it(simulation: Simulation) -> None:
    befall(simulation, "host-1 is patched to build 200")
    befall(simulation, "VM of 512 MiB is staged on host-1")
    befall(simulation, "2 foreign VMs run on host-1")
    machine = simulation.datacentre.machine(HOST)
    assert machine.patch_level == "200"
    assert machine.staged["staged-1"].memory_mib == 512
    assert machine.foreign["staged-1"] is False
    assert list(staged_vms_are_given_back(simulation)) == []


def test_a_staged_vm_that_is_gone_breaks_a_law_unless_a_person_deleted_it(simulation: Simulation) -> None:
    befall(simulation, "VM of 512 MiB is staged on host-1")
    machine = simulation.datacentre.machine(HOST)
    driver = SimHypervisor(simulation.datacentre, HOST)
    if not machine.is_on:
        simulation.datacentre.switch(HOST, on=True)
        machine.ready_at = None
    driver.adopt_vms({1}, timeout_s=1)
    (number,) = (number for number, vm in machine.vms.items() if vm.staged_as)
    kept = machine.vms.pop(number)
    assert list(staged_vms_are_given_back(simulation)) == ["staged-1, which was staged on host-1, is gone"]
    machine.vms[number] = kept
    befall(simulation, f"host-1/VM{number} is deleted by hand")
    assert list(staged_vms_are_given_back(simulation)) == []

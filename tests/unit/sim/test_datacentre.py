"""The simulated data centre: guests and their time, and one truth that many drivers share."""

from datetime import timedelta

import pytest

from metier.domain.errors import Refused, Unavailable
from metier.domain.ids import NodeId
from metier.domain.image import Machine
from metier.domain.observation import Power
from metier.sim.clock import VirtualClock
from metier.sim.datacentre import DataCentre
from metier.sim.drivers import SimCollector, SimDrivers
from metier.sim.hypervisor import SimHypervisor
from metier.sim.machines import CallFault
from metier.sim.power import SimPower
from tests.builders import NOW, a_host
from tests.unit.sim.bed import HOST, OFFER, TCP, guest, later, power_of, prepare

# --- guests ------------------------------------------------------------------------


def test_a_deaf_guest_notes_that_it_was_asked_and_stays_on(
    datacentre: DataCentre, hypervisor: SimHypervisor
) -> None:
    vm = datacentre.machine(HOST).vms[1]
    vm.obeys = False
    hypervisor.start(1, timeout_s=1)
    hypervisor.shutdown(1, timeout_s=1)
    assert (power_of(hypervisor), vm.shutdown_asked) == (Power.ON, True)
    hypervisor.stop(1, timeout_s=1)
    assert (power_of(hypervisor), vm.shutdown_asked) == (Power.OFF, False)


def test_a_guest_takes_its_time_to_boot_and_to_shut_down(
    datacentre: DataCentre, hypervisor: SimHypervisor, clock: VirtualClock
) -> None:
    datacentre.guest_boot_s, datacentre.guest_stop_s = {"web@1": 20.0}, 5.0
    prepare(hypervisor, guest("192.0.2.7/24"))
    hypervisor.start(1, timeout_s=1)
    collector = SimCollector(datacentre)
    told = []
    for _ in range(2):
        told.append(collector.check(TCP, "192.0.2.7").ok)
        later(clock, 20.0)
    assert (told, collector.check(TCP, "192.0.2.7").ok) == ([False, True], True)
    hypervisor.shutdown(1, timeout_s=1)
    assert power_of(hypervisor) is Power.ON
    later(clock, 5.0)
    assert power_of(hypervisor) is Power.OFF
    assert not collector.check(TCP, "192.0.2.7").ok


@pytest.mark.parametrize("has_dhcp", [True, False])
def test_a_guest_without_a_fixed_address_asks_dhcp(
    datacentre: DataCentre, hypervisor: SimHypervisor, has_dhcp: bool
) -> None:
    datacentre.has_dhcp = has_dhcp
    prepare(hypervisor)
    hypervisor.start(1, timeout_s=1)
    (vm,) = hypervisor.report(timeout_s=1).vms
    assert vm.address == ("10.0.1.1" if has_dhcp else None)
    hypervisor.stop(1, timeout_s=1)
    assert hypervisor.report(timeout_s=1).vms[0].address is None


def test_guests_behind_a_broken_network_run_on_unseen(
    datacentre: DataCentre, hypervisor: SimHypervisor, clock: VirtualClock
) -> None:
    prepare(hypervisor, guest("192.0.2.7/24"))
    hypervisor.start(1, timeout_s=1)
    later(clock, 60)
    datacentre.machine(HOST).reachable = False
    assert not SimCollector(datacentre).check(TCP, "192.0.2.7").ok
    (running,) = datacentre.running()
    assert (str(running.slot), running.machine, running.address) == ("web/1", HOST, "192.0.2.7")


def test_an_image_without_room_is_refused_and_leaves_nothing(
    datacentre: DataCentre, hypervisor: SimHypervisor
) -> None:
    store = datacentre.machine(HOST).store
    store.free_bytes = 10
    with pytest.raises(Refused, match="11 bytes, and 10 are free"):
        prepare(hypervisor)
    assert (store.images, store.instances, store.free_bytes) == ({}, {}, 10)


def test_uefi_needs_a_host_that_has_it(datacentre: DataCentre, hypervisor: SimHypervisor) -> None:
    datacentre.machine(HOST).has_uefi = False
    with pytest.raises(Refused, match="UEFI"):
        prepare(hypervisor, guest(image=Machine((), firmware="uefi")))


# --- one truth for many drivers ----------------------------------------------------


def test_hosts_of_one_store_share_images_and_never_an_instance(datacentre: DataCentre) -> None:
    hosts = []
    for name in ("a", "b"):
        datacentre.add(name, is_on=True, store="shared")
        hosts.append(SimHypervisor(datacentre, name))
        hosts[-1].define_vm(OFFER, timeout_s=1)
    first, second = hosts
    prepare(first)
    with pytest.raises(Refused, match="instance web-1-1 is on VM1 of a as well"):
        prepare(second)
    first.retire(1, None, timeout_s=1)
    prepare(second)
    assert datacentre.stores["shared"].copies == 1
    assert set(datacentre.stores["shared"].instances) == {"web-1-1"}
    second.remove_vm(1, timeout_s=1)
    assert datacentre.stores["shared"].instances == {}


def test_a_host_that_loses_power_takes_its_guests_along(
    datacentre: DataCentre, hypervisor: SimHypervisor, power: SimPower
) -> None:
    datacentre.machine(HOST).foreign["payroll"] = True
    hypervisor.start(1, timeout_s=1)
    power.off(timeout_s=1)
    assert list(datacentre.running()) == []
    assert datacentre.machine(HOST).foreign == {"payroll": False}


def test_a_machine_that_was_carried_away_is_out_of_reach_until_it_is_back(
    datacentre: DataCentre, hypervisor: SimHypervisor, power: SimPower
) -> None:
    prepare(hypervisor, guest("192.0.2.7/24"))
    hypervisor.start(1, timeout_s=1)
    datacentre.remove(HOST)
    with pytest.raises(Unavailable):
        hypervisor.report(timeout_s=1)
    with pytest.raises(Unavailable):
        power.status(timeout_s=1)
    assert not SimCollector(datacentre).check(TCP, "192.0.2.7").ok
    assert datacentre.machines == {}
    assert datacentre.stores == {}
    datacentre.add(HOST, is_on=True)
    assert hypervisor.report(timeout_s=1).vms == ()


def test_listeners_hear_of_what_changed_and_of_what_will(
    datacentre: DataCentre, hypervisor: SimHypervisor, power: SimPower
) -> None:
    heard: list[tuple[NodeId, float]] = []
    datacentre.listeners.append(lambda name, at: heard.append((name, (at - NOW).total_seconds())))

    def hearing() -> set[float]:
        assert {name for name, _ in heard} <= {HOST}
        moments = {at for _, at in heard}
        heard.clear()
        return moments

    datacentre.guest_stop_s = 5.0
    prepare(hypervisor)
    assert hearing() == {0.0}
    hypervisor.start(1, timeout_s=1)
    assert hearing() == {0.0, 8.0}
    hypervisor.shutdown(1, timeout_s=1)
    assert hearing() == {0.0, 5.0}
    power.off(timeout_s=1)
    assert hearing() == {0.0}
    power.on(timeout_s=1)
    assert hearing() == {0.0, 30.0}
    datacentre.plant(HOST, "report", CallFault.REFUSED)
    assert hearing() == {0.0}
    power.status(timeout_s=1)
    assert hearing() == set()


def test_watchers_of_a_closed_driver_hear_nothing(datacentre: DataCentre, hypervisor: SimHypervisor) -> None:
    heard: list[str] = []
    other = SimHypervisor(datacentre, HOST)
    hypervisor.watch(lambda: heard.append("closed"))
    other.watch(lambda: heard.append("open"))
    hypervisor.close()
    hypervisor.close()
    other.start(1, timeout_s=1)
    assert heard == ["open"]


def test_nobody_hears_a_host_behind_a_broken_network(
    datacentre: DataCentre, hypervisor: SimHypervisor
) -> None:
    heard: list[str] = []
    hypervisor.watch(lambda: heard.append("something"))
    hypervisor.start(1, timeout_s=1)
    machine = datacentre.machine(HOST)
    machine.reachable = False
    datacentre.stop_vm(machine, machine.vms[1])
    assert heard == ["something"]


def test_opened_drivers_are_kept_and_nudge_for_their_host(datacentre: DataCentre) -> None:
    drivers, node = SimDrivers(datacentre), a_host(HOST)
    nudged: list[NodeId] = []
    drivers.notify(nudged.append)
    first = drivers.hypervisor(node)
    assert drivers.hypervisor(node) is first
    first.start(1, timeout_s=1)
    assert nudged == [HOST]
    drivers.forget(node.name)
    with pytest.raises(Unavailable):
        first.report(timeout_s=1)
    drivers.hypervisor(node).stop(1, timeout_s=1)
    drivers.close()
    assert nudged == [HOST] * 2
    assert datacentre.machine(HOST).watchers == []


def test_a_fork_goes_its_own_way(
    datacentre: DataCentre, hypervisor: SimHypervisor, clock: VirtualClock
) -> None:
    heard: list[object] = []
    prepare(hypervisor, guest("192.0.2.7/24"))
    hypervisor.start(1, timeout_s=1)
    datacentre.add("host-2", is_on=True, store=HOST)
    datacentre.listeners.append(lambda name, _at: heard.append(name))
    hypervisor.watch(lambda: heard.append("watcher"))
    fork = datacentre.fork(VirtualClock(clock.now() + timedelta(seconds=60)))
    assert SimCollector(fork).check(TCP, "192.0.2.7").ok
    assert not SimCollector(datacentre).check(TCP, "192.0.2.7").ok  # its time has not come there
    assert fork.machine(HOST).store is fork.machine("host-2").store is fork.stores[HOST]
    there = SimHypervisor(fork, HOST)
    there.stop(1, timeout_s=1)
    there.remove_vm(1, timeout_s=1)
    fork.switch("host-2", on=False)
    assert fork.add("host-3").number == datacentre.add("host-3").number
    heard = [one for one in heard if one != "host-3"]
    assert heard == []
    assert power_of(hypervisor) is Power.ON
    assert set(datacentre.stores[HOST].instances) == {"web-1-1"}
    assert datacentre.machine("host-2").is_on

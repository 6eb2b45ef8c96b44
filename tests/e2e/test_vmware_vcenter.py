"""What people do in a vCenter behind the controller's back, on its simulated hosts."""

import os
from collections.abc import Iterator

import pytest
from pyVmomi import vim

from tests.contract.vsphere_testbed import missing
from tests.e2e.site import create_guest_tier, create_host_tier
from tests.e2e.vmware_site import VmwareSite, done, import_stand_in, running_vmware_site

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
    pytest.mark.skipif(bool(missing()), reason=missing()),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VmwareSite]:
    """Two hosts of one vCenter with a guest tier of two."""
    folder = tmp_path_factory.mktemp("vcenter")
    with running_vmware_site(folder, "esx-1", "esx-2", is_vcenter=True) as site:
        import_stand_in(site)
        create_host_tier(site)
        create_guest_tier(site, "web", 2)
        site.metier("tier", "activate", "hosts", "--wait", "--timeout", "60")
        site.metier("tier", "activate", "web", "--wait", "--timeout", "60")
        yield site


def test_hosts_that_share_a_datastore_share_an_image(site: VmwareSite) -> None:
    """S46: the image's disk lies there once, whichever hosts run it."""
    assert {node["host"] for node in site.nodes("--tier", "web")} == {"esx-1", "esx-2"}
    (disk,) = site.lab.hosts[0].datastore.glob("metier/*/images/*/disk0-flat.vmdk")
    assert disk.stat().st_size == (site.folder / "web.raw").stat().st_size


def test_a_guest_without_an_address_of_its_slot_is_found_by_vmware_tools(site: VmwareSite) -> None:
    """S45: the address that its guest took is the node's."""
    site.metier("tier", "create", "own", "--image", "web@1", "--target", "1", "--depends-on", "hosts")
    site.metier("tier", "activate", "own", "--wait", "--timeout", "60")
    (node,) = site.nodes("--tier", "own")
    assert node["address"] == "198.18.0.101"
    assert f"<h1>{node['hostname']}</h1>" in site.page(node["address"])
    site.metier("tier", "deallocate", "own", "--wait", "--timeout", "60")
    site.metier("tier", "delete", "own")


def test_a_vm_switched_off_by_hand_is_known_at_once_and_replaced(site: VmwareSite) -> None:
    """S72 (R-FAIL-1): by VMware's own tools; the slot's next node has its name and address."""
    node = site.nodes("--tier", "web")[0]
    before = site.last_event()
    with site.lab.host(node["host"]).tools() as tools:
        done(tools.vms()[site.vm(node)].PowerOffVM_Task())
    site.until(lambda: any("FailNode" in event["message"] for event in site.events(before)), "it is seen")
    site.until_normal("web", 2)
    heir = next(one for one in site.nodes("--tier", "web") if one["slot"] == node["slot"])
    assert (heir["hostname"], heir["address"]) == (node["hostname"], node["address"])
    assert node["hostname"] in site.page(heir["address"])


def test_a_vmotion_by_hand_is_reported_with_the_host_it_went_to(site: VmwareSite) -> None:
    """S61 (R-DRIFT-1): the manual forbids it; where it was done it is told, and the guest goes on."""
    node = site.nodes("--tier", "web")[0]
    other = ({"esx-1", "esx-2"} - {node["host"]}).pop()
    with site.lab.host(node["host"]).tools() as tools:
        vm, target = tools.vms()[site.vm(node)], tools.host(site.lab.host(other).inventory)
        done(vm.MigrateVM_Task(host=target, priority=vim.VirtualMachine.MovePriority.defaultPriority))
    site.until(lambda: len(moves(site)) > 0, "an alert stands")
    assert all(node["host"] in message and f"on {other}" in message for message in moves(site))
    assert node["hostname"] in site.page(node["address"])


def test_a_vm_that_was_moved_back_is_a_node_as_before(site: VmwareSite) -> None:
    """R-DRIFT-1: the alert goes, and the tier has what it should."""
    strayed = next(vm for host in site.lab.hosts for vm in moved_to(site, host.name))
    home = strayed.removeprefix("metier-").rpartition("-")[0]
    away = ({"esx-1", "esx-2"} - {home}).pop()
    with site.lab.host(away).tools() as tools:
        vm, target = tools.vms()[strayed], tools.host(site.lab.host(home).inventory)
        done(vm.MigrateVM_Task(host=target, priority=vim.VirtualMachine.MovePriority.defaultPriority))
    site.until(lambda: moves(site) == [], "the alert is gone")
    site.until_normal("web", 2)


def moved_to(site: VmwareSite, host: str) -> list[str]:
    """Return the VMs on a host that Metier made for another one."""
    with site.lab.host(host).tools() as tools:
        names = list(tools.vms())
    return [name for name in names if name.startswith("metier-") and not name.startswith(f"metier-{host}-")]


def moves(site: VmwareSite) -> list[str]:
    """Return what is told of VMs that were moved."""
    return [alert["message"] for alert in site.console.ask("alert", "list") if alert["code"] == "vm-moved"]

"""The manual's procedures for VMware, in an operator's words, on simulated ESX hosts.

No guest runs there: stand-ins answer in their place (`tests/counterparts/vcsim`).  All tests share one site.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim

from tests.contract.vsphere_testbed import missing
from tests.e2e.vmware_site import VmwareHost, VmwareSite, done, pack_guest, running_vmware_site

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
    pytest.mark.skipif(bool(missing()), reason=missing()),
]

HOSTS = ("esx-1", "esx-2")
VMS_PER_HOST = 3
SWITCHES = ("--reboot-on-failure", "off", "--move-to-maintenance", "off", "--harvesting", "off")
ONE = ("--minimum", "1", "--target", "1", "--maximum", "1")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VmwareSite]:
    """Two ESX hosts, each with two running VMs of somebody else, which are as they were in the end too."""
    folder = tmp_path_factory.mktemp("esx")
    with running_vmware_site(folder, *HOSTS, options=("-esx", "-vm", "2")) as site:
        yield site


def foreign(site: VmwareSite) -> dict[str, dict[str, tuple[str, ...]]]:
    """Return all that can be told of the VMs that Metier did not make; their hosts are on."""
    found = {}
    for host in site.lab.hosts:
        with host.tools() as tools:
            told = tools.inventory()
            found[host.name] = {name: about for name, about in told.items() if not name.startswith("metier-")}
    return found


def the_member(site: VmwareSite, tier: str) -> dict[str, Any]:
    """Return the only node of a tier, with all that is told of it."""
    (row,) = site.nodes("--tier", tier)
    return site.node(row["name"])


def create_guest_tier(site: VmwareSite, name: str, image: str, place: int) -> str:
    """Create the manual's tier of one with the three switches off; return its guest's address."""
    address = str(site.lab.static_addresses[place])
    slot = f"1={address}/{site.lab.prefix_length}"
    site.metier("tier", "create", name, "--image", image, *ONE, *SWITCHES, "--slot-address", slot)
    return address


def remove_tier(site: VmwareSite, name: str) -> None:
    """Deallocate, deactivate and delete a tier."""
    site.metier("tier", "deallocate", name, "--wait", "--timeout", "60")
    site.metier("tier", "delete", name)


@pytest.fixture(scope="module")
def others(site: VmwareSite) -> dict[str, dict[str, tuple[str, ...]]]:
    """What the VMs of others were at the beginning."""
    found = foreign(site)
    assert all(len(told) == 2 for told in found.values())
    return found


# --- Importing VMware VM files as VM guest images


@pytest.mark.usefixtures("others")
def test_vm_files_are_imported_by_the_manuals_command(site: VmwareSite) -> None:
    """S37 S38 S44: `ccimport -r -i w2k -n raw -f … -s -v`, its questions answered."""
    archive = pack_guest(site, "w2k")
    answers = ("windows", "", "", "20", "http:80/health")
    lines = "".join(f"{answer}\n" for answer in answers)
    words = ("-r", "-i", "w2k", "-n", "raw", "-f", str(archive), "-s", "-v")
    site.console.type(*words, program="ccimport", reads=lines)
    image = site.console.ask("image", "show", "w2k@raw")
    assert (image["type"], image["state"], image["minimum_memory_mib"]) == ("windows", "active", 96)


# --- Updating VMDK-based VMware VM guest images


def test_a_host_tier_of_one_is_made_and_its_nodes_disengaged_but_one(site: VmwareSite) -> None:
    """S20 S21 S22: the host's VMs are free nodes; one of them can be allocated."""
    offer = ("--vms", str(VMS_PER_HOST), "--vm-memory", "128", "--vm-disk", "1")
    site.metier("image", "create", "esx", "--version", "1", "--type", "vmm-host", *offer)
    site.metier("tier", "create", "hosts", "--image", "esx@1", *ONE)
    site.metier("tier", "allocate", "hosts")
    site.metier("tier", "activate", "hosts", "--wait", "--timeout", "60")
    site.until(lambda: len(free_vms(site)) == VMS_PER_HOST, "its VMs are free nodes")
    for name in free_vms(site)[1:]:
        site.metier("node", "disengage", name, "--why", "kept from tiers")


def free_vms(site: VmwareSite) -> list[str]:
    """Return the names of the virtual nodes that are free."""
    return sorted(node["name"] for node in site.nodes("--kind", "virtual", "--placement", "free"))


def test_the_image_runs_in_a_guest_tier_of_one(site: VmwareSite) -> None:
    """S23 S24 S45: the slot's VM number and the host's IP address are what the capture will ask for."""
    address = create_guest_tier(site, "update", "w2k@raw", 0)
    site.metier("tier", "activate", "update", "--wait", "--timeout", "60")
    node = the_member(site, "update")
    assert (node["vm_slot"], node["power_ip"]) == ("VM1", str(site.lab.host(node["host"]).address))
    shown = site.metier("node", "list", "--tier", "update", "-o", "wide").output
    assert "VM1" in shown
    assert node["power_ip"] in shown
    assert f"<h1>{node['hostname']}</h1>" in site.page(address)
    site.change_inside(address, "reconfigured")


def test_the_guest_is_shut_down_from_its_console_and_not_replaced(site: VmwareSite) -> None:
    """S25 S76 (R-ENGAGE-2): an alert, and nothing else."""
    name = the_member(site, "update")["name"]
    site.metier("node", "disengage", name, "--why", "its image is captured")
    site.person(the_member(site, "update"), "shutdown")
    site.until(lambda: site.node(name)["power"] == "off", "the guest is off")
    site.until(lambda: name in alert_subjects(site), "an alert stands")
    assert the_member(site, "update")["name"] == name


def alert_subjects(site: VmwareSite) -> set[str]:
    """Return what alerts stand for."""
    return {alert["subject"] for alert in site.console.ask("alert", "list")}


def test_the_guest_is_captured_by_host_and_vm_number(site: VmwareSite) -> None:
    """S28 S29 S31 (R-CAPTURE-2): as an interview and by options; each gives a new version."""
    node = the_member(site, "update")
    host, number = node["power_ip"], str(node["vm_number"])
    asked = ("windows", "w2k", "2", host, number, "96", "none", "", "20", "http:80/health", "yes")
    told = site.console.type(program="cccapture", reads="".join(f"{line}\n" for line in asked))
    assert "is captured as image w2k version 2" in told.errors
    given = ("-t", "windows", "-i", "w2k", "-n", "3", "-h", host, "-g", number)
    site.console.type(*given, "-m", "96", "-u", "20", "-c", "http:80/health", "-y", program="cccapture")
    assert site.images("w2k") == ["2", "3", "raw"]
    assert site.console.ask("image", "show", "w2k@2")["type"] == "windows"
    assert site.work_files() == []


def test_the_vm_is_restarted_by_vmwares_own_tools(site: VmwareSite) -> None:
    """S32: it runs on with what it had on its disk."""
    node = the_member(site, "update")
    with site.lab.host(node["host"]).tools() as tools:
        done(tools.vms()[site.vm(node)].PowerOnVM_Task())
    site.until(lambda: site.node(node["name"])["status"] == "normal", "it is normal again")
    assert site.note(node["address"]) == "reconfigured"


def test_what_the_controller_shut_down_is_not_captured(site: VmwareSite) -> None:
    """S26 S27 (R-CAPTURE-1): refused with the reason and the way back; no version, no job."""
    node = the_member(site, "update")
    name, jobs = node["name"], len(site.console.ask("job", "list"))
    site.metier("node", "shutdown", name, "--accept-warnings", "--wait", "--timeout", "60")
    words = ("image", "capture", "w2k", "--version", "4", "--host", node["power_ip"], "--vm", "1")
    refused = site.metier(*words, expect=1)
    assert "was shut down by Metier" in refused.errors
    assert f"metier node power-on {name} --wait" in refused.errors
    assert site.images("w2k") == ["2", "3", "raw"]
    assert len(site.console.ask("job", "list")) == jobs


def test_the_vmx_of_what_the_controller_shut_down_is_moved_aside(site: VmwareSite) -> None:
    """S26: VMware's own tools do not show the VM, Metier does."""
    node = the_member(site, "update")
    site.until(lambda: site.vm(node) not in registered(site, node["host"]), "the VM is not registered")
    assert len(aside(site.lab.host(node["host"]))) == 1
    refused = site.metier("image", "capture", "w2k", "--version", "4", "--node", node["name"], expect=1)
    assert "moved its .vmx aside" in refused.errors


def registered(site: VmwareSite, host: str) -> set[str]:
    """Return the VMs that VMware's own tools show on a host."""
    with site.lab.host(host).tools() as tools:
        return set(tools.vms())


def aside(host: VmwareHost) -> list[Path]:
    """Return the `.vmx` files that Metier moved aside on a host."""
    return list(host.datastore.glob("metier/*/aside/**/*.vmx"))


def test_the_way_back_leads_to_a_capture(site: VmwareSite) -> None:
    """S27: powered on with Metier, shut down from inside, captured."""
    node = the_member(site, "update")
    site.metier("node", "power-on", node["name"], "--wait", "--timeout", "60")
    site.until(lambda: site.node(node["name"])["status"] == "normal", "it is normal again")
    assert aside(site.lab.host(node["host"])) == []
    assert site.vm(node) in registered(site, node["host"])
    site.person(node, "shutdown")
    site.until(lambda: site.node(node["name"])["power"] == "off", "the guest is off")
    site.metier("image", "capture", "w2k", "--version", "4", "--node", node["name"], "--wait")
    site.person(node, "poweron")
    site.until(lambda: site.node(node["name"])["status"] == "normal", "it runs on")


def test_what_was_made_for_the_procedure_is_taken_down(site: VmwareSite) -> None:
    """S33 S34: the guest tier first, then the host tier; the VMs of others went on running all the time."""
    node = the_member(site, "update")
    with site.lab.host(node["host"]).tools() as tools:
        assert len([name for name in tools.running() if name.startswith("ha-host")]) == 2
    site.metier("node", "engage", node["name"])
    remove_tier(site, "update")
    site.until(lambda: len(aside(site.lab.host(node["host"]))) == 1, "its .vmx is aside")
    assert site.vm(node) not in registered(site, node["host"])
    for node in site.nodes("--kind", "virtual"):
        site.metier("node", "engage", node["name"])
    remove_tier(site, "hosts")
    site.until(lambda: site.console.ask("alert", "list") == [], "no alert is left")
    site.until(lambda: site.nodes("--kind", "virtual") == [], "no virtual node is left")


# --- Removing virtual application nodes


def test_a_captured_version_runs_on_all_hosts(site: VmwareSite) -> None:
    """S31 S35 S46: the new version, with the change in it, in a tier of three over two hosts."""
    site.metier("tier", "create", "hosts", "--image", "esx@1", "--minimum", "1", "--target", "2")
    site.metier("tier", "activate", "hosts", "--wait", "--timeout", "60")
    addresses = [str(address) for address in site.lab.static_addresses[1:5]]
    site.metier(
        *("tier", "create", "web", "--image", "w2k@4", "--minimum", "1", "--target", "3", "--maximum", "4"),
        *("--depends-on", "hosts", "--reboot-on-failure", "off"),
        *("--addresses", f"{addresses[0]}-{addresses[-1]}/{site.lab.prefix_length}"),
    )
    site.metier("tier", "activate", "web", "--wait", "--timeout", "60")
    members = site.nodes("--tier", "web")
    assert {node["host"] for node in members} == set(HOSTS)
    assert [site.note(node["address"]) for node in members] == ["reconfigured"] * 3


def test_a_shrink_waits_and_the_forced_way_warns_once_for_each_guest(site: VmwareSite) -> None:
    """S47 S48 S50 S52 S53 S54 S55 S56 (R-SHRINK-2 R-FORCE-1 R-FORCE-2)."""
    site.metier("tier", "edit", "hosts", "--target", "1")
    site.until(lambda: len(site.tier("hosts")["waiting_for"]) == 2, "the tier says what it waits for")
    host = min(HOSTS, key=lambda name: (site.node(name)["active_guests"], name))
    guests = site.node(host)["active_guests"]
    site.metier("node", "disengage", host)
    refused = site.metier("node", "shutdown", host, expect=4)
    assert sum(f"{host}/VM" in line for line in warnings_in(refused.errors)) == guests > 0
    assert site.node(host)["status"] == "normal"
    site.metier("node", "shutdown", host, "--accept-warnings", "--wait", "--timeout", "60")
    assert site.virtual(host) == []
    site.until_normal("web", 3)
    assert {node["host"] for node in site.nodes("--tier", "web")} == set(HOSTS) - {host}
    site.metier("node", "engage", host)
    site.until(lambda: site.node(host)["placement"] == "free", f"{host} is free")


def warnings_in(text: str) -> list[str]:
    """Return the warnings in what a command said."""
    return [line for line in text.splitlines() if line.startswith("warning:")]


# --- Managing VMM host images


def test_a_refresh_takes_a_changed_vm_over(site: VmwareSite) -> None:
    """S65 S66 (R-REFRESH-1): changed with VMware's tools; disengaged, off, on, engaged."""
    site.metier("tier", "edit", "hosts", "--target", "2", "--wait", "--timeout", "60")
    host = next(name for name in HOSTS if not site.node(name)["active_guests"])
    site.until(lambda: len(site.virtual(host)) == VMS_PER_HOST, "its VMs are nodes")
    with site.lab.host(host).tools() as tools:
        vm = tools.vms()[f"metier-{host}-VM3"]
        done(vm.ReconfigVM_Task(vim.vm.ConfigSpec(memoryMB=160)))
    site.metier("node", "disengage", host)
    site.metier("node", "power-off", host, "--accept-warnings", "--wait", "--timeout", "60")
    assert site.virtual(host) == []
    site.metier("node", "power-on", host, "--wait", "--timeout", "60")
    site.metier("node", "engage", host)
    site.until(lambda: len(site.virtual(host)) == VMS_PER_HOST, "its VMs are nodes again")
    site.until(lambda: site.node(f"{host}/VM3")["memory_mib"] == 160, "VM3 has its new memory")


def test_a_patched_host_wants_its_image_captured_anew(site: VmwareSite) -> None:
    """S68: another build of the VM manager is an alert, and nothing else."""
    host = next(name for name in HOSTS if not site.node(name)["active_guests"])
    site.metier("node", "disengage", host)
    site.metier("node", "power-off", host, "--accept-warnings", "--wait", "--timeout", "60")
    site.lab.host(host).server.tell("host?build=9999999")
    site.metier("node", "power-on", host, "--wait", "--timeout", "60")
    site.metier("node", "engage", host)
    site.until(lambda: ("host-patched", host) in alerts(site), "the alert stands")
    (alert,) = [one for one in site.console.ask("alert", "list") if one["code"] == "host-patched"]
    assert "9999999" in alert["message"]
    site.until(lambda: site.node(host)["status"] == "normal", "the host goes on")


def alerts(site: VmwareSite) -> set[tuple[str, str]]:
    """Return code and subject of each alert."""
    return {(alert["code"], alert["subject"]) for alert in site.console.ask("alert", "list")}


def test_vms_that_a_person_staged_become_nodes_when_handed_over(site: VmwareSite) -> None:
    """S9 (R-HOST-1 R-DRIFT-2): by name, with the next number; given back as they were found."""
    host = next(name for name in HOSTS if not site.node(name)["active_guests"])
    release(site, host)
    with site.lab.host(host).tools() as tools:
        # VMware itself writes a slash in a name so.
        tools.add("staged a%2fü", memory_mib=192, disk_kib=2048)
        tools.add("not staged", memory_mib=192, disk_kib=2048)
        before = tools.inventory()
    site.metier("node", "edit", host, "--vmm-setting", "staged=staged a/ü")
    site.metier("tier", "edit", "hosts", "--target", "2", "--wait", "--timeout", "60")
    site.until(lambda: len(site.virtual(host)) == VMS_PER_HOST + 1, "it is a node")
    node = site.node(f"{host}/VM{VMS_PER_HOST + 1}")
    assert (node["memory_mib"], node["power_ip"]) == (192, str(site.lab.host(host).address))

    release(site, host)
    with site.lab.host(host).tools() as tools:
        assert tools.inventory() == before


def release(site: VmwareSite, host: str) -> None:
    """Let a host that has no active guests leave its tier, and switch it on again."""
    site.metier("tier", "edit", "hosts", "--target", "1")
    site.until(lambda: site.node(host)["status"] == "offline", f"{host} is free and off")
    site.metier("node", "power-on", host, "--wait", "--timeout", "60")


def test_at_last_nothing_of_metiers_is_left_on_the_hosts(
    site: VmwareSite, others: dict[str, dict[str, tuple[str, ...]]]
) -> None:
    """S34 S73 (R-HOSTDOWN-1): guests first, then hosts; the VMs of others are as they were."""
    remove_tier(site, "web")
    remove_tier(site, "hosts")
    site.until(lambda: site.console.ask("alert", "list") == [], "no alert is left")
    for host in site.lab.hosts:
        site.metier("node", "power-on", host.name, "--wait", "--timeout", "60")
        assert not [name for name in registered(site, host.name) if name.startswith("metier-")]
        assert list(host.datastore.glob("metier/*/instances/*")) == []
        assert aside(host) == []
    now = foreign(site)
    assert all(told.items() <= now[host].items() for host, told in others.items())

"""The manual's procedures on real virtual machines, in an operator's words, all on one site."""

import os
from collections.abc import Iterator

import pytest

from tests.e2e.site import VMS_PER_HOST, Site, create_tiers, import_guest, running_site

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces and bridges need root"),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site with an imported guest image and two tiers that are not active yet."""
    with running_site(tmp_path_factory.mktemp("site")) as site:
        import_guest(site)
        create_tiers(site)
        yield site


def test_activating_a_host_tier_turns_its_vms_into_nodes(site: Site) -> None:
    """S3 S9 S10 S20 S21 S23 (R-HOST-1): `VM<n>` slots, the host's address as power IP, into the free pool."""
    site.metier("tier", "allocate", "hosts")
    site.metier("tier", "activate", "hosts", "--wait", "--timeout", "120")
    site.until(lambda: len(site.nodes("--placement", "free")) == 2 * VMS_PER_HOST, "all VMs are free nodes")
    node = site.node("host-1/VM2")
    assert (node["vm_slot"], node["power_ip"]) == ("VM2", str(site.lab.host("host-1").address))
    assert (node["kind"], node["memory_mib"], node["status"]) == ("virtual", 128, "idle")


def test_a_vm_that_is_not_ours_is_neither_listed_nor_touched(site: Site) -> None:
    """R-DRIFT-2: VMs that Metier did not define are no nodes, and go on running."""
    foreign = site.folder / "foreign.xml"
    foreign.write_text(
        "<domain type='qemu'><name>theirs</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>"
        "<os><type arch='x86_64'>hvm</type></os></domain>"
    )
    site.virsh("host-1", "create", str(foreign))
    assert {node["name"] for node in site.virtual("host-1")} == {
        f"host-1/VM{n + 1}" for n in range(VMS_PER_HOST)
    }
    assert "theirs" in site.virsh("host-1", "list", "--name")
    site.virsh("host-1", "destroy", "theirs")


def test_a_disengaged_free_node_is_not_allocated(site: Site) -> None:
    """S2 S15 S16 S22 S24 S45 (R-ENGAGE-1): the guest tier takes other nodes and boots the image on them."""
    site.metier("node", "disengage", "host-1/VM1", "--why", "kept for a trial")
    site.metier("tier", "activate", "web", "--wait", "--timeout", "180")
    members = site.nodes("--tier", "web")
    assert [node["slot"] for node in sorted(members, key=lambda node: node["slot"])] == [1, 2]
    assert "host-1/VM1" not in {node["name"] for node in members}
    for node in members:
        assert f"web-{node['slot']}" in site.page(node["address"])
    site.metier("node", "engage", "host-1/VM1")


def test_a_vm_started_by_hand_is_put_back(site: Site) -> None:
    """S61 P41 (R-DRIFT-1): an idle virtual node that somebody starts is switched off again."""
    idle = next(node for node in site.nodes("--placement", "free") if node["kind"] == "virtual")
    before = site.last_event()
    site.virsh(idle["host"], "start", f"metier-{idle['host']}-{idle['vm_slot']}")
    site.until(
        lambda: any(
            event["by"] == "R-DRIFT-1" and event["subject"] == idle["name"] for event in site.events(before)
        ),
        "the drift is seen",
    )
    site.until(lambda: site.node(idle["name"])["status"] == "idle", "the node is idle again")
    names = site.virsh(idle["host"], "list", "--name").split()
    assert f"metier-{idle['host']}-{idle['vm_slot']}" not in names


def test_a_disengaged_guest_that_is_shut_down_keeps_its_slot(site: Site) -> None:
    """S17 S25 S33 S76: its own OS shuts it down from outside; there is an alert and nothing else."""
    member = site.nodes("--tier", "web")[0]
    site.metier("node", "disengage", member["name"])
    site.virsh(member["host"], "shutdown", f"metier-{member['host']}-{member['vm_slot']}")
    site.until(lambda: site.node(member["name"])["power"] == "off", "the guest is off")
    site.until(
        lambda: any(alert["subject"] == member["name"] for alert in site.console.ask("alert", "list")),
        "an alert stands",
    )
    assert site.node(member["name"])["slot"] == member["slot"]
    site.virsh(member["host"], "start", f"metier-{member['host']}-{member['vm_slot']}")
    site.until(lambda: site.node(member["name"])["status"] == "normal", "it runs on")
    site.metier("node", "engage", member["name"])
    site.until_normal("web", 2)


def test_a_controller_killed_at_work_goes_on_where_it_was(site: Site) -> None:
    """P1 P4: kill -9 while a guest is being started; then the tier gets to its target, nothing runs twice."""
    site.metier("tier", "edit", "web", "--target", "3")
    site.controller.kill()
    site.controller.start()
    site.until_normal("web", 3)
    running = sum(len(site.virsh(host, "list", "--name").split()) for host in ("host-1", "host-2"))
    assert running == 3
    site.metier("tier", "edit", "web", "--target", "2", "--wait", "--timeout", "120")


def test_a_second_controller_on_the_same_state_is_refused(site: Site) -> None:
    """Two controllers on one state folder: the second says who holds it and ends."""
    answer = site.metier("serve", "--state", str(site.controller.state), expect=1)
    assert "controller" in answer.errors


def test_a_killed_guest_is_replaced_from_the_free_pool(site: Site) -> None:
    """S72 P23 (R-FAIL-1 R-FAIL-3 R-FENCE-1): the slot's next node carries its host name and address."""
    victim = site.nodes("--tier", "web")[0]
    before = site.last_event()
    site.lab.kill_guest(victim["host"], f"metier-{victim['host']}-{victim['vm_slot']}")
    site.until(
        lambda: any("AllocateNode" in event["message"] for event in site.events(before)), "it is replaced"
    )
    site.until_normal("web", 2)
    heir = next(node for node in site.nodes("--tier", "web") if node["slot"] == victim["slot"])
    assert (heir["hostname"], heir["address"]) == (victim["hostname"], victim["address"])
    assert victim["hostname"] in site.page(heir["address"])
    site.until(lambda: site.node(victim["name"])["placement"] == "free", "the tested node is free again")


def test_lowering_a_host_tiers_target_waits_for_active_guests(site: Site) -> None:
    """S47 S48 S49 (R-SHRINK-2): nothing happens, and the tier says for whom it waits."""
    site.metier("tier", "edit", "hosts", "--target", "1")
    site.until(lambda: len(site.tier("hosts")["waiting_for"]) == 2, "the tier says what it waits for")
    assert all("still hosts active guests" in sentence for sentence in site.tier("hosts")["waiting_for"])
    assert site.tier("hosts")["allocated"] == 2


def test_a_forced_shutdown_warns_per_guest_and_replaces_them(site: Site) -> None:
    """S14 S18 S52 S53 S54 S55 (R-FORCE-1): declined, nothing changes; accepted, all its virtual nodes go."""
    host = min(("host-1", "host-2"), key=lambda name: (site.node(name)["active_guests"], name))
    guests = site.node(host)["active_guests"]
    site.metier("node", "disengage", host)
    refused = site.metier("node", "shutdown", host, expect=4)
    assert refused.errors.count("warning:") == guests > 0
    assert site.node(host)["status"] == "normal"
    site.metier("node", "shutdown", host, "--accept-warnings", "--wait", "--timeout", "180")
    assert site.virtual(host) == []
    assert site.node(host)["tier"] == "hosts"
    site.until_normal("web", 2)
    assert {node["host"] for node in site.nodes("--tier", "web")} == {"host-1", "host-2"} - {host}


def test_engaging_the_stopped_host_lets_it_leave_the_tier(site: Site) -> None:
    """S19 S50 S51 S56 (R-FORCE-2): the tier is above its target, so the host is released."""
    host = next(name for name in ("host-1", "host-2") if not site.node(name)["engaged"])
    site.metier("node", "engage", host)
    site.until(lambda: site.node(host)["placement"] == "free", f"{host} is free")
    assert site.tier("hosts")["allocated"] == 1


def test_a_refresh_rediscovers_vms_with_their_new_configuration(site: Site) -> None:
    """S65 S66 (R-REFRESH-1): changed with the VM manager's tools, taken over by a power cycle."""
    site.metier("tier", "edit", "hosts", "--target", "2", "--wait", "--timeout", "120")
    host = next(name for name in ("host-1", "host-2") if not site.node(name)["active_guests"])
    site.until(lambda: len(site.virtual(host)) == VMS_PER_HOST, "its VMs are nodes")
    domain = f"metier-{host}-VM3"
    site.virsh(host, "setmaxmem", domain, "160M", "--config")
    site.virsh(host, "setmem", domain, "160M", "--config")
    site.metier("node", "disengage", host)
    site.metier("node", "power-off", host, "--accept-warnings", "--wait", "--timeout", "60")
    assert site.virtual(host) == []
    site.metier("node", "power-on", host, "--wait", "--timeout", "60")
    site.metier("node", "engage", host)
    site.until(lambda: len(site.virtual(host)) == VMS_PER_HOST, "its VMs are nodes again")
    site.until(lambda: site.node(f"{host}/VM3")["memory_mib"] == 160, "VM3 has its new memory")


def test_a_host_that_loses_power_has_its_guests_replaced(site: Site) -> None:
    """S46 S55 P23 (R-FENCE-1): seen off by its power controller, its guests start elsewhere."""
    host = site.nodes("--tier", "web")[0]["host"]
    other = ({"host-1", "host-2"} - {host}).pop()
    site.lab.power_off(host)
    site.until(
        lambda: {node["host"] for node in site.nodes("--tier", "web")} == {other},
        "all guests are on the other host",
    )
    site.until_normal("web", 2)
    site.until_normal("hosts", 2)
    site.until(lambda: len(site.virtual(host)) == VMS_PER_HOST, "the host came back with its VMs")


def test_deactivating_the_host_tier_first_makes_the_guest_tier_alert(site: Site) -> None:
    """S71 S72 S74 S75 (R-HOSTDOWN-1): nodes vanish, the guest tier alerts; activated again, they return."""
    site.metier("tier", "deactivate", "hosts", expect=4)
    site.metier("tier", "deactivate", "hosts", "--accept-warnings", "--wait", "--timeout", "180")
    assert site.nodes("--kind", "virtual") == []
    subjects = {(alert["code"], alert["subject"]) for alert in site.console.ask("alert", "list")}
    assert ("tier-short", "web") in subjects
    site.metier("tier", "activate", "hosts", "--wait", "--timeout", "120")
    site.until_normal("web", 2)
    assert "tier-short" not in {alert["code"] for alert in site.console.ask("alert", "list")}


def test_deactivating_the_guest_tier_first_raises_no_alert(site: Site) -> None:
    """S34 S73 (R-HOSTDOWN-1): taken down in order no alert, and nothing left."""
    site.metier("tier", "deactivate", "web", "--wait", "--timeout", "120")
    site.metier("tier", "deactivate", "hosts", "--wait", "--timeout", "120")
    site.metier("tier", "deallocate", "web", "--wait", "--timeout", "60")
    site.metier("tier", "deallocate", "hosts", "--wait", "--timeout", "60")
    assert site.console.ask("alert", "list") == []
    site.metier("tier", "delete", "web")
    site.metier("tier", "delete", "hosts")
    assert {node["placement"] for node in site.nodes()} == {"free"}
    for host in ("host-1", "host-2"):
        site.metier("node", "power-on", host, "--wait", "--timeout", "60")
        assert site.virsh(host, "list", "--all", "--name").split() == []
    site.metier("image", "deactivate", "web@1")
    site.metier("image", "delete", "web@1")
    site.metier("image", "show", "web@1", expect=3)

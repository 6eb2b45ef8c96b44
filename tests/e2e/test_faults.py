"""What real hosts and guests do wrong: hang, never come up, ask for strange hardware."""

import os
from collections.abc import Iterator

import pytest

from metier.lab.vmx import VmwareMachine
from tests.e2e.site import (
    Site,
    create_guest_tier,
    create_host_tier,
    hung_daemon,
    import_guest,
    running_site,
)

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces and bridges need root"),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site with an active host tier whose VMs have room for UEFI."""
    with running_site(tmp_path_factory.mktemp("site")) as site:
        create_host_tier(site, vm_memory_mib=192)
        site.metier("tier", "activate", "hosts", "--wait", "--timeout", "120")
        yield site


@pytest.mark.parametrize(
    ("name", "machine"),
    [
        ("ide", VmwareMachine("ide", memory_mib=96, disk_bus="ide", nic_model="vmxnet3")),
        ("efi", VmwareMachine("efi", memory_mib=192, disk_bus="pvscsi", firmware="efi")),
    ],
)
def test_the_vmx_decides_what_hardware_a_guest_gets(site: Site, name: str, machine: VmwareMachine) -> None:
    """S45: a guest of another bus or firmware boots as its archive says."""
    import_guest(site, name, machine=machine)
    create_guest_tier(site, name, 1)
    site.metier("tier", "activate", name, "--wait", "--timeout", "240")
    member = site.nodes("--tier", name)[0]
    assert f"{name}-1" in site.page(member["address"])
    definition = site.virsh(member["host"], "dumpxml", f"metier-{member['host']}-{member['vm_slot']}")
    assert ("type='pflash'" in definition) == (machine.firmware == "efi")
    assert ("bus='ide'/>" in definition.split("<disk", 2)[1]) == (machine.disk_bus == "ide")


def test_a_hung_vm_manager_costs_nobody_else_anything(site: Site) -> None:
    """R-FAIL-1: a host whose daemon hangs is left alone while its guests answer; all else goes on."""
    member = site.nodes("--tier", "ide")[0]
    other = ({"host-1", "host-2"} - {member["host"]}).pop()
    with hung_daemon(site, member["host"]):
        site.until(
            lambda: any(alert["code"] == "vmm-unreachable" for alert in site.console.ask("alert", "list")),
            "the host is known to be unreachable",
        )
        assert site.node(member["name"])["status"] == "normal"
        assert f"{member['hostname']}" in site.page(member["address"])
        assert site.node(other)["status"] == "normal"
        assert site.tier("ide")["normal"] == 1
    site.until(lambda: site.node(member["host"])["status"] == "normal", "the host answers again")
    site.until(lambda: site.console.ask("alert", "list") == [], "no alert is left")


def test_guests_that_never_serve_stop_automation(site: Site) -> None:
    """S46 (R-FAIL-1 R-STORM-1): three nodes in a row fail their startup; then a person is asked."""
    import_guest(site, "mute", flags=("metier-no-http",))
    create_guest_tier(site, "mute", 1, "--startup-seconds", "12")
    site.metier("tier", "activate", "mute")
    site.until(
        lambda: any(alert["code"] == "storm" for alert in site.console.ask("alert", "list")),
        "automation gives up",
    )
    failures = [event for event in site.events() if event["message"].startswith("FailNode")]
    assert len(failures) == 3
    assert "tier resume mute" in " ".join(site.tier("mute")["waiting_for"])
    site.metier("tier", "deallocate", "mute", "--wait", "--timeout", "120")
    site.metier("tier", "delete", "mute")

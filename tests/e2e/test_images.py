"""Images on a real host: appliances of other tools go in and out, and a guest is captured by hand."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from metier.lab.guest import build_guest
from tests.e2e import slow_server
from tests.e2e.appliances import virtualbox_ova, vmware_ova
from tests.e2e.site import Site, create_host_tier, hung_daemon, import_guest, running_site

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces and bridges need root"),
]

SWITCHES = ("--reboot-on-failure", "off", "--move-to-maintenance", "off", "--harvesting", "off")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site of one host that offers three VMs, and an image to change."""
    with running_site(tmp_path_factory.mktemp("site"), hosts=1) as site:
        import_guest(site, "web")
        create_host_tier(site)
        site.metier("tier", "activate", "hosts", "--wait", "--timeout", "120")
        site.until(lambda: len(site.nodes("--kind", "virtual", "--placement", "free")) == 3, "VMs are free")
        yield site


@pytest.fixture(scope="module")
def guest_disk(site: Site) -> Path:
    """The lab's guest as a raw disk, kept through the module."""
    disk = site.folder / "app.raw"
    build_guest(disk)
    return disk


def create_tier_of_one(site: Site, name: str, image: str, place: int) -> str:
    """Create the manual's temporary tier, with the three switches off; return its guest's address."""
    address = str(site.lab.static_addresses[place])
    site.metier(
        *("tier", "create", name, "--image", image, "--minimum", "1", "--target", "1", "--maximum", "1"),
        *(*SWITCHES, "--depends-on", "hosts", "--slot-address", f"1={address}/{site.lab.prefix_length}"),
    )
    return address


def remove_tier(site: Site, name: str) -> None:
    site.metier("tier", "deallocate", name, "--wait", "--timeout", "120")
    site.metier("tier", "delete", name)


# --- the manual's update procedure, by hand


def test_the_update_procedure_by_hand(site: Site) -> None:
    """S24 S25 S27 S28 S31 S32 S34 (R-CAPTURE-1 R-CAPTURE-2): change, shut down inside, capture, run on."""
    address = create_tier_of_one(site, "update", "web@1", 0)
    site.metier("tier", "activate", "update", "--wait", "--timeout", "180")
    node = site.nodes("--tier", "update")[0]
    host_ip, number = str(site.lab.host("host-1").address), str(node["vm_number"])
    assert site.node(node["name"])["power_ip"] == host_ip
    site.change_inside(address, "changed by hand")

    refused = site.metier("image", "capture", "web", "--node", node["name"], expect=1)
    assert "is engaged" in refused.errors
    site.metier("node", "disengage", node["name"], "--why", "capturing its image")
    refused = site.metier("image", "capture", "web", "--node", node["name"], expect=1)
    assert "still running" in refused.errors
    shut_down_by_metier_is_refused_with_the_way_back(site, node["name"])

    site.shut_down_inside(address)
    site.until(lambda: site.node(node["name"])["power"] == "off", "the guest is off")
    capture_by_options_and_by_interview(site, host_ip, number)
    the_vm_runs_on_with_the_vmms_own_tools(site, node, address)

    site.metier("node", "engage", node["name"])
    remove_tier(site, "update")
    assert site.images("web") == ["1", "2", "3"]
    assert site.work_files() == []


def shut_down_by_metier_is_refused_with_the_way_back(site: Site, node: str) -> None:
    """Do what the manual forbids: a guest that Metier shut down is not captured."""
    site.metier("node", "shutdown", node, "--accept-warnings", "--wait", "--timeout", "60")
    refused = site.metier("image", "capture", "web", "--node", node, expect=1)
    assert "was shut down by Metier" in refused.errors
    assert f"metier node power-on {node} --wait" in refused.errors
    site.metier("node", "power-on", node, "--wait", "--timeout", "120")
    site.until_normal("update", 1)


def capture_by_options_and_by_interview(site: Site, host_ip: str, number: str) -> None:
    """Give every answer as an option, then as a line of standard input."""
    wrong = site.console.type("-y", "-i", "web", "-h", host_ip, "-g", "9", program="cccapture", expect=(3,))
    assert "host-1 has no VM9" in wrong.errors
    taken = ("-y", "-i", "web", "-n", "1", "-h", host_ip, "-g", number)
    assert "exists" in site.console.type(*taken, program="cccapture", expect=(1,)).errors
    answers = ("-t", "linux", "-i", "web", "-n", "2", "-h", host_ip, "-g", number)
    settings = ("-m", "96", "-u", "90", "-c", "http:80/health", "-d", "0", "-y")
    site.console.type(*answers, *settings, program="cccapture")
    image = site.console.ask("image", "show", "web@2")
    assert (image["minimum_memory_mib"], image["startup_s"], image["state"]) == (96, 90, "active")
    lines = ("linux", "web", "", host_ip, number, "96", "none", "", "120", "http:80/health", "yes")
    told = site.console.type(program="cccapture", reads="".join(f"{line}\n" for line in lines))
    assert "is captured as image web version 3" in told.errors


def the_vm_runs_on_with_the_vmms_own_tools(site: Site, node: dict[str, Any], address: str) -> None:
    """Start it again by virsh: it runs on with what it had on its disk."""
    site.virsh("host-1", "start", f"metier-host-1-{node['vm_slot']}")
    # Its status may still be the one from before it was shut down.
    site.until(lambda: site.answers(address), "it runs on")
    assert site.note(address) == "changed by hand"


def test_a_tier_on_the_captured_version_shows_the_change(site: Site) -> None:
    """S31 (R-CAPTURE-2): the new version has the change, and takes little room beside the old one."""
    address = create_tier_of_one(site, "web", "web@2", 1)
    site.metier("tier", "activate", "web", "--wait", "--timeout", "180")
    assert site.note(address) == "changed by hand"
    assert "web-1" in site.page(address)
    remove_tier(site, "web")
    new, old = (site.console.ask("image", "show", ref) for ref in ("web@2", "web@1"))
    assert new["captured_from"] == "web@1"
    assert new["own_bytes"] < old["size_bytes"] / 4


def test_the_difference_between_the_versions_is_one_file(site: Site) -> None:
    """What changed, as far as the guest's own file system tells."""
    done = site.metier("image", "diff", "web@1", "web@2", "--wait")
    assert "/note.txt" in done.output
    assert "/boots.txt" in done.output
    assert "/vmlinuz" not in done.output


# --- appliances made by other tools


def test_an_appliance_of_another_tool_runs_and_goes_out_again(site: Site, guest_disk: Path) -> None:
    """S45 P16 P19: a VirtualBox OVA is imported, personalized, run, exported, and imported again: equal."""
    ova = virtualbox_ova(guest_disk, site.folder)
    looked = site.metier("image", "inspect", "--file", str(ova))
    assert "ide" in looked.output
    site.metier(
        *("image", "import", "--file", str(ova), "--name", "app", "--type", "linux", "--wait"),
        *("--collector", "http:80/health", "--startup-seconds", "120"),
    )
    address = create_tier_of_one(site, "app", "app@1", 2)
    personalize(site)
    site.metier("tier", "activate", "app", "--wait", "--timeout", "180")
    the_guest_is_told_its_personality(site, address)
    remove_tier(site, "app")

    out = site.folder / "out.ova"
    site.metier("image", "export", "app@1", "--form", "ova", "--file", str(out), "--wait")
    site.metier("image", "import", "--file", str(out), "--name", "again", "--type", "linux", "--wait")
    assert digests(site, "again@1") == digests(site, "app@1")
    refused = site.metier("image", "export", "app@1", "--file", str(out), "--wait", expect=1)
    assert "there is" in refused.errors


def personalize(site: Site) -> None:
    """Give its guests user-data and a file, rendered with the slot's values."""
    user_data, motd = site.folder / "user-data", site.folder / "motd"
    user_data.write_text("#cloud-config\nfqdn: {{ hostname }}.example.org\n")
    motd.write_text("{{ role }} {{ slot }} on {{ image }}\n")
    site.metier(
        *("tier", "personalize", "app", "--user-data", str(user_data)),
        *("--add-file", f"/etc/motd={motd},0644", "--set", "role=front"),
    )
    shown = site.metier("tier", "personality", "app", "--slot", "1")
    assert "front 1 on app" in shown.output


def the_guest_is_told_its_personality(site: Site, address: str) -> None:
    told = site.page(address, "seed/user-data")
    assert "fqdn: app-1.example.org" in told
    assert "/etc/motd" in told
    slot = site.console.ask("tier", "personality", "app", "--slot", "1")
    assert "app-1" in str(slot)


def digests(site: Site, image: str) -> list[str]:
    return [disk["digest"] for disk in site.console.ask("image", "show", image)["disks"]]


def test_vmwares_ova_comes_from_a_url_and_through_a_pipe(site: Site, guest_disk: Path) -> None:
    """The same bytes by HTTP and by standard input; another file than was meant is refused."""
    ova = vmware_ova(guest_disk, site.folder)
    with served(site, ova) as url:
        (ova.parent / "go").touch()
        order = ("image", "import", "--url", url, "--name", "vmw", "--type", "linux", "--wait")
        refused = site.metier(*order, "--sha256", "0" * 64, expect=1)
        assert "SHA-256" in refused.errors
        assert site.images("vmw") == []
        site.metier(*order)
    (ova.parent / "go").unlink()
    words = ("image", "import", "--file", "-", "--name", "vmw", "--type", "linux", "--wait")
    site.console.type(*words, reads=ova)
    assert site.images("vmw") == ["1", "2"]
    assert digests(site, "vmw@1") == digests(site, "vmw@2")
    assert site.work_files() == []


# --- killed in the middle


def test_a_controller_killed_in_an_import_fetches_only_the_rest(site: Site, guest_disk: Path) -> None:
    """R-IMAGE-1: nothing is visible after the kill; started again, the job goes on and ends well."""
    ova = vmware_ova(guest_disk, site.folder)
    with served(site, ova) as url:
        asked = ova.with_name("asked")
        asked.write_text("")
        site.metier("image", "import", "--url", url, "--name", "slow", "--type", "linux")
        site.until(lambda: len(asked.read_text().splitlines()) == 2, "the rest is asked for")
        site.controller.kill()
        site.controller.start()
        assert site.images("slow") == []
        site.until(lambda: len(asked.read_text().splitlines()) == 3, "the rest is asked for again")
        assert "bytes=" in asked.read_text().splitlines()[-1]
        (ova.parent / "go").touch()
        site.until(lambda: job(site, "slow@1")["state"] == "done", "it is imported")
    (ova.parent / "go").unlink()
    assert digests(site, "slow@1") == digests(site, "vmw@1")
    assert site.work_files() == []


def test_a_controller_killed_in_a_capture_leaves_nothing_half_made(site: Site) -> None:
    """R-IMAGE-1 R-CAPTURE-1: killed while the host is silent; cancelled or done, nothing is left over."""
    address = create_tier_of_one(site, "another", "web@1", 3)
    site.metier("tier", "activate", "another", "--wait", "--timeout", "180")
    node = site.nodes("--tier", "another")[0]["name"]
    site.metier("node", "disengage", node)
    site.shut_down_inside(address)
    site.until(lambda: site.node(node)["power"] == "off", "the guest is off")
    with hung_daemon(site, "host-1"):
        site.metier("image", "capture", "web", "--version", "killed", "--node", node)
        site.until(lambda: job(site, "web@killed")["state"] == "running", "the capture is under way")
        site.controller.kill()
        site.controller.start()
        assert "killed" not in site.images("web")
    site.until(lambda: job(site, "web@killed")["state"] in ("done", "failed"), "the capture has ended")
    assert ("killed" in site.images("web")) == (job(site, "web@killed")["state"] == "done")
    assert site.work_files() == []
    site.metier("node", "engage", node)
    remove_tier(site, "another")


def job(site: Site, subject: str) -> dict[str, Any]:
    """Return the newest job on an image version."""
    rows = [row for row in site.console.ask("job", "list") if row["subject"] == subject]
    return max(rows, key=lambda row: int(row["id"]))


@contextmanager
def served(site: Site, file: Path) -> Iterator[str]:
    """Serve a file inside the site: it breaks off in the middle until `go` lies beside it."""
    program = [sys.executable, slow_server.__file__, str(file), str(site.lab.gateway)]
    with subprocess.Popen(site.lab.command_in_site(program), stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield f"http://{site.lab.gateway}:{server.stdout.readline().strip()}/{file.name}"
        finally:
            server.kill()

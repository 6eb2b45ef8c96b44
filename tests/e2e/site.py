"""A real site for end-to-end tests: two libvirt hosts, a controller, and an operator at its console."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from metier.lab.archive import pack_archive
from metier.lab.console import Answer, Console
from metier.lab.controller import LabController
from metier.lab.datacentre import LabDatacentre
from metier.lab.guest import build_guest
from metier.lab.guest_process import host_processes
from metier.lab.host import HostFolder, read_init
from metier.lab.identity import PROC
from metier.lab.running import node_settings
from metier.lab.state import LabHost
from metier.lab.vmx import VmwareMachine
from metier.lab.waiting import wait_until

VMS_PER_HOST = 3
PATIENCE_S = 180.0

FETCH = """
import sys, urllib.request
with urllib.request.urlopen(sys.argv[1], timeout=10) as answer:
    sys.stdout.write(answer.read().decode())
"""


class Site:
    """What a test needs: the lab, its controller, and questions in the operator's words."""

    def __init__(self, folder: Path, lab: LabDatacentre) -> None:
        self.folder, self.lab = folder, lab
        self.controller = LabController(lab, folder / "state")
        self.console = Console(self.controller.state)

    def metier(self, *words: str, expect: int = 0) -> Answer:
        """Type a command that must end with status `expect`."""
        return self.console.type(*words, expect=(expect,))

    def node(self, name: str) -> dict[str, Any]:
        """Return one node."""
        found: dict[str, Any] = self.console.ask("node", "show", name)
        return found

    def nodes(self, *filters: str) -> list[dict[str, Any]]:
        """Return the nodes that `filters` let through."""
        found: list[dict[str, Any]] = self.console.ask("node", "list", *filters)
        return found

    def virtual(self, host: str) -> list[dict[str, Any]]:
        """Return the virtual nodes of a host."""
        return [node for node in self.nodes("--kind", "virtual") if node["host"] == host]

    def tier(self, name: str) -> dict[str, Any]:
        """Return one tier."""
        found: dict[str, Any] = self.console.ask("tier", "show", name)
        return found

    def events(self, after: int = 0) -> list[dict[str, Any]]:
        """Return the journal after an event."""
        found: list[dict[str, Any]] = self.console.ask(
            "event", "list", "--after", str(after), "--limit", "1000"
        )
        return found

    def last_event(self) -> int:
        """Return the number of the newest event."""
        return int(self.console.ask("event", "list", "--limit", "1")[-1]["id"])

    def until(self, question: Callable[[], bool], what: str) -> None:
        """Wait for something to be so."""
        if not wait_until(question, PATIENCE_S, every_s=0.3):
            last = "\n".join(
                f"{event['at']} {event['subject']}: {event['message']}" for event in self.events()[-25:]
            )
            raise AssertionError(f"waited {PATIENCE_S:.0f} s in vain until {what}\n{last}")

    def until_normal(self, tier: str, count: int) -> None:
        """Wait until a tier has `count` normal members and waits for nothing."""
        self.until(lambda: self.tier(tier)["normal"] == count, f"{tier} has {count} normal nodes")

    def virsh(self, host: str, *words: str) -> str:
        """Use the VM manager's own tool on a host, behind Metier's back."""
        argv = ["virsh", "-q", "-c", self.lab.host(host).url, *words]
        return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout

    def page(self, address: str, path: str = "") -> str:
        """Fetch a page of a guest's, from inside the site."""
        argv = self.lab.command_in_site([sys.executable, "-c", FETCH, f"http://{address}/{path}"])
        return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=30).stdout

    def answers(self, address: str) -> bool:
        """Say whether a guest serves its page just now."""
        argv = self.lab.command_in_site([sys.executable, "-c", FETCH, f"http://{address}/health"])
        return subprocess.run(argv, capture_output=True, check=False, timeout=30).returncode == 0

    def note(self, address: str) -> str:
        """Return what is noted on a guest's disk."""
        return self.page(address, "note").strip()

    def change_inside(self, address: str, note: str) -> None:
        """Do as the person at a guest's console who changes a file on its disk."""
        assert self.page(address, f"cgi-bin/note?{quote(note)}") == f"noted: {note}\n"

    def shut_down_inside(self, address: str) -> None:
        """Do as the person at a guest's console who shuts it down."""
        assert self.page(address, "cgi-bin/shutdown") == "going down\n"

    def images(self, name: str) -> list[str]:
        """Return the versions of an image."""
        return [row["version"] for row in self.console.ask("image", "list", "--image", name)]

    def work_files(self) -> list[str]:
        """Return what unfinished work left in the image matrix."""
        matrix = self.controller.state / "images"
        return [str(path) for place in ("work", "downloads") for path in (matrix / place).rglob("*")]

    def alert_codes(self) -> set[str]:
        """Return the codes of the alerts that stand."""
        return {alert["code"] for alert in self.console.ask("alert", "list")}


@contextmanager
def running_site(folder: Path, hosts: int = 2) -> Iterator[Site]:
    """Bring a site up with its hosts added and inventoried; nothing of it is left afterwards."""
    with LabDatacentre(folder / "lab", [LabHost(f"host-{number + 1}") for number in range(hosts)]) as lab:
        site = Site(folder, lab)
        site.controller.start()
        try:
            for host in lab.hosts:
                site.metier("node", "add", host.name, *node_settings(lab, host.name))
            site.until(lambda: all(n["placement"] == "free" for n in site.nodes()), "the hosts are free")
            yield site
        finally:
            site.controller.stop()


def import_guest(
    site: Site,
    name: str = "web",
    flags: tuple[str, ...] = (),
    machine: VmwareMachine | None = None,
    *,
    version: str = "1",
) -> Path:
    """Build the lab's guest, pack it as a VMware archive and import it by the manual's own command."""
    disk = site.folder / f"{name}.raw"
    build_guest(disk, flags=flags)
    machine = machine or VmwareMachine(name, memory_mib=96)
    archive = pack_archive(disk, site.folder, machine, subformat="twoGbMaxExtentSparse")
    site.console.type("-r", "-i", name, "-n", version, "-f", str(archive), "-v", program="ccimport")
    settings = ("--collector", "http:80/health", "--startup-seconds", "120")
    site.metier("image", "edit", f"{name}@{version}", *settings)
    return archive


def create_tiers(site: Site, guests: int = 2) -> None:
    """Create a host tier on both hosts and a guest tier, both inactive."""
    create_host_tier(site)
    create_guest_tier(site, "web", guests)


def create_host_tier(site: Site, vm_memory_mib: int = 128) -> None:
    """Create a host tier on all hosts, inactive."""
    offer = ("--vms", str(VMS_PER_HOST), "--vm-memory", str(vm_memory_mib), "--vm-disk", "1")
    site.metier("image", "create", "vmm", "--version", "1", "--type", "vmm-host", *offer)
    target = str(len(site.lab.hosts))
    site.metier("tier", "create", "hosts", "--image", "vmm@1", "--minimum", "1", "--target", target)


def create_guest_tier(site: Site, name: str, guests: int, *options: str) -> None:
    """Create a guest tier on the image of the same name, inactive, with addresses that no other tier has."""
    taken = sum(int(tier["maximum"]) for tier in site.console.ask("tier", "list") if tier["kind"] == "guest")
    addresses = [str(address) for address in site.lab.static_addresses[taken : taken + guests + 1]]
    site.metier(
        *("tier", "create", name, "--image", f"{name}@1", "--minimum", "1", "--target", str(guests)),
        *("--maximum", str(guests + 1), "--depends-on", "hosts", "--reboot-on-failure", "off"),
        *("--addresses", f"{addresses[0]}-{addresses[-1]}/{site.lab.prefix_length}"),
        *options,
    )


@contextmanager
def hung_daemon(site: Site, host: str) -> Iterator[None]:
    """Stop a host's libvirt daemon in its tracks, and let it go on afterwards."""
    init = read_init(HostFolder(site.lab.host(host).folder))
    assert init is not None
    pids = [
        pid for pid in host_processes(init) if (PROC / str(pid) / "comm").read_text().strip() == "libvirtd"
    ]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)

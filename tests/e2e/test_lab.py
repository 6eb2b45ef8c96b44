"""The lab itself: two real hosts on this machine, with real guests on them, and nothing left behind."""

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pycdlib
import pytest

from metier.lab import datacentre
from metier.lab.datacentre import HostAccess, LabDatacentre
from metier.lab.errors import LabError
from metier.lab.guest import build_guest
from metier.lab.guest_process import host_processes
from metier.lab.host import HostFolder, read_init
from metier.lab.identity import PROC, ProcessIdentity, end_process, identify, is_running
from metier.lab.state import LabHost
from metier.lab.waiting import wait_until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces and bridges need root"),
]

BOOT_TIMEOUT_S = 60.0

STATIC_VERSION_2 = (
    "version: 2\nethernets:\n  eth0:\n    addresses: [{address}/24]\n    gateway4: 198.18.0.1\n"
)
STATIC_VERSION_1 = """\
version: 1
config:
  - type: physical
    name: eth0
    subnets:
      - type: static
        address: {address}
        netmask: 255.255.255.0
        gateway: 198.18.0.1
"""
DHCP = "version: 2\nethernets:\n  eth0:\n    dhcp4: true\n"

FETCH = """\
import sys, urllib.request
print(urllib.request.urlopen(sys.argv[1], timeout=2).read().decode())
"""

DOMAIN = """\
<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>96</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <features><acpi/></features>
  <on_poweroff>destroy</on_poweroff>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/><source file='{disk}'/><target dev='vda' bus='virtio'/>
    </disk>
    <disk type='file' device='cdrom'>
      <driver name='qemu' type='raw'/><source file='{seed}'/><target dev='hdc' bus='ide'/><readonly/>
    </disk>
    <interface type='bridge'><source bridge='{bridge}'/><model type='virtio'/></interface>
    <serial type='file'><source path='{console}'/></serial>
  </devices>
</domain>
"""


@dataclass(frozen=True)
class Guest:
    """A guest that a test put on a host."""

    name: str
    host: HostAccess

    @property
    def console(self) -> Path:
        return self.host.store / f"{self.name}.console"

    def virsh(self, verb: str, *arguments: str) -> str:
        argv = ["virsh", "--connect", self.host.url, verb, self.name, *arguments]
        return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout.strip()


def test_a_lab_runs_real_guests_on_real_hosts_and_leaves_nothing(tmp_path: Path) -> None:
    disk = build_guest(tmp_path / "guest.raw").disk
    lab = datacentre.up(tmp_path / "lab", 2)
    try:
        processes = recorded_processes(lab)
        one = define(lab, "host-1", "web-1", disk, STATIC_VERSION_2.format(address="198.18.0.60"))
        two = define(lab, "host-2", "web-2", disk, STATIC_VERSION_1.format(address="198.18.0.61"))
        three = define(lab, "host-2", "web-3", disk, DHCP, flags="#cloud-config\n# metier-ignore-acpi\n")
        for guest in (one, two, three):
            guest.virsh("start")
        guests_answer_at_the_addresses_of_their_seeds(lab)
        a_guest_without_an_address_gets_one_by_dhcp(lab, three)
        processes += [lab.guest_process(guest.host.name, guest.name) for guest in (one, two, three)]

        a_guest_killed_behind_libvirts_back_is_seen_shut_off(lab, one)
        a_host_without_power_takes_its_guests_along_and_no_others(lab, one, two)
        a_host_with_power_again_knows_its_guests_and_their_disks(lab, two)
        the_power_button_is_obeyed(two)
        processes += recorded_processes(lab)
    finally:
        datacentre.down(tmp_path / "lab")
    assert datacentre.status(tmp_path / "lab").state == "down"
    nothing_is_left(lab, tmp_path, processes)


def test_what_goes_wrong_in_a_lab_is_said_and_cured(tmp_path: Path) -> None:
    with LabDatacentre(tmp_path, [LabHost("host-1")]) as lab:
        host = lab.host("host-1")
        with pytest.raises(LabError, match="there is one"):
            datacentre.up(tmp_path, 1)
        assert datacentre.status(tmp_path).state == "up"
        first = recorded_processes(lab)

        (daemon,) = processes_named(lab, "libvirtd")
        assert end_process(daemon, timeout_s=5)
        refusal = refused(host, "on")
        assert "cannot use host-1: its libvirt daemon has ended" in refusal
        assert "power it off and on again" in refusal
        assert switch(host, "status") == "on\n"
        switch(host, "off")
        switch(host, "on")
        assert recorded_processes(lab) != first
        assert not any(is_running(process) for process in first)

        with subprocess.Popen(lab.command_in_site(["cat"]), stdin=subprocess.PIPE) as controller:
            lab.down()
            assert controller.wait(10) < 0
    nothing_is_left(lab, tmp_path, first)


# --- The parts of the story


def guests_answer_at_the_addresses_of_their_seeds(lab: LabDatacentre) -> None:
    for name, address in (("web-1", "198.18.0.60"), ("web-2", "198.18.0.61")):
        assert wait_until(lambda: fetch(lab, address, "health") == "ok", BOOT_TIMEOUT_S), name  # noqa: B023
        facts = json.loads(fetch(lab, address, "facts.json"))
        expected = {"hostname": name, "address": address, "boots": "1", "instance_id": f"i-{name}"}
        assert expected.items() <= facts.items()
        assert f"<h1>{name}</h1>" in fetch(lab, address, "")


def a_guest_without_an_address_gets_one_by_dhcp(lab: LabDatacentre, guest: Guest) -> None:
    assert wait_until(lambda: "metier-guest: up" in guest.console.read_text(), BOOT_TIMEOUT_S)
    (lease,) = lab.leases()
    assert lease.name == guest.name
    assert re.fullmatch(r"198\.18\.0\.1\d\d", lease.address)
    assert f"up hostname={guest.name} address={lease.address}" in guest.console.read_text()
    assert fetch(lab, lease.address, "health") == "ok"
    assert "ignores the power button" in guest.console.read_text()


def a_guest_killed_behind_libvirts_back_is_seen_shut_off(lab: LabDatacentre, guest: Guest) -> None:
    lab.kill_guest(guest.host.name, guest.name)
    assert wait_until(lambda: guest.virsh("domstate") == "shut off", 5)
    assert guest.virsh("domstate", "--reason") == "shut off (crashed)"
    guest.virsh("start")


def a_host_without_power_takes_its_guests_along_and_no_others(
    lab: LabDatacentre, alive: Guest, gone: Guest
) -> None:
    process = lab.guest_process(gone.host.name, gone.name)
    assert switch(gone.host, "off") == ""
    assert switch(gone.host, "off") == ""
    assert switch(gone.host, "status") == "off\n"
    assert not is_running(process)
    assert fetch(lab, "198.18.0.61", "health") == ""
    assert not responds(lab, str(gone.host.address))
    assert not HostFolder(gone.host.folder).socket.exists()
    assert taps(gone.host) == []

    assert responds(lab, str(alive.host.address))
    assert wait_until(lambda: fetch(lab, "198.18.0.60", "health") == "ok", BOOT_TIMEOUT_S)
    assert json.loads(fetch(lab, "198.18.0.60", "facts.json"))["boots"] == "2"


def a_host_with_power_again_knows_its_guests_and_their_disks(lab: LabDatacentre, guest: Guest) -> None:
    assert switch(guest.host, "on") == ""
    assert switch(guest.host, "on") == ""
    assert switch(guest.host, "status") == "on\n"
    # Its neighbours ask for its address again only some time after they asked in vain.
    assert wait_until(lambda: responds(lab, str(guest.host.address)), 10.0)
    assert guest.virsh("domstate") == "shut off"
    guest.virsh("start")
    assert wait_until(lambda: fetch(lab, "198.18.0.61", "health") == "ok", BOOT_TIMEOUT_S)
    # Its own boot, the second on its own disk: the disk of the other guest was left alone.
    assert json.loads(fetch(lab, "198.18.0.61", "facts.json"))["boots"] == "2"


def the_power_button_is_obeyed(guest: Guest) -> None:
    guest.virsh("shutdown")
    assert wait_until(lambda: guest.virsh("domstate") == "shut off", 15)
    assert "metier-guest: power button" in guest.console.read_text()


def nothing_is_left(lab: LabDatacentre, folder: Path, processes: list[ProcessIdentity]) -> None:
    assert [process for process in processes if is_running(process)] == []
    namespaces = [path.name for path in Path("/run/netns").iterdir()]
    assert not [name for name in namespaces if name.startswith(lab.site_namespace.removesuffix("net"))]
    assert str(folder) not in Path("/proc/self/mountinfo").read_text()
    assert not [path for path in folder.rglob("*") if path.name in ("lab.json", "host-1", "site")]


# --- What the parts are made of


def define(
    lab: LabDatacentre, host_name: str, name: str, backing: Path, network: str, flags: str = "#cloud-config\n"
) -> Guest:
    """Define a guest whose disk is a copy-on-write child of `backing`."""
    guest = Guest(name, lab.host(host_name))
    store = guest.host.store
    disk, seed, description = (store / f"{name}.{suffix}" for suffix in ("qcow2", "iso", "xml"))
    qemu_img = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(backing), str(disk)]
    subprocess.run(qemu_img, check=True)
    write_seed(seed, name, network, flags)
    text = DOMAIN.format(name=name, disk=disk, seed=seed, console=guest.console, bridge=guest.host.bridge)
    description.write_text(text)
    argv = ["virsh", "--connect", guest.host.url, "define", str(description)]
    subprocess.run(argv, check=True, capture_output=True, timeout=60)
    return guest


def write_seed(path: Path, name: str, network: str, user_data: str) -> None:
    """Write a NoCloud seed as an ISO 9660 image."""
    files = {
        "meta-data": f"instance-id: i-{name}\nlocal-hostname: {name}\n",
        "network-config": network,
        "user-data": user_data,
    }
    image = pycdlib.PyCdlib()
    image.new(interchange_level=3, joliet=3, rock_ridge="1.09", vol_ident="cidata")
    for number, (file, text) in enumerate(files.items()):
        data = text.encode()
        image.add_fp(io.BytesIO(data), len(data), f"/F{number}.;1", rr_name=file, joliet_path=f"/{file}")
    image.write(str(path))
    image.close()


def fetch(lab: LabDatacentre, address: str, page: str) -> str:
    """Return what a guest serves, as seen from inside the site; nothing if it does not answer."""
    argv = lab.command_in_site([sys.executable, "-c", FETCH, f"http://{address}/{page}"])
    return subprocess.run(argv, check=False, capture_output=True, text=True, timeout=30).stdout.strip()


def responds(lab: LabDatacentre, address: str) -> bool:
    """Tell whether something answers a ping, as seen from inside the site."""
    argv = lab.command_in_site(["ping", "-c", "1", "-W", "1", address])
    return subprocess.run(argv, check=False, capture_output=True, timeout=30).returncode == 0


def switch(host: HostAccess, verb: str) -> str:
    """Use the host's power switch as Metier would, and return what it says."""
    argv = host.power_command(verb)  # type: ignore[arg-type]
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=90).stdout


def refused(host: HostAccess, verb: str) -> str:
    """Return what the host's power switch says when it fails."""
    argv = host.power_command(verb)  # type: ignore[arg-type]
    done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=90)
    assert done.returncode == 1
    return done.stderr


def processes_named(lab: LabDatacentre, name: str) -> list[ProcessIdentity]:
    """Return the processes of the lab's hosts that run a program."""
    inits = recorded_processes(lab)
    numbers = [pid for init in inits for pid in host_processes(init)]
    named = [pid for pid in numbers if (PROC / str(pid) / "comm").read_text().strip() == name]
    return [found for found in map(identify, named) if found is not None]


def taps(host: HostAccess) -> list[str]:
    """Return the ports of a host's bridge other than its uplink."""
    argv = ["ip", "-n", host.namespace, "-brief", "link", "show", "master", host.bridge]
    lines = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.splitlines()
    return [line.split()[0] for line in lines if not line.startswith("uplink")]


def recorded_processes(lab: LabDatacentre) -> list[ProcessIdentity]:
    """Return the first process of each host."""
    inits: Iterator[ProcessIdentity | None] = (read_init(HostFolder(host.folder)) for host in lab.hosts)
    return [init for init in inits if init is not None]

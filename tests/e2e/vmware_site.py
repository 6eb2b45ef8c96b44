"""Sites of simulated ESX hosts: in a network of their own, with stand-ins for what would run on their VMs."""

import json
import os
import secrets
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from pyVim.connect import Disconnect, SmartConnect
from pyVmomi import vim

from metier.lab import namespaces
from metier.lab.archive import pack_archive
from metier.lab.network import NetworkPlan, plan_network
from metier.lab.prober import Count, probing
from metier.lab.running import VERBS
from metier.lab.vmx import VmwareMachine
from metier.lab.waiting import wait_until
from tests.contract.vsphere_testbed import PASSWORD, USER, Counterpart, counterpart
from tests.e2e import vmware_power
from tests.e2e.site import Site

END_S = 20.0
DISK_MIB = 2
# From a server's address to the first one of its guests that have none in their seeds.
OWN_ADDRESSES = 100


@dataclass(frozen=True, slots=True)
class VmwareHost:
    """One simulated host.

    Attributes:
        name: Its node's name.
        address: Its address inside the site.
        url: Where the API that leads to it answers, inside the site.
        orders: Where orders are taken, inside the site.
        server: The same server as tests reach it.
        inventory: Its name in the inventory of its vCenter; empty where it is reached directly.
        off: A file that is there while its power switch is off.
    """

    name: str
    address: IPv4Address
    url: str
    orders: str
    server: Counterpart
    inventory: str
    off: Path

    def power_command(self, verb: str) -> list[str]:
        """Return the operator's command line that switches it or tells its state."""
        return [sys.executable, "-I", "-S", vmware_power.__file__, verb, self.orders, str(self.off)]

    @property
    def datastore(self) -> Path:
        """Where the files of its only datastore lie."""
        (folder,) = self.server.datastores.values()
        return folder

    def person(self, vm: str, deed: str) -> None:
        """Do as somebody at a VM's console, or an accident: `shutdown`, `crash`, `poweroff`, `poweron`."""
        self.server.tell("guest?" + urlencode({"vm": vm, "do": deed}, quote_via=quote))

    @contextmanager
    def tools(self) -> Iterator["Tools"]:
        """Be somebody with VMware's own tools."""
        where = urlsplit(self.server.url)
        service = SmartConnect(
            host=where.hostname, port=where.port, user=USER, pwd=PASSWORD, disableSslCertValidation=True
        )
        try:
            yield Tools(service.content, self.inventory)
        finally:
            Disconnect(service)


class Tools:
    """VMware's own tools, used on one host behind Metier's back."""

    def __init__(self, content: Any, host: str) -> None:
        self.content, self._host = content, host

    def host(self, name: str = "") -> Any:
        """Return a host: this one, or another of its vCenter."""
        view = self.content.viewManager.CreateContainerView(self.content.rootFolder, [vim.HostSystem], True)
        return next(one for one in view.view if (name or self._host) in ("", one.name))

    def vms(self) -> dict[str, Any]:
        """Return the VMs of the host by name."""
        return {vm.name: vm for vm in self.host().vm}

    def add(self, name: str, *, memory_mib: int = 64, disk_kib: int = 0) -> None:
        """Make a VM as a person would."""
        host = self.host()
        (datastore,) = host.datastore
        changes = _disk(datastore.name, disk_kib) if disk_kib else []
        spec = vim.vm.ConfigSpec(
            name=name,
            guestId="otherGuest",
            memoryMB=memory_mib,
            numCPUs=1,
            files=vim.vm.FileInfo(vmPathName=f"[{datastore.name}]"),
            deviceChange=changes,
        )
        folder = self.content.rootFolder.childEntity[0].vmFolder
        done(folder.CreateVM_Task(spec, host.parent.resourcePool, host))

    def inventory(self) -> dict[str, tuple[str, ...]]:
        """Return all but the power of every VM of the host, to be compared later."""
        return {name: _told(vm) for name, vm in self.vms().items()}

    def running(self) -> set[str]:
        """Return the names of the VMs that are on."""
        return {name for name, vm in self.vms().items() if vm.runtime.powerState == "poweredOn"}


def done(task: Any) -> None:
    """Wait for a task's end, which must be a good one."""
    assert wait_until(lambda: task.info.state in ("success", "error"), END_S)
    assert task.info.state == "success", task.info.error


def _disk(datastore: str, size_kib: int) -> list[Any]:
    controller = vim.vm.device.ParaVirtualSCSIController(key=-1, busNumber=0, sharedBus="noSharing")
    backing = vim.vm.device.VirtualDisk.FlatVer2BackingInfo(fileName=f"[{datastore}]", diskMode="persistent")
    disk = vim.vm.device.VirtualDisk(
        key=-2, controllerKey=-1, unitNumber=0, capacityInKB=size_kib, backing=backing
    )
    change = vim.vm.device.VirtualDeviceSpec
    return [
        change(operation="add", device=controller),
        change(operation="add", fileOperation="create", device=disk),
    ]


def _told(vm: Any) -> tuple[str, ...]:
    extra = sorted(f"{option.key}={option.value}" for option in vm.config.extraConfig)
    hardware = vm.config.hardware
    devices = sorted(
        f"{type(device).__name__} {getattr(device.backing, 'fileName', '')}" for device in hardware.device
    )
    about = (vm.config.uuid, vm.config.instanceUuid, vm.config.files.vmPathName, vm.config.guestId)
    about += (vm.config.firmware, str(hardware.memoryMB), str(hardware.numCPU))
    return (*about, *devices, *extra)


@dataclass(slots=True)
class VmwareDatacentre:
    """Simulated hosts in a network namespace of their own; a data centre as `metier.lab.demo` asks for.

    Attributes:
        names: Of its host nodes.
        is_vcenter: They are hosts of one vCenter; else each is an ESX host of its own.
        options: More options of the counterpart.
    """

    folder: Path
    names: Sequence[str]
    is_vcenter: bool = False
    options: Sequence[str] = ()
    hosts: tuple[VmwareHost, ...] = ()
    _plan: NetworkPlan = field(init=False)
    _running: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self._plan = plan_network(secrets.token_hex(3), self.names)

    @property
    def static_addresses(self) -> tuple[IPv4Address, ...]:
        """The addresses that slots of tiers may have."""
        return self._plan.static_addresses

    @property
    def prefix_length(self) -> int:
        """The length of the network's prefix."""
        return self._plan.gateway.network.prefixlen

    def host(self, name: str) -> VmwareHost:
        """Return the host of this name."""
        return next(host for host in self.hosts if host.name == name)

    def command_in_site(self, argv: Sequence[str]) -> list[str]:
        """Return the command line that runs `argv` where hosts and guests can be reached."""
        return namespaces.command_in(self._plan.namespace, argv)

    def up(self) -> None:
        """Make the network and start the servers."""
        network = self._plan.gateway.network
        self.folder.mkdir(parents=True)
        (self.folder / "password").write_text(PASSWORD)
        self._running.callback(namespaces.remove, self._plan.namespace)
        namespaces.create([self._plan.namespace])
        # Every address of the network is this machine's own: guests need only listen.
        namespaces.configure(self._plan.namespace, ["link set lo up", f"route add local {network} dev lo"])
        self.hosts = self._vcenter() if self.is_vcenter else self._single_hosts()

    def down(self) -> None:
        """End the servers, whatever they do, and the network with all that is left in it."""
        self._running.close()

    def kill_guest(self, host: str, vm: str) -> None:
        """End a VM behind everybody's back."""
        self.host(host).person(vm, "crash")

    def power_off(self, host: str) -> None:
        """Cut a host's power."""
        subprocess.run(self.command_in_site(self.host(host).power_command("off")), check=True)

    def node_settings(self, name: str) -> list[str]:
        """Return the options of `metier node add` for a host."""
        host = self.host(name)
        words = ["--vmm", "vsphere", "--url", host.url, "--address", str(host.address)]
        words += ["--vmm-setting", f"thumbprint={host.server.thumbprint}"]
        words += ["--vmm-setting-file", f"password={self.folder / 'password'}"]
        if host.inventory:
            return [*words, "--vmm-setting", f"host={host.inventory}"]
        words += ["--power", "command"]
        for verb in VERBS:
            words += ["--power-setting", f"{verb}={shlex.join(host.power_command(verb))}"]
        return words

    def probing(self, addresses: Sequence[str]) -> AbstractContextManager[Count]:
        """Ask guests for their health as long as the context lasts."""
        return probing(self, addresses)

    def _single_hosts(self) -> tuple[VmwareHost, ...]:
        found = []
        for plan in self._plan.hosts:
            address, off = plan.address.ip, self.folder / f"{plan.name}.off"
            inside, server = self._serve(address, plan.name, "-esx", *self.options)
            found.append(VmwareHost(plan.name, address, inside["url"], inside["control"], server, "", off))
        return tuple(found)

    def _vcenter(self) -> tuple[VmwareHost, ...]:
        inside, server = self._serve(self._plan.gateway.ip, "vcenter", *self.options)
        return tuple(
            VmwareHost(
                *(plan.name, plan.address.ip, inside["url"], inside["control"], server),
                *(name, self.folder / f"{plan.name}.off"),
            )
            for plan, name in zip(self._plan.hosts, server.hosts, strict=False)
        )

    def _serve(self, address: IPv4Address, name: str, *options: str) -> tuple[dict[str, Any], Counterpart]:
        """Start a server inside, and return it as it is reached there, and from here."""
        folder = self.folder / name
        folder.mkdir()
        with socket.create_server(("127.0.0.1", 0)) as api, socket.create_server(("127.0.0.1", 0)) as control:
            sockets = (api.fileno(), control.fileno())
            outside = f"{sockets[0]},{sockets[1]}"
            # Each server gives its guests without an address others than the next one does.
            own = ("-guests", "-guests-own", str(address + OWN_ADDRESSES), "-at", f"{address}:443")
            process = subprocess.Popen(
                self.command_in_site([str(counterpart()), *own, "-outside", outside, *options]),
                pass_fds=sockets,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "TMPDIR": str(folder)},
            )
            ports = (api.getsockname()[1], control.getsockname()[1])
        self._running.callback(_end, process)
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        server = Counterpart(
            f"https://127.0.0.1:{ports[0]}/sdk",
            f"http://127.0.0.1:{ports[1]}",
            told["certificate"],
            {store: Path(path) for store, path in told["datastores"].items()},
            tuple(told["hosts"]),
        )
        return told, server


def _end(process: "subprocess.Popen[bytes]") -> None:
    with process:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(END_S)


class VmwareSite(Site):
    """A site whose hosts are simulated ESX hosts."""

    lab: VmwareDatacentre

    def vm(self, node: dict[str, Any]) -> str:
        """Return what a virtual node's VM is called on its host."""
        return f"metier-{node['host']}-{node['vm_slot']}"

    def person(self, node: dict[str, Any], deed: str) -> None:
        """Do as somebody at the console of a virtual node's VM."""
        self.lab.host(node["host"]).person(self.vm(node), deed)


@contextmanager
def running_vmware_site(folder: Path, *names: str, **more: Any) -> Iterator[VmwareSite]:
    """Bring a site up with its hosts added and inventoried; nothing of it is left afterwards."""
    lab = VmwareDatacentre(folder / "lab", names, **more)
    try:
        lab.up()
        site = VmwareSite(folder, lab)
        site.controller.start()
        try:
            for name in names:
                site.metier("node", "add", name, *lab.node_settings(name))
            site.until(lambda: all(n["placement"] == "free" for n in site.nodes()), "the hosts are free")
            yield site
        finally:
            site.controller.stop()
    finally:
        lab.down()


def pack_guest(site: Site, name: str) -> Path:
    """Pack a disk that stand-ins boot from as a VMware archive."""
    disk = site.folder / f"{name}.raw"
    # Something to compare all along, and at its end room for what the guest notes.
    content = b"".join(f"{name} block {number:08}".encode().ljust(64) for number in range(DISK_MIB << 14))
    disk.write_bytes(content[:-512] + bytes(512))
    machine = VmwareMachine(name, memory_mib=96)
    return pack_archive(disk, site.folder, machine, subformat="twoGbMaxExtentSparse")


def import_stand_in(site: Site, name: str = "web", version: str = "1") -> None:
    """Import such an archive by the manual's own command."""
    archive = pack_guest(site, name)
    site.console.type("-r", "-i", name, "-n", version, "-f", str(archive), "-v", program="ccimport")
    settings = ("--collector", "http:80/health", "--startup-seconds", "20")
    site.metier("image", "edit", f"{name}@{version}", *settings)

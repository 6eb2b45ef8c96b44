"""A simulated VMware server of one's own, and what people and accidents do there."""

import fcntl
import functools
import hashlib
import json
import os
import shutil
import ssl
import subprocess
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pyVim.connect import Disconnect, SmartConnect
from pyVmomi import vim

from metier.domain.image import OfferedVm
from metier.drivers.hypervisor.api import Hypervisor, ImageSource
from metier.drivers.hypervisor.vsphere import Vsphere
from tests.contract.libvirt_testbed import make_image

TIMEOUT_S = 60.0
USER, PASSWORD = "root", "secret word"
SOURCES = Path(__file__).parents[1] / "counterparts/vcsim"
PACKAGES = Path("/usr/share/gocode")
_LONGEST_BUILD_S = 300
_SECTOR = 512


def missing() -> str:
    """Return what this machine lacks for the counterpart; empty if nothing."""
    if shutil.which("go") is None:
        return "go is not installed (tools/packages/vmware.txt)"
    if not (PACKAGES / "src/github.com/vmware/govmomi/simulator").is_dir():
        return "the govmomi simulator is not installed (tools/packages/vmware.txt)"
    return ""


@functools.cache
def counterpart() -> Path:
    """Return the counterpart's program, built once for each state of its sources."""
    if why := missing():
        pytest.skip(why)
    digest = hashlib.sha256()
    for source in sorted(SOURCES.glob("*.go")):
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    cache = Path(__file__).parents[2] / ".cache/vcsim"
    cache.mkdir(parents=True, exist_ok=True)
    program = cache / digest.hexdigest()[:16]
    # Of many test processes one builds, and the others wait for it.
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            _build(program)
    return program


def _build(program: Path) -> None:
    root = program.parent / f"build-{os.getpid()}"
    source = root / "src/vcsim"
    source.mkdir(parents=True)
    for file in SOURCES.glob("*.go"):
        shutil.copy(file, source)
    environment = {
        **os.environ,
        "GO111MODULE": "off",
        "GOPATH": f"{root}:{PACKAGES}",
        "GOCACHE": str(program.parent / "go"),
        "GOFLAGS": "",
    }
    try:
        subprocess.run(
            ["go", "build", "-o", root / "vcsim", "."],
            cwd=source,
            env=environment,
            check=True,
            timeout=_LONGEST_BUILD_S,
        )
        (root / "vcsim").replace(program)
    finally:
        shutil.rmtree(root)


@dataclass(frozen=True, slots=True)
class Counterpart:
    """A server that runs.

    Attributes:
        url: Where its API answers.
        control: Where it takes orders from tests.
        certificate: What it shows, as PEM.
        datastores: Where the files of each lie.
        hosts: Names of all hosts.
    """

    url: str
    control: str
    certificate: str
    datastores: dict[str, Path]
    hosts: tuple[str, ...]

    @property
    def thumbprint(self) -> str:
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(self.certificate)).hexdigest()

    def fault(self, method: str, kind: str, **more: object) -> None:
        """Let something go wrong with the next call of a method; see the counterpart's README."""
        body = json.dumps({"method": method, "kind": kind, **more}).encode()
        self.tell("fault", body)

    def tell(self, what: str, body: bytes | None = None) -> bytes:
        """Give an order."""
        with urllib.request.urlopen(f"{self.control}/{what}", data=body, timeout=TIMEOUT_S) as answer:
            return bytes(answer.read())

    def calls(self) -> dict[str, int]:
        """Return how often each method was called."""
        return dict(json.loads(self.tell("calls")))


@contextmanager
def running(folder: Path, *options: str) -> Iterator[Counterpart]:
    """Run a server whose datastores lie in a folder, until the end of the block."""
    folder.mkdir()
    process = subprocess.Popen(
        [counterpart(), *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # It lives for seconds: memory is cheaper than collecting it.
        env={**os.environ, "TMPDIR": str(folder), "GOGC": "800"},
    )
    with process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            told = json.loads(process.stdout.readline())
            folders = {name: Path(path) for name, path in told["datastores"].items()}
            yield Counterpart(
                told["url"], told["control"], told["certificate"], folders, tuple(told["hosts"])
            )
        finally:
            process.stdin.close()
            process.wait(TIMEOUT_S)


@functools.cache
def _empty_disk() -> bytes:
    """Return the file of an image's disk, made once: a program for each test takes long."""
    with tempfile.TemporaryDirectory() as folder:
        make_image(Path(folder), "image")
        return (Path(folder) / "image/disk-0.qcow2").read_bytes()


class VsphereTestbed:
    """One host node on a server of its own."""

    def __init__(self, server: Counterpart, folder: Path, host: str = "") -> None:
        self.node = "node-1"
        self.server = server
        self._folder, self.host = folder, host
        self._opened: list[Vsphere] = []
        (name,) = server.datastores
        self.datastore = server.datastores[name]
        self.store = self.datastore / "metier/metier"
        self.settings = {
            "url": server.url,
            "host": host,
            "user": USER,
            "password": PASSWORD,
            "thumbprint": server.thumbprint,
            "datastore": name,
        }

    def open(self) -> Hypervisor:
        return self.opened(self.node)

    def opened(self, node: str, **settings: str) -> Vsphere:
        """Open a driver for a node, with other settings than the usual ones."""
        driver = Vsphere.open(node, {**self.settings, **settings})
        self._opened.append(driver)
        return driver

    def image(self, key: str) -> ImageSource:
        file = self._folder / key / "disk-0.qcow2"
        file.parent.mkdir(exist_ok=True)
        if not file.exists():
            file.write_bytes(_empty_disk())
        return make_image(self._folder, key)

    def add_foreign(self, name: str, *, running: bool) -> None:
        with self.administrator() as content:
            host = self._host(content)
            spec = vim.vm.ConfigSpec(
                name=name,
                guestId="otherGuest",
                memoryMB=32,
                numCPUs=1,
                files=vim.vm.FileInfo(vmPathName=f"[{self.settings['datastore']}]"),
            )
            datacenter = content.rootFolder.childEntity[0]
            task = datacenter.vmFolder.CreateVM_Task(spec, host.parent.resourcePool, host)
            assert task.info.state == "success"
            if running:
                self.vm(content, name).PowerOnVM_Task()

    def move_in(self) -> tuple[str, int]:
        """Make a running VM of another node here: what a move of it leaves."""
        neighbour = self.opened("neighbour")
        neighbour.define_vm(OfferedVm(1, memory_mib=32), timeout_s=TIMEOUT_S)
        neighbour.start(1, timeout_s=TIMEOUT_S)
        return "neighbour", 1

    def foreign(self) -> dict[str, bool]:
        with self.administrator() as content:
            vms = self._host(content).vm
            marked = {vm.name for vm in vms if self._is_marked(vm)}
            return {vm.name: vm.runtime.powerState == "poweredOn" for vm in vms if vm.name not in marked}

    def _is_marked(self, vm: Any) -> bool:
        return any(option.key == "metier.site" for option in vm.config.extraConfig)

    def name_of(self, number: int) -> str:
        return f"metier-{self.node}-VM{number}"

    def set_memory(self, number: int, memory_mib: int) -> None:
        with self.administrator() as content:
            self.vm(content, self.name_of(number)).ReconfigVM_Task(vim.vm.ConfigSpec(memoryMB=memory_mib))

    def kill(self, number: int) -> None:
        with self.administrator() as content:
            self.vm(content, self.name_of(number)).PowerOffVM_Task()

    def end_by_guest(self, number: int) -> bool:
        with self.administrator() as content:
            self.vm(content, self.name_of(number)).ShutdownGuest()
        return True

    def content(self, file: Path) -> bytes:
        return file.read_bytes()[:_SECTOR].rstrip(b"\0")

    def vanish(self) -> None:
        self.server.tell(f"host?state=gone&name={self.host}")

    def come_back(self) -> None:
        self.server.tell(f"host?state=back&name={self.host}")

    def write(self, instance: str, text: bytes) -> None:
        with self._extent(instance).open("r+b") as file:
            file.write(text.ljust(_SECTOR, b"\0"))

    def written(self, instance: str) -> bytes | None:
        disk = self._extent(instance)
        return self.content(disk) if disk.exists() else None

    def _extent(self, instance: str) -> Path:
        return self.store / f"instances/{instance}/disk0-delta.vmdk"

    def copy_of(self, key: str) -> object | None:
        file = self.store / f"images/{key}/disk0-flat.vmdk"
        if not file.exists():
            return None
        state = file.stat()
        return (state.st_ino, state.st_mtime_ns, hashlib.sha256(file.read_bytes()).hexdigest())

    @contextmanager
    def administrator(self) -> Iterator[Any]:
        """Be somebody with VMware's own tools."""
        url = urllib.request.Request(self.server.url)
        host, _, port = url.host.partition(":")
        service = SmartConnect(
            host=host, port=int(port), user=USER, pwd=PASSWORD, disableSslCertValidation=True
        )
        try:
            yield service.content
        finally:
            Disconnect(service)

    def vm(self, content: Any, name: str) -> Any:
        """Return a VM by its name."""
        return next(vm for vm in self._host(content).vm if vm.name == name)

    def _host(self, content: Any) -> Any:
        view = content.viewManager.CreateContainerView(content.rootFolder, [vim.HostSystem], True)
        return next(host for host in view.view if self.host in ("", host.name))

    def clean_up(self) -> None:
        """Let go of the server."""
        for driver in self._opened:
            driver.close()
        for thread in threading.enumerate():
            if thread.name in ("vsphere: log out", "vsphere: watch"):
                thread.join(TIMEOUT_S)

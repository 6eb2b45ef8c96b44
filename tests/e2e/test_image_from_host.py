"""A VM of a simulated ESX host, taken in with the words of an operator."""

import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyVmomi", reason="pyvmomi is not installed")

from metier.lab.console import Answer, Console
from metier.lab.waiting import wait_until
from tests.contract.vsphere_lender import Lender
from tests.contract.vsphere_testbed import PASSWORD, USER, VsphereTestbed, missing, running

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(bool(missing()), reason=missing())]

MIB = 1 << 20
PATIENCE_S = 60.0
NAME = "My VM/größer"


class Controller:
    """A controller of one's own, and an operator at it."""

    def __init__(self, folder: Path, testbed: VsphereTestbed) -> None:
        self.state, self._testbed = folder / "state", testbed
        self.console = Console(self.state)
        self._process: subprocess.Popen[bytes] | None = None
        self.password = folder / "password"
        self.password.write_text(f"{PASSWORD}\n")

    def start(self) -> None:
        self.state.mkdir(mode=0o700, exist_ok=True)
        program = "from metier.cli.main import main as run; run()"
        with (self.state.parent / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", program, "serve", "--state", self.state], stdout=log, stderr=log
            )
        assert wait_until(self._answers, PATIENCE_S, every_s=0.2), (self.state.parent / "log").read_text()

    def _answers(self) -> bool:
        return self.console.type("job", "list", expect=(0, 1, 2, 3, 4, 5)).status == 0

    def kill(self, with_signal: int) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(with_signal)
            self._process.wait(PATIENCE_S)
            self._process = None

    def image(self, verb: str, *words: str, expect: int = 0) -> Answer:
        """Type a command about the VM with all that a login needs."""
        server = self._testbed.server
        return self.console.type(
            *("image", verb, "--url", server.url, "--user", USER, "--vm", NAME),
            *("--vmm-setting", f"thumbprint={server.thumbprint}"),
            *("--vmm-setting-file", f"password={self.password}", *words),
            expect=(expect,),
        )

    def newest_job(self) -> dict[str, Any]:
        jobs: list[dict[str, Any]] = self.console.ask("job", "list")
        return max(jobs, key=lambda job: int(job["id"]))

    def digest(self, version: str, number: int, folder: Path) -> str:
        """Return the SHA-256 of a disk as guests would see it."""
        raw = folder / f"{version}-{number}.raw"
        stored = self.state / f"images/images/app/{version}/disk{number}.qcow2"
        subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", stored, raw], check=True)
        return hashlib.sha256(raw.read_bytes()).hexdigest()

    def left(self) -> list[Path]:
        """Return what unfinished work left in the image matrix."""
        places = (self.state / "images" / place for place in ("work", "downloads"))
        return [path for place in places for path in place.rglob("*")]


@pytest.fixture
def testbed(tmp_path: Path) -> Iterator[VsphereTestbed]:
    with running(tmp_path / "esx", "-esx") as server:
        yield VsphereTestbed(server, tmp_path)


@pytest.fixture
def lender(testbed: VsphereTestbed) -> Lender:
    return Lender(testbed)


@pytest.fixture
def controller(tmp_path: Path, testbed: VsphereTestbed) -> Iterator[Controller]:
    controller = Controller(tmp_path, testbed)
    controller.start()
    yield controller
    controller.kill(signal.SIGTERM)


def disk_of(folder: Path, name: str, size_mib: int) -> bytes:
    """Return a disk with an ext4 of QEMU's and e2fsprogs' own making."""
    file = folder / f"{name}.raw"
    subprocess.run(["qemu-img", "create", "-q", "-f", "raw", file, f"{size_mib}M"], check=True)
    subprocess.run(["/sbin/mkfs.ext4", "-q", "-F", "-d", Path(json.__file__).parent, file], check=True)
    return file.read_bytes()


def test_a_vm_is_inspected_and_imported(
    controller: Controller, lender: Lender, testbed: VsphereTestbed, tmp_path: Path
) -> None:
    disks = disk_of(tmp_path, "a", 16), disk_of(tmp_path, "b", 8)
    lender.make(NAME, *disks, firmware="efi")
    controller.image("inspect", "--wait")
    found = controller.newest_job()
    found = controller.console.ask("job", "show", str(found["id"]))["result"]
    assert (found["firmware"], found["memory_mib"], found["obstacles"]) == ("uefi", 512, [])
    assert [disk["capacity_bytes"] for disk in found["disks"]] == [16 * MIB, 8 * MIB]

    answer = controller.image("import", "--name", "app", "--type", "linux", "--wait")
    assert "fetching disk 1 of 2" in answer.errors or "image-import" in answer.errors
    for number, disk in enumerate(disks):
        assert controller.digest("1", number, tmp_path) == hashlib.sha256(disk).hexdigest()
    shown = controller.console.ask("image", "show", "app@1")
    assert shown["source"] == f"imported from VM {NAME} of {testbed.server.url}"
    assert (shown["firmware"], shown["nic_models"], shown["guest_os"]) == ("uefi", ["e1000"], "debian12-64")
    assert shown["minimum_memory_mib"] == 512
    assert controller.left() == []
    controller.kill(signal.SIGTERM)
    for file in controller.state.rglob("*"):
        assert not file.is_file() or PASSWORD.encode() not in file.read_bytes(), file


def test_a_node_that_is_known_needs_no_login(
    controller: Controller, lender: Lender, testbed: VsphereTestbed, tmp_path: Path
) -> None:
    disk = disk_of(tmp_path, "a", 8)
    lender.make(NAME, disk)
    controller.console.type(
        *("node", "add", "esx-1", "--vmm", "vsphere", "--url", testbed.server.url),
        *("--vmm-setting", f"thumbprint={testbed.server.thumbprint}", "--vmm-setting", f"user={USER}"),
        *("--vmm-setting-file", f"password={controller.password}"),
    )
    for where in (("--host", "esx-1"), ("--url", testbed.server.url)):
        controller.console.type("image", "import", *where, "--vm", NAME, "--name", "app", "--wait")
    for version in ("1", "2"):
        assert controller.digest(version, 0, tmp_path) == hashlib.sha256(disk).hexdigest()


def test_what_is_in_the_way_is_told(controller: Controller, lender: Lender, tmp_path: Path) -> None:
    lender.make(NAME, disk_of(tmp_path, "a", 8))
    with lender.vm(NAME) as vm:
        vm.PowerOnVM_Task()
    refused = controller.image("import", "--name", "app", "--wait", expect=1)
    assert "it runs: shut its guest OS down from inside" in refused.errors
    controller.password.write_text("a wrong word")
    refused = controller.image("import", "--name", "app", "--wait", expect=1)
    assert "login failed" in refused.errors
    assert "a wrong word" not in refused.errors
    assert controller.left() == []


def test_killed_in_the_middle_it_goes_on(
    controller: Controller, lender: Lender, testbed: VsphereTestbed, tmp_path: Path
) -> None:
    disks = disk_of(tmp_path, "a", 16), disk_of(tmp_path, "b", 16)
    lender.make(NAME, *disks)
    # A look at two disks reads 4 files; before a copy it is looked, and after it.
    testbed.server.fault("GET /folder", "hang", skip=4 + 4 + 1 + 4 + 4)
    controller.image("import", "--name", "app")

    def hangs() -> bool:
        return testbed.server.calls().get("GET /folder", 0) == 18

    assert wait_until(hangs, PATIENCE_S, every_s=0.1)
    assert "fetching disk 2 of 2" in controller.newest_job()["step"]
    controller.kill(signal.SIGKILL)
    controller.start()
    assert wait_until(lambda: controller.newest_job()["state"] == "done", PATIENCE_S, every_s=0.3)
    for number, disk in enumerate(disks):
        assert controller.digest("1", number, tmp_path) == hashlib.sha256(disk).hexdigest()
    # The first disk was not fetched again: 4 to look, 8 around it, 9 for the second, 4 to look once more.
    assert testbed.server.calls()["GET /folder"] == 18 + 4 + 8 + 9 + 4
    assert controller.left() == []

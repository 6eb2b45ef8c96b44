"""One host on a shared simulated server, each verb on it, and what must hold when a call breaks."""

import itertools
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from metier.domain.errors import DriverError, OutcomeUnknown, Refused, Unavailable, chain
from metier.drivers.hypervisor.api import GuestSpec
from metier.drivers.hypervisor.vsphere import Vsphere
from tests.contract.hypervisor_suite import OFFER, TIMEOUT_S, nothing
from tests.contract.vsphere_testbed import PASSWORD, Counterpart, VsphereTestbed, running

FOREIGN = "Lohn & Gehalt <alt>"
KEY, INSTANCE = "web-1", "web-1-1"

# Calls that change something on a server; a failure before the first of them changed nothing.
_CHANGES = (
    "PUT",
    "Make",
    "Delete",
    "Reconfig",
    "Create",
    "Power",
    "Shutdown",
    "Destroy_",
    "Copy",
    "Unregister",
)
_NO_CHANGES = ("CreatePropertyCollector", "CreateContainerView", "CreateFilter")
# Calls of the log-out of drivers that were closed before: in nobody's sequence.
_STRAY = ("Logout",)

# Files whose length says nothing: what the host writes, and what holds paths that it chose.
_LENGTHS_VARY = (".vmx", ".nvram", ".json")

MODES = {"esx": ("-esx",), "vcenter": ()}
"""Kinds of server, and the options of the counterpart for each."""

HOSTS = {"esx": "", "vcenter": "DC0_C0_H1"}
"""The host of each that stages are on."""

_sites = itertools.count(1)


def is_change(method: str) -> bool:
    """Whether a call changes something."""
    return method.startswith(_CHANGES) and method not in _NO_CHANGES


@dataclass(frozen=True)
class World:
    """What a server holds: its VMs, and the sizes of all files on its datastores."""

    vms: dict[str, Any]
    files: dict[str, int]


class Stage:
    """A host for one test, on a server that others use too: with a site, and so a folder, of its own."""

    def __init__(self, testbed: VsphereTestbed) -> None:
        self.testbed, self.server = testbed, testbed.server
        self.number = next(_sites)
        self.site, self.node = f"site-{self.number}", f"node-{self.number}"
        self._timeout_s = TIMEOUT_S
        self.driver = self.open()
        self.image = testbed.image(KEY)
        self.guest = GuestSpec(INSTANCE, self.image, "web1", b"seed" * 512, {"slot": "web/1"})

    def open(self, **settings: str) -> Vsphere:
        return self.testbed.opened(self.node, site=self.site, **settings)

    @property
    def vm_name(self) -> str:
        return f"metier-{self.node}-VM1"

    @property
    def folder(self) -> Path:
        return self.testbed.datastore / "metier" / self.site

    def world(self) -> World:
        vms = json.loads(self.server.tell("vms"))
        files = {
            f"{name}/{path.relative_to(folder)}": 0 if path.suffix in _LENGTHS_VARY else path.stat().st_size
            for name, folder in self.server.datastores.items()
            for path in folder.rglob("*")
            if path.is_file() and path.suffix != ".log"
        }
        return World(vms, files)

    def own(self, world: World) -> World:
        """Return that part of a world that is Metier's, without what the host itself keeps of its VMs."""
        folder = f"/{self.folder.relative_to(self.testbed.datastore)}/"
        return World(world.vms, {name: size for name, size in world.files.items() if folder in name})

    def log(self) -> list[str]:
        """Return the calls since the last question, in order."""
        return [method for method in json.loads(self.server.tell("log")) if method not in _STRAY]

    @contextmanager
    def accident(self, method: str, kind: str, **more: object) -> Iterator[None]:
        """Let something go wrong, and nothing any more at the end."""
        self.server.fault(method, kind, **more)
        try:
            yield
        finally:
            self.server.tell("peace")

    def rename(self, kind: str, old: str, new: str) -> None:
        """Give a thing of the inventory another name, as people see it."""
        self.server.tell(f"rename?{urlencode({'kind': kind, 'from': old, 'to': new})}")

    def switch_on_foreign(self) -> None:
        """Start the VM that is somebody else's."""
        with self.testbed.administrator() as content:
            self.testbed.vm(content, FOREIGN).PowerOnVM_Task()

    @contextmanager
    def maintained(self) -> Iterator[None]:
        """Have the host in maintenance mode."""
        name = self.testbed.host
        self.server.tell(f"host?state=maintained&name={name}")
        try:
            yield
        finally:
            self.server.tell(f"host?state=working&name={name}")

    # --- verbs ----------------------------------------------------------------

    def within(self, timeout_s: float, verb: str) -> None:
        """Do a verb with another deadline than the usual one."""
        self._timeout_s = timeout_s
        try:
            self.do(verb)
        finally:
            self._timeout_s = TIMEOUT_S

    def facts(self) -> object:
        return self.driver.facts(timeout_s=self._timeout_s)

    def report(self) -> object:
        return self.driver.report(timeout_s=self._timeout_s)

    def console(self) -> object:
        return self.driver.console(1, timeout_s=self._timeout_s)

    def define_vm(self) -> object:
        return self.driver.define_vm(OFFER, timeout_s=self._timeout_s)

    def prepare(self) -> object:
        return self.driver.prepare(1, self.guest, nothing, timeout_s=self._timeout_s)

    def start(self) -> object:
        return self.driver.start(1, timeout_s=self._timeout_s)

    def shutdown(self) -> object:
        return self.driver.shutdown(1, timeout_s=self._timeout_s)

    def stop(self) -> object:
        return self.driver.stop(1, timeout_s=self._timeout_s)

    def retire(self) -> object:
        return self.driver.retire(1, INSTANCE, timeout_s=self._timeout_s)

    def drop_image(self) -> object:
        return self.driver.drop_image(KEY, timeout_s=self._timeout_s)

    def remove_vm(self) -> object:
        return self.driver.remove_vm(1, timeout_s=self._timeout_s)

    def ended(self) -> object:
        return self.driver.ended(1, timeout_s=self._timeout_s)

    def take_disks(self) -> object:
        with tempfile.TemporaryDirectory(dir=self.testbed.datastore.parent) as folder:
            into = Path(folder)
            self.driver.take_disks(1, into, lambda _bytes: None, nothing, timeout_s=self._timeout_s)
            return {file.name: file.stat().st_size for file in into.iterdir()}

    def do(self, *verbs: str) -> None:
        """Do some verbs, one after the other."""
        for verb in verbs:
            getattr(self, verb)()

    def forget_unregistered(self) -> None:
        """Delete what is left of VMs that somebody took out of the inventory, as he does himself."""
        for folder in self.testbed.datastore.glob(f"{self.vm_name}*"):
            shutil.rmtree(folder)

    def clear(self, *images: str) -> None:
        """Leave no VM; with `drop_image`, nothing."""
        if self.vm_name in self.world().vms:
            self.stop()
        self.do("remove_vm", *images)


@dataclass(frozen=True)
class Verb:
    """One verb in a campaign.

    Attributes:
        name: Its method.
        words: What its messages begin with, behind `cannot`.
        before: Verbs that bring the host there.
        back: Verbs that undo it, to where it can be done again.
    """

    name: str
    words: str
    before: tuple[str, ...] = ()
    back: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name


_PREPARED = ("define_vm", "prepare")
_RUNNING = (*_PREPARED, "start")

VERBS = (
    Verb("facts", "ask for the facts"),
    Verb("report", "list the VMs", ("define_vm",)),
    Verb("console", "find the console of VM1", ("define_vm",)),
    Verb("define_vm", "define VM1", (), ("remove_vm",)),
    Verb("prepare", "prepare VM1 with web-1-1", ("define_vm",), ("remove_vm", "drop_image", "define_vm")),
    Verb("start", "start VM1", _PREPARED, ("stop",)),
    Verb("shutdown", "shut down VM1", _RUNNING, ("start",)),
    Verb("stop", "stop VM1", _RUNNING, ("start",)),
    Verb("ended", "ask how VM1 ended", _PREPARED),
    Verb("take_disks", "copy the disks of VM1", _PREPARED),
    Verb("retire", "retire VM1", _PREPARED, ("prepare",)),
    Verb("drop_image", "delete image web-1", (*_PREPARED, "retire"), ("prepare", "retire")),
    Verb("remove_vm", "remove VM1", _PREPARED, _PREPARED),
)
VERB = {verb.name: verb for verb in VERBS}


def require_good_error(error: DriverError, words: str, stage: Stage) -> None:
    """Require what holds for every error that a driver raises."""
    told = f"{chain(error)} {error.remedy}"
    assert type(error) in (Refused, Unavailable, OutcomeUnknown)
    assert words in str(error), told
    _require_no_secret(error, stage)
    assert "vmware_soap_session" not in told
    assert str(error)[0].islower() or str(error).startswith("VM ")
    assert not str(error).endswith("."), told
    assert error.remedy or not isinstance(error, Refused), told


def _require_no_secret(error: DriverError, stage: Stage) -> None:
    assert stage.node in str(error), f"{error} does not say where"
    assert PASSWORD not in f"{chain(error)} {error.remedy}"


def require_same(now: World, then: World, where: str) -> None:
    """Require that two worlds are the same, or tell the difference."""
    for name in now.vms.keys() | then.vms.keys():
        assert now.vms.get(name) == then.vms.get(name), (where, now.vms.get(name), then.vms.get(name))
    appeared = {name: size for name, size in now.files.items() if then.files.get(name) != size}
    assert appeared == {}, (where, appeared)
    assert then.files.keys() <= now.files.keys(), (where, then.files.keys() - now.files.keys())


def every(calls: list[str]) -> list[int]:
    """Return the place of each call of a verb."""
    return list(range(len(calls)))


def changes_and_firsts(calls: list[str]) -> list[int]:
    """Return the places of calls that change something, and of the first one of each of the others."""
    return [at for at, method in enumerate(calls) if is_change(method) or calls.index(method) == at]


def campaign(stage: Stage, verb: Verb, kind: str, places: Callable[[list[str]], list[int]]) -> list[str]:
    """Let one thing go wrong at one call of a verb after the other, and repeat the verb each time.

    Returns:
        What came of each: `done`, or the error.

    Raises:
        AssertionError: Somewhere it did not end as a driver's call must.
    """
    stage.do(*verb.before)
    stage.report()  # so that the driver knows its host
    begun = stage.world()
    stage.log()
    stage.do(verb.name)
    calls, done = stage.log(), stage.world()
    ends = []
    for number in places(calls):
        where = f"{kind} at call {number}, {calls[number]}"
        stage.do(*verb.back)
        require_same(stage.world(), begun, f"after it was undone, before {where}")
        stage.report()
        stage.log()
        with stage.accident("*", kind, skip=number):
            ends.append(_end(stage, verb, begun, where))
        stage.do(verb.name)
        require_same(stage.world(), done, f"repeated after {where}")
    return ends


def _end(stage: Stage, verb: Verb, begun: World, where: str) -> str:
    try:
        stage.do(verb.name)
    except DriverError as error:
        require_good_error(error, verb.words, stage)
        if isinstance(error, OutcomeUnknown):
            assert any(is_change(method) for method in stage.log()), where
        else:
            require_same(stage.world(), begun, f"{where}: {chain(error)}")
        return type(error).__name__
    return "done"


def removal_campaign(stage: Stage, verb: Verb, places: Callable[[list[str]], list[int]]) -> list[str]:
    """Let somebody take the VM out of the inventory at one call of a verb after the other.

    Whatever the verb says, doing all of it again ends as if nothing had been.
    """
    stage.do(*verb.before)
    stage.report()
    stage.log()
    stage.do(verb.name)
    calls, done = stage.log(), stage.world()
    ends = []
    images = ("drop_image",) if verb.name == "prepare" else ()  # for others one that is there serves
    for number in places(calls):
        where = f"removed at call {number}, {calls[number]}"
        stage.clear(*images)
        stage.do(*verb.before)
        with stage.accident("*", "unregister", skip=number, vm=stage.vm_name):
            ends.append(_end_without_vm(stage, verb))
        stage.do(*verb.before, verb.name)
        require_same(stage.own(stage.world()), stage.own(done), f"all done again after {where}")
        stage.clear(*images)
        stage.forget_unregistered()
    return ends


def _end_without_vm(stage: Stage, verb: Verb) -> str:
    try:
        stage.do(verb.name)
    except DriverError as error:
        _require_no_secret(error, stage)
        return type(error).__name__
    return "done"


def servers_in(folder: Path) -> Iterator[dict[str, Counterpart]]:
    """Have a server of each kind, for all tests of a module."""
    with ExitStack() as stack:
        yield {mode: stack.enter_context(running(folder / mode, *options)) for mode, options in MODES.items()}


def stage_on(server: Counterpart, folder: Path, host: str) -> Iterator[Stage]:
    """Have a stage for one test, with a VM of somebody else's; nothing of it may have changed at the end."""
    testbed = VsphereTestbed(server, folder, host=host)
    if FOREIGN not in json.loads(server.tell("vms")):
        testbed.add_foreign(FOREIGN, running=True)
    stage = Stage(testbed)
    before = stage.world()
    yield stage
    server.tell("peace")
    stage.clear("drop_image")
    after = stage.world()
    testbed.clean_up()
    require_same(after, before, "at the end")


def outcome(call: Callable[[], object], error: type[DriverError], words: str, stage: Stage) -> DriverError:
    """Require that a call ends with one error, and return it."""
    with pytest.raises(DriverError) as caught:
        call()
    require_good_error(caught.value, words, stage)
    assert type(caught.value) is error, chain(caught.value)
    return caught.value

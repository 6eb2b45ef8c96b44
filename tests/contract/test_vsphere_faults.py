"""A fault campaign: whatever breaks at whatever call of a verb, its error is the right one of three."""

import hashlib
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("pyVmomi", reason="pyvmomi is not installed")

from metier.domain.errors import OutcomeUnknown, Refused, Unavailable, chain
from metier.domain.observation import Power
from metier.drivers.hypervisor.vsphere.privileges import purpose
from tests.contract.hypervisor_suite import TIMEOUT_S
from tests.contract.vsphere_campaign import (
    FOREIGN,
    HOSTS,
    MODES,
    VERB,
    VERBS,
    Stage,
    Verb,
    campaign,
    changes_and_firsts,
    every,
    is_change,
    outcome,
    removal_campaign,
    require_same,
    servers_in,
    stage_on,
)
from tests.contract.vsphere_testbed import Counterpart, VsphereTestbed, missing

# A minute of two cores: with the longer tests, so that `make test` stays what is run without thinking.
pytestmark = [pytest.mark.e2e, pytest.mark.skipif(bool(missing()), reason=missing())]

# Time for a call whose first question is not going to be answered.
SOON_S = 0.3
# Time for calls whose task is not going to end: enough for what comes before it in the same call.
WAITED_S = 2.0
# Of each verb that begins a task, that task.
TASKS = {
    "define_vm": "CreateVM_Task",
    "prepare": "ReconfigVM_Task",
    "start": "PowerOnVM_Task",
    "stop": "PowerOffVM_Task",
    "retire": "ReconfigVM_Task",
    "drop_image": "DeleteVirtualDisk_Task",
    "remove_vm": "Destroy_Task",
    "take_disks": "CopyVirtualDisk_Task",
}
# Of each verb a call that wants a privilege.
PRIVILEGES = {
    "report": ("RetrievePropertiesEx", "System.Read"),
    "define_vm": ("CreateVM_Task", "VirtualMachine.Inventory.Create"),
    "prepare": ("ReconfigVM_Task", "VirtualMachine.Config.AddNewDisk"),
    "start": ("PowerOnVM_Task", "VirtualMachine.Interact.PowerOn"),
    "shutdown": ("ShutdownGuest", "VirtualMachine.Interact.PowerOff"),
    "stop": ("PowerOffVM_Task", "VirtualMachine.Interact.PowerOff"),
    "take_disks": ("CopyVirtualDisk_Task", "Datastore.FileManagement"),
    "retire": ("ReconfigVM_Task", "VirtualMachine.Config.RemoveDisk"),
    "drop_image": ("DeleteVirtualDisk_Task", "Datastore.FileManagement"),
    "remove_vm": ("Destroy_Task", "VirtualMachine.Inventory.Delete"),
}
# Of each kind of things in a vCenter, one that the host needs, and the setting that names it.
INVENTORY = {
    "Datacenter": ("DC0", ""),
    "HostSystem": ("DC0_C0_H1", "host"),
    "ClusterComputeResource": ("DC0_C0", ""),
    "Folder": ("vm", ""),
    "Network": ("VM Network", "networks"),
    "Datastore": ("LocalDS_0", "datastore"),
}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Counterpart]]:
    yield from servers_in(tmp_path_factory.mktemp("servers"))


@pytest.fixture
def esx(servers: dict[str, Counterpart], tmp_path: Path) -> Iterator[Stage]:
    yield from stage_on(servers["esx"], tmp_path, HOSTS["esx"])


@pytest.fixture
def vcenter(servers: dict[str, Counterpart], tmp_path: Path) -> Iterator[Stage]:
    yield from stage_on(servers["vcenter"], tmp_path, HOSTS["vcenter"])


@pytest.fixture(params=list(MODES))
def stage(request: pytest.FixtureRequest, servers: dict[str, Counterpart], tmp_path: Path) -> Iterator[Stage]:
    yield from stage_on(servers[request.param], tmp_path, HOSTS[request.param])


# --- at every call of every verb ------------------------------------------------------------------


@pytest.mark.parametrize("verb", VERBS, ids=str)
def test_a_connection_that_is_cut_before_any_call(esx: Stage, verb: Verb) -> None:
    ends = campaign(esx, verb, "drop", every)
    # What only tidies up may fail unnoticed.
    assert set(ends) <= {"Unavailable", "OutcomeUnknown", "done"}
    assert ends[0] == "Unavailable"


@pytest.mark.parametrize("verb", VERBS, ids=str)
def test_a_connection_that_is_cut_when_the_work_is_done(stage: Stage, verb: Verb) -> None:
    ends = campaign(stage, verb, "drop-after", changes_and_firsts)
    assert set(ends) <= {"Unavailable", "OutcomeUnknown", "done"}


@pytest.mark.parametrize("verb", VERBS, ids=str)
def test_a_session_that_ends_amid_a_verb_is_not_noticed(esx: Stage, verb: Verb) -> None:
    """Except in the moment between its proof and a transfer, which cannot begin anew."""
    ends = campaign(esx, verb, "expire", changes_and_firsts)
    transfers = {"prepare", "take_disks", "retire", "drop_image", "remove_vm"}
    assert set(ends) <= ({"done", "OutcomeUnknown"} if verb.name in transfers else {"done"})


@pytest.mark.parametrize("verb", VERBS, ids=str)
def test_an_answer_that_is_none_of_vmwares(vcenter: Stage, verb: Verb) -> None:
    ends = campaign(vcenter, verb, "garbage", changes_and_firsts)
    assert set(ends) <= {"Refused", "OutcomeUnknown", "done"}
    assert ends[0] == "Refused"


# --- VMs, and their host --------------------------------------------------------------------------


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb.before], ids=str)
def test_a_vm_that_somebody_removes_amid_a_verb(stage: Stage, verb: Verb) -> None:
    ends = removal_campaign(stage, verb, changes_and_firsts)
    assert set(ends) <= {"Refused", "done"}


@pytest.mark.parametrize("verb", [VERB["define_vm"], VERB["prepare"], VERB["start"]], ids=str)
def test_a_host_in_maintenance_mode_runs_nothing_new(stage: Stage, verb: Verb) -> None:
    """A person takes it out again, so that trying again later is worth it."""
    stage.do(*verb.before)
    before = stage.world()
    with stage.maintained():
        stage.log()
        error = outcome(getattr(stage, verb.name), Unavailable, verb.words, stage)
        assert not [method for method in stage.log() if is_change(method)]
        assert str(error).endswith("its host is in maintenance mode")
        assert error.remedy == f"take {stage.testbed.host or stage.node} out of maintenance mode"
        require_same(stage.world(), before, "in maintenance mode")
        stage.do("facts", "report")
    stage.do(verb.name)


def test_a_host_in_maintenance_mode_is_tidied_up_all_the_same(stage: Stage) -> None:
    stage.do("define_vm", "prepare", "start")
    with stage.maintained():
        stage.do("define_vm", "start", "stop", "report", "ended", "take_disks", "console")
        stage.do("retire", "define_vm", "drop_image", "remove_vm")


def test_a_vm_that_is_aside_waits_until_its_host_works_again(stage: Stage) -> None:
    stage.do("define_vm", "prepare", "retire")
    with stage.maintained():
        for verb in ("start", "prepare"):
            outcome(getattr(stage, verb), Unavailable, "maintenance mode", stage)
    stage.do("start")


def test_a_host_that_goes_amid_a_task_is_looked_at_again(stage: Stage) -> None:
    """R-FAIL-1: what became of the order only the host knows, once it is back."""
    stage.do("define_vm", "prepare")
    with stage.accident("*", "vanish", skip=4):
        outcome(stage.start, OutcomeUnknown, "start VM1", stage)
        for verb in ("report", "start"):
            outcome(getattr(stage, verb), Unavailable, "VM", stage)
    stage.server.tell("host?state=back")
    stage.switch_on_foreign()
    assert [vm.power for vm in stage.driver.report(timeout_s=TIMEOUT_S).vms] == [Power.OFF]
    stage.do("start")


@pytest.mark.parametrize("mode", list(MODES))
def test_tasks_that_never_end_are_given_up_at_the_deadline(
    servers: dict[str, Counterpart], tmp_path: Path, mode: str
) -> None:
    """Of every verb that begins one; all wait at the same time, each on a node of its own."""
    testbed = VsphereTestbed(servers[mode], tmp_path, host=HOSTS[mode])
    stages = {name: Stage(testbed) for name in TASKS}
    for name, stage in stages.items():
        # Without anything on it, for what is taken off it is a task of another kind.
        stage.do(*(("define_vm",) if name == "remove_vm" else VERB[name].before))
    for task in TASKS.values():
        testbed.server.fault(task, "endless-task")
    with ThreadPoolExecutor(len(stages)) as threads:
        ends = {name: threads.submit(_given_up, stage, name) for name, stage in stages.items()}
    assert {name: end.result() < WAITED_S + 2.0 for name, end in ends.items()} == dict.fromkeys(TASKS, True)
    testbed.server.tell("peace")
    for name, stage in stages.items():
        stage.do(name)
        stage.clear("drop_image")
    testbed.clean_up()


def _given_up(stage: Stage, verb: str) -> float:
    """Return how long it took."""
    begun = time.monotonic()
    limit = f"no answer within {WAITED_S:g} s"
    outcome(partial(stage.within, WAITED_S, verb), OutcomeUnknown, limit, stage)
    return time.monotonic() - begun


def test_a_session_that_ends_while_a_task_is_waited_for_does_not_end_the_wait(stage: Stage) -> None:
    stage.do("define_vm", "prepare")
    for method in ("CreateFilter", "WaitForUpdatesEx", "DestroyPropertyCollector"):
        late = stage.accident("PowerOnVM_Task", "late-task", milliseconds=200)
        with late, stage.accident(method, "expire"):
            stage.do("start")
        assert [vm.power for vm in stage.driver.report(timeout_s=TIMEOUT_S).vms] == [Power.ON]
        stage.do("stop")


@pytest.mark.parametrize("verb", VERBS, ids=str)
def test_a_host_that_answers_slowly_is_waited_for_until_the_deadline(esx: Stage, verb: Verb) -> None:
    esx.do(*verb.before)
    esx.report()
    with esx.accident("*", "slow", milliseconds=20, times=1000):
        esx.do(verb.name)
    esx.do(*verb.back)
    with esx.accident("*", "slow", milliseconds=1500, times=1000):
        begun = time.monotonic()
        outcome(partial(esx.within, SOON_S, verb.name), Unavailable, "no answer within 0.3 s", esx)
        assert time.monotonic() - begun < SOON_S + 0.5
    esx.do(verb.name)


# --- names ----------------------------------------------------------------------------------------

ODD = "Größe / 100% \\ 名前 <&> %2f"


def test_another_vm_of_the_same_name_is_never_taken_for_ours(stage: Stage) -> None:
    stage.rename("VirtualMachine", FOREIGN, stage.vm_name)
    try:
        error = outcome(stage.define_vm, Refused, "", stage)
        assert "is left alone" in str(error)
        for verb in ("start", "stop", "prepare", "retire", "ended"):
            outcome(getattr(stage, verb), Refused, "", stage)
        stage.remove_vm()
    finally:
        stage.rename("VirtualMachine", stage.vm_name, FOREIGN)
    stage.do("define_vm", "prepare")
    stage.rename("VirtualMachine", FOREIGN, stage.vm_name)
    stage.do("start", "report", "stop", "retire", "remove_vm", "drop_image")
    stage.rename("VirtualMachine", stage.vm_name, FOREIGN)


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb.before], ids=str)
def test_our_vm_may_have_any_name(stage: Stage, verb: Verb) -> None:
    """R-DRIFT-2: it is known by its identity and its mark; a person may call it what he likes."""
    stage.do(*verb.before)
    if stage.vm_name in stage.world().vms:  # else it is aside
        stage.rename("VirtualMachine", stage.vm_name, ODD)
    stage.do(verb.name)
    if verb.name != "remove_vm":
        stage.do("stop", "retire", "report", "prepare", "start", "stop", "retire", "remove_vm")


def test_a_vm_that_is_aside_keeps_its_odd_name(stage: Stage) -> None:
    stage.do("define_vm", "prepare")
    stage.rename("VirtualMachine", stage.vm_name, ODD)
    name = next(name for name in stage.world().vms if "%2f" in name)
    stage.do("retire", "start")
    assert stage.world().vms[name]["power"] == "poweredOn"
    stage.do("stop", "remove_vm")


@pytest.mark.parametrize(
    "kind", ["Datacenter", "HostSystem", "ClusterComputeResource", "Folder", "Network", "Datastore"]
)
def test_things_of_the_inventory_may_have_any_name(vcenter: Stage, kind: str) -> None:
    name, setting = INVENTORY[kind]
    # The simulator does not find a port group again whose name is escaped.
    odd = ODD.replace("/", "-").replace("\\", "-").replace("%", "-") if kind == "Network" else ODD
    settings = {setting: f"default={odd}" if setting == "networks" else odd} if setting else {}
    vcenter.rename(kind, name, odd)
    try:
        vcenter.driver = vcenter.open(**settings)
        vcenter.do("facts", "define_vm", "prepare", "start", "report", "stop")
        vcenter.do("take_disks", "retire", "remove_vm", "drop_image")
    finally:
        vcenter.rename(kind, odd, name)
    vcenter.driver = vcenter.open()


# --- who is spoken to, and what the account may do -------------------------------------------------


def test_a_wrong_password_is_refused_for_every_verb(stage: Stage) -> None:
    wrong = "another secret word"
    stage.driver = stage.open(password=wrong)
    for verb in VERBS:
        error = outcome(getattr(stage, verb.name), Refused, "login failed", stage)
        assert wrong not in f"{chain(error)} {error.remedy}"
        assert "password" in error.remedy
    stage.driver = stage.open()


@pytest.mark.parametrize("verb", [VERB[name] for name in PRIVILEGES], ids=str)
def test_a_permission_that_was_taken_away_is_named(stage: Stage, verb: Verb) -> None:
    method, privilege = PRIVILEGES[verb.name]
    stage.do(*verb.before)
    stage.report()
    vms = stage.world().vms
    fields = f'<object type="Folder">group-d1</object><privilegeId>{privilege}</privilegeId>'
    with stage.accident(method, "fault", fault="NoPermission", fields=fields):
        error = outcome(getattr(stage, verb.name), Refused, verb.words, stage)
    assert f"the account root lacks the privilege {privilege} on Folder group-d1" in str(error)
    assert privilege in error.remedy
    assert purpose(privilege) in error.remedy
    if verb.name not in ("retire", "drop_image", "remove_vm"):  # which take a VM's disks off it first
        assert stage.world().vms == vms
    stage.do(verb.name)


def test_a_changed_certificate_is_refused_with_its_thumbprint(esx: Stage) -> None:
    esx.report()
    pem = esx.server.tell("certificate?state=renewed").decode()
    seen = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
    esx.log()
    try:
        error = outcome(esx.report, Refused, "list the VMs", esx)
        assert seen in str(error).replace(":", "").lower()
        assert seen in error.remedy.replace(":", "").lower()
        assert esx.log() == [], "something was said to a server that nobody trusts"
        esx.driver = esx.open(thumbprint=seen)
        esx.report()
    finally:
        esx.server.tell("certificate?state=first")
    esx.driver = esx.open()
    esx.report()


def test_an_expired_certificate_is_refused_unless_it_is_pinned(esx: Stage, tmp_path: Path) -> None:
    """A thumbprint that a person has compared says who it is, whatever the date."""
    pem = esx.server.tell("certificate?state=expired").decode()
    authority = tmp_path / "ca.pem"
    authority.write_text(pem)
    try:
        esx.driver = esx.open(thumbprint="", ca=str(authority))
        error = outcome(esx.report, Refused, "list the VMs", esx)
        assert "expired" in str(error)
        seen = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
        esx.driver = esx.open(thumbprint=seen)
        esx.report()
    finally:
        esx.server.tell("certificate?state=first")
    esx.driver = esx.open()

"""A secret is sealed before anything is recorded, and is nowhere in clear."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from metier.control.loop import Loop
from metier.control.sealing import NO_VAULT, Sealer, login_of
from metier.control.world import SystemClock
from metier.domain.errors import Refusal, WrongUsage
from metier.domain.fleet import Fleet, Kind
from metier.domain.node import Endpoint
from metier.domain.secret import as_sealed, is_sealed, token_of
from metier.operations.registry import Caller, Outcome
from metier.store.open import open_store
from tests.builders import NOW, a_fleet, a_job, a_node
from tests.unit.control.site import NotedDrivers, a_datacentre, order, refused, running, tools_of
from tests.unit.operations.asking import ask

SECRET = "Tr0ub4dor-and-3"
URL = "https://esx-1/sdk"


class NotedVault:
    """Seals by turning the text round, another number each time; opens what it sealed."""

    def __init__(self) -> None:
        self.sealed = 0

    def seal(self, text: str) -> str:
        if is_sealed(text):
            return text
        self.sealed += 1
        return as_sealed(f"{self.sealed}/{text[::-1]}")

    def open(self, sealed: str) -> str:
        if not is_sealed(sealed):
            return sealed
        number, _, text = token_of(sealed).partition("/")
        if int(number) > self.sealed:
            raise Refusal("another vault sealed it")
        return text[::-1]


def declared(family: str, driver: str) -> frozenset[str]:
    return frozenset({"password"}) if (family, driver) == ("hypervisor", "esx") else frozenset()


@pytest.fixture
def loop(tmp_path: Path) -> Any:
    drivers = NotedDrivers(a_datacentre())
    tools = replace(tools_of(drivers), vault=NotedVault(), secrets=declared)
    with running(Loop(open_store(tmp_path), tools, SystemClock(), holder="the test")) as loop:
        yield loop


def add(loop: Loop, **more: Any) -> Outcome:
    setting = (f"password={SECRET}",)
    return order(loop, "node", "add", name="esx-1", vmm="esx", url=URL, vmm_setting=setting, **more)


def recorded(loop: Loop) -> str:
    vmm = loop.fleet().nodes["esx-1"].vmm  # type: ignore[index]  # the name of a node
    assert vmm is not None
    return vmm.settings["password"]


def files_of(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file())


def test_a_secret_is_nowhere_in_clear(loop: Loop, tmp_path: Path) -> None:
    answers = [add(loop), order(loop, "node", "edit", name="esx-1", vmm_setting=(f"password=new {SECRET}",))]
    body = {"name": "esx-1", "vmm": "esx", "vmm_settings": {"password": f"third {SECRET}"}}
    answers.append(order(loop, "", "apply", document={"nodes": [body]}))
    answers.append(refused(loop, "node", "add", name="esx-1", vmm_setting=(f"password={SECRET}",)))
    answers.append(refused(loop, "node", "edit", name="esx-1", vmm_setting=(f"password=a\x07{SECRET}",)))
    view = loop.view()
    answers += [ask(view.fleet, "node", "show", view=view, name="esx-1")]
    answers += list(view.services.journal(after=0, limit=100, subject=None, newest=True))
    answers += [repr(record) for record in view.fleet.nodes.values()]
    assert "password" in str(answers)
    assert SECRET not in str(answers)
    assert SECRET not in repr(view.fleet.records())
    with closing(open_store(tmp_path)) as store:
        backup = b"".join(store.backup())
    assert b"sealed:" in backup
    assert SECRET.encode() not in backup + files_of(tmp_path)


def test_what_is_rehearsed_is_sealed_too(loop: Loop) -> None:
    seen = []

    def look(before: Fleet, changes: Any) -> None:
        seen.extend(changes[Kind.NODE].values())

    tools = loop._tools
    loop._engine._tools = replace(tools, validate=look)
    add(loop)
    assert [is_sealed(node.vmm.settings["password"]) for node in seen] == [True]


def test_the_same_secret_given_again_changes_nothing(loop: Loop) -> None:
    add(loop)
    before = recorded(loop)
    answer = order(loop, "node", "edit", name="esx-1", vmm_setting=(f"password={SECRET}",))
    assert answer.message == "node esx-1 is so already"
    nodes = {"nodes": [{"name": "esx-1", "vmm": "esx", "vmm_settings": {"password": SECRET, "url": URL}}]}
    assert order(loop, "", "apply", document=nodes).row == {"changes": []}
    assert recorded(loop) == before


def test_another_secret_is_told_without_either(loop: Loop) -> None:
    add(loop)
    before = recorded(loop)
    nodes = {"nodes": [{"name": "esx-1", "vmm_settings": {"password": "other"}}]}
    order(loop, "", "apply", document=nodes)
    assert recorded(loop) != before


def test_an_ellipsis_in_a_document_keeps_what_is_recorded(loop: Loop) -> None:
    add(loop)
    before = recorded(loop)
    shown = ask(loop.fleet(), "node", "show", view=loop.view(), name="esx-1")["vmm_settings"]
    assert shown == {"password": "…", "url": URL}
    document = {"nodes": [{"name": "esx-1", "vmm": "esx", "vmm_settings": shown}]}
    assert order(loop, "", "apply", document=document).row == {"changes": []}
    assert recorded(loop) == before
    error = refused(loop, "node", "add", name="esx-2", vmm="esx", vmm_setting=("password=…",))
    assert isinstance(error, WrongUsage)
    assert "--vmm-setting-file password=FILE" in error.remedy


def test_nobody_gives_what_looks_sealed(loop: Loop) -> None:
    add(loop)
    error = refused(loop, "node", "edit", name="esx-1", vmm_setting=(f"url={recorded(loop)}",))
    assert isinstance(error, WrongUsage)
    assert recorded(loop) not in error.message


def test_a_secret_whose_key_is_gone_can_be_given_again() -> None:
    vault = NotedVault()
    before = Endpoint("esx", {"password": as_sealed("9/x")})
    sealed = Sealer(vault, declared).endpoint("hypervisor", Endpoint("esx", {"password": SECRET}), before)
    assert vault.open(sealed.settings["password"]) == SECRET


def test_a_job_that_logs_in_somewhere_has_its_login_sealed() -> None:
    login = {"driver": "esx", "settings": {"url": URL, "password": SECRET}}
    fleet = a_fleet(a_node("metal"))
    draft = fleet.edit()
    draft.put_job(replace(a_job(), arguments={"location": "vm", "login": login}))
    Sealer(NotedVault(), declared).draft(fleet, draft)
    (job,) = draft.jobs.values()
    assert SECRET not in repr(job)
    assert job.arguments["location"] == "vm"
    found = login_of(job.arguments)
    assert found is not None
    assert is_sealed(found.settings["password"])
    assert found.settings["url"] == URL


def test_what_an_operation_recorded_past_the_caller_s_seal_is_sealed_all_the_same() -> None:
    fleet = Fleet()
    draft = fleet.edit()
    draft.put_node(a_node("esx-1", vmm=Endpoint("esx", {"password": SECRET})))
    Sealer(NotedVault(), declared).draft(fleet, draft)
    assert SECRET not in repr(draft.nodes)


def test_without_a_vault_a_secret_is_forgotten() -> None:
    sealed = NO_VAULT.seal(SECRET)
    assert is_sealed(sealed)
    assert SECRET not in sealed
    assert NO_VAULT.open("plain") == "plain"
    with pytest.raises(Refusal):
        NO_VAULT.open(sealed)


def test_a_caller_seals_nothing_by_itself() -> None:
    endpoint = Endpoint("esx", {"password": SECRET})
    assert Caller("ann", NOW).seal("hypervisor", endpoint, None) is endpoint

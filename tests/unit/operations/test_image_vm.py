"""A VM on a host as an operator names it, and what of it is recorded."""

from collections.abc import Mapping
from typing import Any

import pytest

from metier.domain.errors import NoSuchThing, Refusal, WrongUsage
from metier.domain.fleet import Fleet
from metier.domain.node import Endpoint
from tests.builders import a_fleet, a_host, a_node
from tests.unit.operations.asking import ask, change

URL = "https://esx-1.example/sdk"
LOGIN = ("password=secret word", "thumbprint=00")


def recorded(fleet: Fleet, verb: str = "import", **given: Any) -> Mapping[str, object]:
    """Return the arguments of the job that a command begins."""
    named = {"name": "app"} if verb == "import" else {}
    after, outcome = change(fleet, "image", verb, **named, **given)
    assert outcome.job is not None
    return after.jobs[outcome.job].arguments


def known() -> Fleet:
    return a_fleet(a_host(vmm=Endpoint("vsphere", {"url": URL, "password": "sealed:x"})), a_node())


@pytest.mark.parametrize("verb", ["import", "inspect"])
def test_a_url_with_a_login_is_kept_for_the_job(verb: str) -> None:
    arguments = recorded(a_fleet(), verb, url=URL, vm="My VM", user="reader", vmm_setting=LOGIN)
    assert (arguments["vm"], arguments["location"]) == ("My VM", URL)
    assert arguments["login"] == {
        "driver": "vsphere",
        "settings": {"url": URL, "user": "reader", "password": "secret word", "thumbprint": "00"},
    }


@pytest.mark.parametrize("where", [{"host": "host-1"}, {"url": URL}, {"url": f"{URL}/"}])
def test_a_node_that_is_known_needs_no_login(where: dict[str, str]) -> None:
    arguments = recorded(known(), vm="My VM", **where)
    assert (arguments["host"], arguments["location"]) == ("host-1", URL)
    assert "login" not in arguments


def test_a_login_of_ones_own_comes_before_a_nodes() -> None:
    arguments = recorded(known(), vm="My VM", url=URL, user="other")
    assert "host" not in arguments
    assert arguments["login"] == {"driver": "vsphere", "settings": {"url": URL, "user": "other"}}


def test_nothing_of_a_login_is_shown() -> None:
    after, outcome = change(
        a_fleet(), "image", "import", name="app", vm="My VM", url=f"{URL}?key=hidden", vmm_setting=LOGIN
    )
    shown = repr((outcome, ask(after, "job", "list"), ask(after, "job", "show", id=outcome.job)))
    assert "My VM" in shown
    assert "secret word" not in shown
    assert "hidden" not in shown


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"vm": "My VM"}, "where the VM is"),
        ({"vm": "My VM", "url": URL, "host": "host-1"}, "where the VM is"),
        ({"vm": "My VM", "host": "host-1", "user": "root"}, "has its own account"),
        ({"vm": "My VM", "url": URL, "file": "/x.ova"}, "do not go with --vm"),
        ({"vm": "My VM", "url": URL, "sha256": "0" * 64}, "do not go with --vm"),
        ({"vm": "My\nVM", "url": URL}, "control character"),
        ({"vm": "My VM", "url": "https://root:word@esx-1/sdk"}, "user's name"),
        ({"vm": "My VM", "url": URL, "vmm_setting": ("url=x",)}, "given twice"),
        ({"vm": "My VM", "url": URL, "vmm_setting": ("password=sealed:x",)}, "sealed secret"),
        ({"url": "https://example.org/web.ova", "host": "host-1"}, "goes with --vm"),
        ({"file": "/x.ova", "user": "root"}, "goes with --vm"),
        ({"file": "/x.ova", "vmm_setting": LOGIN}, "goes with --vm"),
    ],
)
def test_what_does_not_go_together_is_refused(given: dict[str, Any], words: str) -> None:
    # A node with a URL of its own, so that none of these is settled by it.
    fleet = a_fleet(a_host(vmm=Endpoint("vsphere", {"url": "https://esx-9.example/sdk"})))
    with pytest.raises(WrongUsage, match=words):
        change(fleet, "image", "import", name="app", **given)


def test_a_node_without_a_vm_manager_has_no_vms() -> None:
    with pytest.raises(Refusal, match="no VM manager"):
        recorded(known(), vm="My VM", host="node-1")
    with pytest.raises(NoSuchThing):
        recorded(known(), vm="My VM", host="node-7")

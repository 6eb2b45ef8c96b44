"""One command for a changed image, and its way over a tier that goes on answering, on real hosts."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from metier.lab.prober import Count, probing
from tests.e2e.site import Site, create_guest_tier, create_host_tier, import_guest, running_site

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces and bridges need root"),
]

GUESTS = 3


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site whose tier of three answers HTTP, with room for one guest more and for the one to be changed."""
    with running_site(tmp_path_factory.mktemp("site")) as site:
        import_guest(site)
        create_host_tier(site)
        create_guest_tier(site, "web", GUESTS)
        site.metier("tier", "activate", "hosts", "--wait", "--timeout", "120")
        site.metier("tier", "activate", "web", "--wait", "--timeout", "240")
        yield site


def begin(site: Site) -> tuple[dict[str, Any], str]:
    """Begin an update of the image and wait until it is the person's turn; return it and the address."""
    address = str(site.lab.static_addresses[-1])
    place = ("--address", f"{address}/{site.lab.prefix_length}", "--hostname", "web-new")
    site.metier("image", "update", "web@1", *place)
    return site.console.ask("procedure", "list")[-1], address


def stage(site: Site, number: int) -> str:
    return str(site.console.ask("procedure", "show", str(number))["stage"])


def until_stage(site: Site, number: int, wanted: str) -> None:
    site.until(lambda: stage(site, number) == wanted, f"update {number} is {wanted}")


def notes(site: Site) -> list[str]:
    """Return what is noted on the disks of the tier, by slot."""
    members = sorted(site.nodes("--tier", "web"), key=lambda node: node["slot"])
    return [site.note(node["address"]) for node in members]


def addresses(site: Site) -> list[str]:
    return [node["address"] for node in site.nodes("--tier", "web")]


def assert_all_is_put_back(site: Site) -> None:
    """Look that no tier, no node and no alert of an update is left."""
    assert {tier["name"] for tier in site.console.ask("tier", "list")} == {"hosts", "web"}
    assert all(node["engaged"] for node in site.nodes())
    assert site.console.ask("alert", "list") == []
    assert site.work_files() == []
    site.until(lambda: {n["status"] for n in site.nodes("--placement", "free")} == {"idle"}, "all are idle")


def test_an_update_that_is_given_up_puts_everything_back(site: Site) -> None:
    """S34: while the guest runs; the change is lost, as it was said."""
    procedure, address = begin(site)
    until_stage(site, procedure["id"], "waiting for you")
    assert site.nodes("--tier", "update-web")[0]["engaged"] is False
    site.change_inside(address, "given up")
    site.metier("image", "update", "web", "--abort", "--wait", "--timeout", "120")
    assert stage(site, procedure["id"]) == "aborted"
    assert site.images("web") == ["1"]
    assert_all_is_put_back(site)


def test_one_command_goes_on_after_two_kills(site: Site) -> None:
    """S24 S31 S34: killed while the guest starts, and before its capture; the version is there in the end."""
    procedure, address = begin(site)
    site.controller.kill()
    site.controller.start()
    until_stage(site, procedure["id"], "waiting for you")
    shown = site.console.ask("procedure", "show", str(procedure["id"]))
    assert (shown["address"], shown["host_ip"]) == (address, str(site.lab.host(shown["host"]).address))
    assert "web-new" in site.page(address)
    site.change_inside(address, "second edition")
    site.controller.kill()
    site.shut_down_inside(address)
    domain = f"metier-{shown['host']}-VM{shown['vm_number']}"
    site.until(lambda: "shut off" in site.virsh(shown["host"], "domstate", domain), "the guest is off")
    site.controller.start()
    until_stage(site, procedure["id"], "done")
    assert site.images("web") == ["1", "2"]
    assert_all_is_put_back(site)


def test_the_new_version_rolls_out_while_the_tier_answers(site: Site) -> None:
    """S35 P18 (R-UPDATE-1): previewed, paused and resumed on the way; at no time did no slot answer."""
    site.metier("tier", "update", "web", "--image", "web@2", "--plan")
    assert site.tier("web")["image"] == "web@1"
    asked = addresses(site)
    with probing(site.lab, asked) as count:
        site.metier("tier", "update", "web", "--image", "web@2")
        site.metier("tier", "pause", "web", "--why", "a look at the first one")
        assert "is paused: by" in " ".join(site.tier("web")["waiting_for"])
        site.until(lambda: "second edition" in notes_that_answer(site), "one slot runs the new version")
        assert notes(site).count("second edition") == 1
        site.metier("tier", "resume", "web", "--wait", "--timeout", "240")
    assert notes(site) == ["second edition"] * GUESTS
    assert_it_went_on_serving(count, asked)
    assert site.console.ask("alert", "list") == []


def notes_that_answer(site: Site) -> list[str]:
    """Return the notes of the members that are normal just now."""
    return [site.note(n["address"]) for n in site.nodes("--tier", "web") if n["status"] == "normal"]


def assert_it_went_on_serving(count: Count, asked: list[str]) -> None:
    """At every time all slots but one answered."""
    assert count.rounds > 20
    assert set(count.failed) == set(asked)
    assert count.dark == 0, count
    assert count.fewest >= GUESTS - 1, count


def test_a_version_that_never_answers_pauses_its_roll_out(site: Site) -> None:
    """R-UPDATE-2: one slot at most is out; a person is asked, and takes the tier back."""
    import_guest(site, flags=("metier-no-http",), version="3")
    site.metier("image", "edit", "web@3", "--startup-seconds", "12")
    asked = addresses(site)
    with probing(site.lab, asked) as count:
        failed = site.metier("tier", "update", "web", "--image", "web@3", "--wait", expect=1)
        assert "is paused" in failed.errors
        assert "update-paused" in site.alert_codes()
        assert_it_went_on_serving_so_far(site)
        site.metier("tier", "rollback", "web", "--wait", "--timeout", "180")
    assert notes(site) == ["second edition"] * GUESTS
    assert_it_went_on_serving(count, asked)
    site.until(lambda: site.console.ask("alert", "list") == [], "no alert is left")


def assert_it_went_on_serving_so_far(site: Site) -> None:
    normal = [node for node in site.nodes("--tier", "web") if node["status"] == "normal"]
    assert len(normal) >= GUESTS - 1

"""What an operator may set for a libvirt host."""

import pytest

from metier.domain.errors import Refused, WrongUsage, chain
from metier.drivers.hypervisor.libvirt import Libvirt
from metier.drivers.hypervisor.libvirt.configuration import Attachment, Settings
from metier.drivers.hypervisor.names import file_word
from metier.drivers.settings import parse_settings

URL = "qemu:///system"


def parsed(**given: str) -> Settings:
    return parse_settings(Settings, "libvirt", {"url": URL, **given})


@pytest.mark.parametrize(
    "url",
    [
        "qemu:///system",
        "qemu:///session",
        "qemu+tcp://host-1/system",
        "qemu+tls://host-1.example:16514/system",
        "qemu+unix:///system?socket=/run/host-1/libvirt-sock",
        "qemu:///embed?root=/srv/lab",
    ],
)
def test_every_kind_of_url_is_taken_as_it_is(url: str) -> None:
    assert parsed(url=url).url == url


@pytest.mark.parametrize(
    ("url", "used"),
    [
        ("qemu+ssh://root@host-1/system", "qemu+ssh://root@host-1/system?no_tty=1"),
        ("qemu+ssh://host-1/system?keyfile=/k", "qemu+ssh://host-1/system?keyfile=/k&no_tty=1"),
        ("qemu+libssh://host-1/system?no_tty=0", "qemu+libssh://host-1/system?no_tty=0"),
        ("qemu+ssh://host-1/system?no_tty=0", "qemu+ssh://host-1/system?no_tty=0"),
    ],
)
def test_nobody_is_asked_for_a_password(url: str, used: str) -> None:
    assert parsed(url=url).url == used


@pytest.mark.parametrize(
    "url",
    ["host-1", "http://host-1/", "xen:///system", "qemu:", "qemu://[::1/system", "///"],
)
def test_other_urls_are_wrong_usage(url: str) -> None:
    with pytest.raises(WrongUsage, match="url="):
        parsed(url=url)


def test_networks_are_named_by_bridge_or_by_libvirt_network() -> None:
    assert parsed(networks="default=bridge:br0, storage=network:san").networks == {
        "default": Attachment("bridge", "br0"),
        "storage": Attachment("network", "san"),
    }
    assert parsed().networks == {"default": Attachment("network", "default")}


@pytest.mark.parametrize(
    "networks",
    [
        "br0",
        "default=br0",
        "default=tap:x",
        "=bridge:br0",
        "default=bridge:",
        "default=bridge:a b",
        "a=bridge:b,",
        "",
    ],
)
def test_malformed_networks_are_wrong_usage(networks: str) -> None:
    with pytest.raises(WrongUsage, match="networks="):
        parsed(networks=networks)


def test_one_name_for_two_networks_is_wrong_usage() -> None:
    with pytest.raises(WrongUsage, match="twice"):
        parsed(networks="default=bridge:br0,default=bridge:br1")


@pytest.mark.parametrize("store", ["vms", "/", "/srv", "/srv/../etc/vms", "/srv/vms\n", "/srv/a\0b", ""])
def test_a_store_is_a_folder_of_metiers_own(store: str) -> None:
    with pytest.raises(WrongUsage, match="store="):
        parsed(store=store)


def test_a_stores_last_slash_does_not_count() -> None:
    assert parsed(store="/srv/metier/").store == "/srv/metier"


@pytest.mark.parametrize("word", ["", "..", "../x", "a/b", "-rf", "a b", "x" * 151, "a\0"])
def test_no_word_leads_out_of_the_store(word: str) -> None:
    with pytest.raises(Refused):
        file_word(word, "image")


def test_a_node_that_cannot_be_named_is_wrong_usage() -> None:
    with pytest.raises(WrongUsage):
        Libvirt.open("host/1", {"url": URL})


def test_opening_connects_to_nothing_and_the_first_call_says_what_failed() -> None:
    driver = Libvirt.open("host-1", {"url": "qemu+unix:///system?socket=/nowhere/libvirt-sock"})
    with pytest.raises(
        Exception, match="cannot list the VMs on host-1: no connection to libvirt at"
    ) as caught:
        driver.report(timeout_s=10)
    assert "No such file" in chain(caught.value)

"""What an operator may say of a VMware host, and what of it is never shown."""

import pytest

pytest.importorskip("pyVmomi", reason="pyvmomi is not installed")

from metier.domain.errors import WrongUsage
from metier.drivers.hypervisor.vsphere import Vsphere
from metier.drivers.hypervisor.vsphere.configuration import Settings, place_of, url_of
from metier.drivers.settings import parse_settings

GIVEN = {"url": "https://esx-1/sdk", "password": "a very secret word"}
THUMBPRINT = ":".join(["AB"] * 32)


def parsed(**more: str) -> Settings:
    return parse_settings(Settings, "vsphere", {**GIVEN, **more})


@pytest.mark.parametrize(
    ("text", "host", "port", "path"),
    [
        ("https://esx-1", "esx-1", 443, "/sdk"),
        ("https://esx-1/sdk/", "esx-1", 443, "/sdk"),
        ("https://10.0.0.1:8443/sdk", "10.0.0.1", 8443, "/sdk"),
        ("https://[fd00::1]/sdk", "fd00::1", 443, "/sdk"),
    ],
)
def test_addresses_are_read_and_written(text: str, host: str, port: int, path: str) -> None:
    assert url_of(text) == (host, port, path)
    assert url_of(str(url_of(text))) == url_of(text)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("url", "http://esx-1/sdk"),
        ("url", "https://root:word@esx-1/sdk"),
        ("url", "https://esx-1/sdk?x=1"),
        ("url", "https:///sdk"),
        ("thumbprint", "AB:CD"),
        ("ca", "relative.pem"),
        ("datastore", "a]b"),
        ("networks", "default"),
        ("networks", "default=A,default=B"),
        ("site", "a/b"),
    ],
)
def test_what_cannot_be_meant_is_refused(setting: str, value: str) -> None:
    with pytest.raises(WrongUsage, match=setting):
        Vsphere.check_settings({**GIVEN, setting: value})


def test_a_thumbprint_and_an_authority_contradict_each_other() -> None:
    with pytest.raises(WrongUsage, match="not both"):
        Vsphere.check_settings({**GIVEN, "thumbprint": THUMBPRINT, "ca": "/etc/ca.pem"})


def test_a_thumbprint_may_be_written_as_vmware_shows_it() -> None:
    assert parsed(thumbprint=THUMBPRINT).thumbprint == "ab" * 32


def test_the_password_is_in_no_dump() -> None:
    assert "secret" not in repr(parsed())
    assert parsed().password == "a very secret word"


def test_identities_are_stable_and_tell_sites_and_nodes_apart() -> None:
    place = place_of("esx-1", parsed())
    identity = place.vm_id("esx-1", 1)
    others = (place.vm_id("esx-2", 1), place.vm_id("esx-1", 2))
    assert identity == place_of("esx-1", parsed()).vm_id("esx-1", 1)
    assert identity not in (*others, place_of("esx-1", parsed(site="other")).vm_id("esx-1", 1))

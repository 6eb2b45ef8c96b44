"""The NoCloud seed: readable by who looks for it, and the same bytes for the same words."""

import io
from pathlib import Path
from typing import Any

import pycdlib
import pytest
import yaml

from metier.domain.errors import WrongUsage
from metier.matrix.seed import nocloud_seed


def read(seed: bytes, path: str) -> bytes:
    """Return a file by one of its names: `joliet_path` or `rr_path`."""
    kind, _, name = path.partition(":")
    iso, content = pycdlib.PyCdlib(), io.BytesIO()
    iso.open_fp(io.BytesIO(seed))
    try:
        iso.get_file_from_iso_fp(content, **{kind: name})
    finally:
        iso.close()
    return content.getvalue()


def network(seed: bytes) -> dict[str, Any]:
    found = yaml.safe_load(read(seed, "rr_path:/network-config"))
    assert found["version"] == 2
    return dict(found["ethernets"]["primary"])


def test_the_files_are_there_under_both_kinds_of_names() -> None:
    seed = nocloud_seed("web-1", "web/1", None, None, "#cloud-config\nhostname: x\n")
    for kind in ("joliet_path", "rr_path"):
        assert yaml.safe_load(read(seed, f"{kind}:/meta-data")) == {
            "instance-id": "web/1",
            "local-hostname": "web-1",
        }
        assert read(seed, f"{kind}:/user-data") == b"#cloud-config\nhostname: x\n"
        assert read(seed, f"{kind}:/network-config")
    assert seed[16 * 2048 + 40 : 16 * 2048 + 72].rstrip() == b"cidata"


def test_dhcp_where_no_address_is_given() -> None:
    assert network(nocloud_seed("web-1", "i", None, None)) == {"match": {"name": "e*"}, "dhcp4": True}


def test_a_fixed_address() -> None:
    seed = nocloud_seed(
        "web-1", "i", "10.0.0.5/24", "10.0.0.1", mac="52:54:00:AA:00:01", name_servers=["10.0.0.2"]
    )
    assert network(seed) == {
        "match": {"macaddress": "52:54:00:aa:00:01"},
        "dhcp4": False,
        "addresses": ["10.0.0.5/24"],
        "routes": [{"to": "0.0.0.0/0", "via": "10.0.0.1"}],
        "nameservers": {"addresses": ["10.0.0.2"]},
    }


def test_a_fixed_address_of_the_sixth_version() -> None:
    found = network(nocloud_seed("web-1", "i", "fd00::5/64", "fd00::1"))
    assert found["addresses"] == ["fd00::5/64"]
    assert found["routes"] == [{"to": "::/0", "via": "fd00::1"}]


@pytest.mark.parametrize("address", ["10.0.0.5", "10.0.0.5/40", "web-1", "", "10.0.0.5/24\n"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(WrongUsage, match="is no address"):
        nocloud_seed("web-1", "i", address, None)
    with pytest.raises(WrongUsage, match="is no address"):
        nocloud_seed("web-1", "i", "10.0.0.5/24", f"{address}/24")


def test_hostile_words_stay_words() -> None:
    name = 'x"\nevil: yes #'
    assert (
        yaml.safe_load(read(nocloud_seed(name, "i", None, None), "rr_path:/meta-data"))["local-hostname"]
        == name
    )


def test_the_same_words_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = nocloud_seed("web-1", "i", "10.0.0.5/24", None)
    monkeypatch.setattr("time.time", lambda: 1_000_000_000.0)
    assert nocloud_seed("web-1", "i", "10.0.0.5/24", None) == first
    assert nocloud_seed("web-2", "i", "10.0.0.5/24", None) != first

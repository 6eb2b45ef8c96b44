"""The NoCloud seed: readable by who looks for it, and the same bytes for the same words."""

from email import message_from_bytes
from typing import Any

import pytest
import yaml

from metier.domain.errors import WrongUsage
from metier.domain.personality import PersonalFile, Personality
from tests.unit.matrix.seeds.reading import MAC, label, names, read, seed


def network(iso_image: bytes) -> dict[str, Any]:
    found = yaml.safe_load(read(iso_image, "/network-config"))
    assert found["version"] == 2
    return dict(found["ethernets"]["primary"])


def test_the_files_are_there_under_both_kinds_of_names() -> None:
    made = seed(Personality(user_data="#cloud-config\nhostname: x\n"), instance="web/1")
    for kind in ("joliet_path", "rr_path"):
        assert names(made, kind) == {"/meta-data", "/network-config", "/user-data"}
        assert yaml.safe_load(read(made, "/meta-data", kind)) == {
            "instance-id": "web/1",
            "local-hostname": "web-1",
        }
        assert read(made, "/user-data", kind) == b"#cloud-config\nhostname: x\n"
    assert label(made) == "cidata"


def test_dhcp_where_no_address_is_given() -> None:
    made = seed(address=None, gateway=None, mac="")
    assert network(made) == {"match": {"name": "e*"}, "dhcp4": True}
    assert read(made, "/user-data") == b"#cloud-config\n{}\n"


def test_a_fixed_address() -> None:
    assert network(seed(Personality(name_servers=("10.0.0.2",)))) == {
        "match": {"macaddress": MAC.lower()},
        "dhcp4": False,
        "addresses": ["10.0.0.5/24"],
        "routes": [{"to": "0.0.0.0/0", "via": "10.0.0.1"}],
        "nameservers": {"addresses": ["10.0.0.2"]},
    }


def test_a_fixed_address_of_the_sixth_version() -> None:
    found = network(seed(address="fd00::5/64", gateway="fd00::1"))
    assert found["addresses"] == ["fd00::5/64"]
    assert found["routes"] == [{"to": "::/0", "via": "fd00::1"}]


@pytest.mark.parametrize("address", ["10.0.0.5", "10.0.0.5/40", "web-1", "10.0.0.5/24\n"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(WrongUsage, match="is no address"):
        seed(address=address)
    with pytest.raises(WrongUsage, match="is no address"):
        seed(gateway=f"{address}/24")


def test_hostile_words_stay_words() -> None:
    name = 'x"\nevil: yes #'
    assert yaml.safe_load(read(seed(hostname=name), "/meta-data"))["local-hostname"] == name


def parts(made: bytes) -> list[tuple[str, str | None, bytes]]:
    """Return type, name and content of the parts of a seed's user-data."""
    message = message_from_bytes(read(made, "/user-data"))
    assert not message.defects
    return [
        (part.get_content_type(), part.get_filename(), bytes(part.get_payload(decode=True)))
        for part in message.walk()
        if not part.is_multipart()
    ]


def test_files_and_scripts_go_beside_the_operator_s_own_user_data() -> None:
    files = (PersonalFile("/etc/motd", "This is {{ hostname }}: ä\n", "0600"), PersonalFile("/empty", ""))
    scripts = ("#!/bin/bash\necho {{ slot }}\n", "touch /there\n")
    made = seed(Personality(user_data="#cloud-config\npackages: [nginx]\n", files=files, scripts=scripts))
    own, written, first, second = parts(made)
    assert own == ("text/cloud-config", "user-data", b"#cloud-config\npackages: [nginx]\n")
    assert written[:2] == ("text/cloud-config", "files")
    assert yaml.safe_load(written[2])["write_files"] == [
        {"path": "/etc/motd", "content": "This is web-1: ä\n", "permissions": "0600"},
        {"path": "/empty", "content": "", "permissions": "0644"},
    ]
    assert first == ("text/x-shellscript", "script-1", b"#!/bin/bash\necho 1\n")
    assert second == ("text/x-shellscript", "script-2", b"#!/bin/sh\ntouch /there\n")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("#!/bin/sh\ntrue\n", "text/x-shellscript"),
        ("#include\nhttp://example.org/x\n", "text/x-include-url"),
        ("#cloud-boothook\ntrue\n", "text/cloud-boothook"),
        ("#cloud-config-archive\n[]\n", "text/cloud-config-archive"),
        ("words\n", "text/plain"),
        ("Content-Type: text/cloud-config\nMIME-Version: 1.0\n\n#cloud-config\n{}\n", "text/cloud-config"),
    ],
)
def test_whatever_the_operator_s_user_data_is_stays_what_it_is(text: str, kind: str) -> None:
    found = parts(seed(Personality(user_data=text, scripts=("true",))))
    assert found[0][0] == kind
    assert len(found) == 2


def test_a_text_cannot_end_the_part_that_it_is_in() -> None:
    made = seed(Personality(user_data="#cloud-config\n{}\n", scripts=("true",)))
    boundary = message_from_bytes(read(made, "/user-data")).get_boundary()
    again = seed(Personality(user_data=f"#cloud-config\nx: |\n  --{boundary}--\n", scripts=("true",)))
    assert len(parts(again)) == 2

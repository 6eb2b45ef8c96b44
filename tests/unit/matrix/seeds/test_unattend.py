"""The answer file of Windows, and what runs at the first logon."""

import xml.etree.ElementTree as ET
from typing import Any

import pytest

from metier.domain.errors import WrongUsage
from metier.domain.personality import NO_PERSONALITY, PersonalFile, Personality, SeedForm, computer_name
from tests.unit.matrix.seeds.reading import label, names, read, seed

SPACE = "{urn:schemas-microsoft-com:unattend}"


def disk(personality: Personality = NO_PERSONALITY, **fields: Any) -> bytes:
    return seed(personality, SeedForm.UNATTEND, **fields)


def texts(made: bytes, tag: str) -> list[str | None]:
    root = ET.fromstring(read(made, "/unattend.xml"))
    return [element.text for element in root.iter(f"{SPACE}{tag}")]


def test_the_default_answers_name_the_computer_and_its_address() -> None:
    made = disk(Personality(name_servers=("10.0.0.2", "10.0.0.3")))
    assert label(made) == "config-2"
    assert read(made, "/unattend.xml") == read(made, "/autounattend.xml")
    assert texts(made, "ComputerName") == ["web-1"]
    assert texts(made, "IpAddress") == ["10.0.0.5/24", "10.0.0.2", "10.0.0.3"]
    assert texts(made, "Identifier") == ["52-54-00-AA-00-01", "0", "52-54-00-AA-00-01"]
    assert texts(made, "NextHopAddress") == ["10.0.0.1"]
    assert texts(made, "CommandLine") == []
    assert "/openstack/latest/meta_data.json" in names(made)


def test_without_an_address_windows_asks_dhcp() -> None:
    made = disk(address=None, gateway=None)
    root = ET.fromstring(read(made, "/unattend.xml"))
    components = [element.get("name") for element in root.iter(f"{SPACE}component")]
    assert components == ["Microsoft-Windows-Shell-Setup"] * 2


def test_an_address_of_the_sixth_version() -> None:
    made = disk(address="fd00::5/64", gateway="fd00::1")
    assert texts(made, "Prefix") == ["::/0"]
    root = ET.fromstring(read(made, "/unattend.xml"))
    assert root.find(f".//{SPACE}Ipv6Settings/{SPACE}DhcpEnabled") is not None


def test_files_and_scripts_wait_for_the_first_logon() -> None:
    files = (PersonalFile("C:\\app\\app.ini", "[app]\nslot={{ slot }}\n"),)
    scripts = ("New-Item C:\\there-{{ slot }}\n", "@echo off\necho hi\n")
    made = disk(Personality(files=files, scripts=scripts))
    (command,) = texts(made, "CommandLine")
    assert command is not None
    assert "metier\\first.cmd" in command
    assert len(command) < 1024
    program = read(made, "/metier/first.cmd").decode()
    assert program.splitlines() == [
        "@echo off",
        'if not exist "C:\\app\\" mkdir "C:\\app"',
        'copy /y "%~dp0..\\openstack\\content\\0000" "C:\\app\\app.ini"',
        'powershell.exe -NoProfile -ExecutionPolicy Bypass -File "%~dp0script-01.ps1"',
        'call "%~dp0script-02.cmd"',
    ]
    assert "\r\n" in program
    assert read(made, "/metier/script-01.ps1") == b"New-Item C:\\there-1\r\n"
    assert read(made, "/openstack/content/0000") == b"[app]\nslot=1\n"


def test_an_answer_file_of_the_operator_s_own_takes_its_place() -> None:
    own = '<unattend xmlns="urn:schemas-microsoft-com:unattend"><x>{{ role | e }}</x></unattend>'
    made = disk(Personality(unattend=own, variables=(("role", "a & b"),)))
    assert texts(made, "x") == ["a & b"]
    with pytest.raises(WrongUsage, match="no XML"):
        disk(Personality(unattend=own.replace(" | e", ""), variables=(("role", "a & b"),)))


@pytest.mark.parametrize(
    ("hostname", "name"),
    [
        ("web-1", "web-1"),
        ("www.example.org", "www"),
        ("production-web-front-12", "production-w-12"),
        ("production-web-front", "production-web"),
        ("a" * 63, "a" * 15),
    ],
)
def test_a_name_is_cut_to_what_windows_takes_and_keeps_its_number(hostname: str, name: str) -> None:
    assert computer_name(hostname) == name
    assert len(name) <= 15

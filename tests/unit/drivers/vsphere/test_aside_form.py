"""What is kept of a VM that was moved aside is read back, and nothing else is believed."""

import json
from dataclasses import replace

import pytest

from metier.domain.hardware import Hardware
from metier.domain.observation import Power, VmFacts
from metier.drivers.hypervisor.vsphere.aside_form import AsideVm, from_json, to_json
from metier.drivers.hypervisor.vsphere.configuration import Settings
from metier.drivers.settings import parse_settings

VM = AsideVm(
    3,
    name="web %2f a",
    home="[store one] web/web.vmx",
    folder="group-v3",
    pool="resgroup-8",
    memory_mib=512,
    cpus=2,
    disk_gib=4,
    nics=1,
    networks=("default",),
    macs=("00:0c:29:00:00:01",),
    staged="web / a",
    staged_folder="metier/staged",
)


def settings(**more: str) -> Settings:
    """Settings that hand some VMs over."""
    return parse_settings(Settings, "vsphere", {"url": "https://esx-1/sdk", "password": "word", **more})


def test_it_is_read_back() -> None:
    assert from_json(3, to_json(VM)) == VM


def test_it_is_told_as_off_with_what_it_had() -> None:
    forms = frozenset({"raw"})
    hardware = Hardware(512, 2, 4, nics=1, networks=frozenset({"default"}), image_forms=forms)
    told = VmFacts(3, Power.OFF, hardware, macs=VM.macs, is_aside=True)
    assert VM.facts(forms, settings()) == told
    for handed in ({"staged": "web / a"}, {"staged_folder": "metier/staged"}):
        assert VM.facts(forms, settings(**handed)) == replace(told, is_staged=True)


@pytest.mark.parametrize(
    "change",
    [
        {"form": 2},
        {"number": 4},
        {"cpus": "2"},
        {"cpus": True},
        {"memory_mib": -1},
        {"memory_mib": 1 << 60},
        {"home": 5},
        {"name": "a\nb"},
        {"macs": "00"},
        {"networks": [1]},
        {"staged": None},
    ],
)
def test_what_metier_did_not_write_is_not_believed(change: dict[str, object]) -> None:
    content = json.dumps({**json.loads(to_json(VM)), **change}).encode()
    assert from_json(3, content) == AsideVm(3, is_readable=False)
    assert from_json(3, content).facts(frozenset(), settings()).hardware is None

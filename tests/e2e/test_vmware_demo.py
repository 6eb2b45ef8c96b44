"""The demonstration's guest tier on simulated ESX hosts: only what `metier node add` is told differs."""

import os
from collections.abc import Iterator

import pytest

from metier.lab.controller import LabController
from metier.lab.demo import GUESTS, Demo
from tests.contract.vsphere_testbed import missing
from tests.e2e.demo_typed import TYPED, typed
from tests.e2e.vmware_site import VmwareDatacentre

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
    pytest.mark.skipif(bool(missing()), reason=missing()),
]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """The whole demonstration, as it went on two ESX hosts."""
    folder = tmp_path_factory.mktemp("demo")
    centre = VmwareDatacentre(folder / "lab", ["host-1", "host-2"])
    demo = Demo(folder, centre, LabController(centre, folder / "state"), quiet=True)
    try:
        demo.run()
        yield demo
    finally:
        demo.clean_up()


def test_what_is_typed_is_the_same_but_for_adding_the_hosts(demo: Demo) -> None:
    """The list is what the demonstration types with libvirt's hosts too; `test_demo.py` compares it."""
    lines = [line for step in demo.steps for line in step.commands]
    assert typed(lines) == TYPED
    added = [line for line in lines if line.startswith("metier node add ")]
    assert len(added) == 2
    assert all("--vmm vsphere --url https://198.18.0.1" in line for line in added)


def test_every_step_came_to_its_end(demo: Demo) -> None:
    """S20 S24 S34 S37 S47 S52 S55: import, activation, update, a kill, the shrink that waits, the force."""
    by_title = {step.title: step for step in demo.steps}
    update = by_title["The new version goes round the tier while it answers"]
    assert any("rounds in which no slot answered: 0" in sentence for sentence in update.said)
    assert sum("note: changed" in sentence for sentence in update.said) == GUESTS
    shrink = by_title["The host tier is told to shrink: it waits for its guests"]
    assert any("still hosts active guests" in sentence for sentence in shrink.waiting_for)
    forced = by_title["The forced way: one warning per guest, then replacement"]
    assert any(sentence.startswith("warning:") for sentence in forced.said)
    assert sum("<h1>web-" in sentence for sentence in forced.said) == GUESTS

"""Imports, inspections and exports as they are asked for, and which nodes an image fits."""

from dataclasses import replace
from typing import Any

import pytest

from metier.control.image_jobs import import_order
from metier.domain.errors import Refusal, WrongUsage, chain
from metier.domain.fleet import Draft, Fleet
from metier.domain.hardware import Hardware, Requirements
from metier.domain.ids import ImageRef
from metier.domain.image import Disk, Image, ImageType, Machine
from metier.matrix.api import Hints
from metier.operations.image_export import ExportImage, export_image
from metier.operations.image_fit import fit_row
from metier.operations.image_import import ImportImage, import_image
from metier.operations.image_inspect import InspectImage, inspect_image
from metier.operations.paths import NewFile
from metier.operations.registry import Caller, Outcome
from tests.builders import NOW, a_fleet, a_host, a_host_image, a_virtual_node, an_image

CALLER = Caller("ann", NOW)
GIB = 1 << 30


def imported(fleet: Fleet, **given: Any) -> tuple[Draft, Outcome]:
    draft = fleet.edit()
    return draft, import_image(draft, ImportImage(**{"name": "app", **given}), CALLER)


def small_site() -> Fleet:
    has = Hardware(memory_mib=2048, cpus=2, disk_gib=8)
    return a_fleet(
        a_host(),
        replace(a_virtual_node(number=1), hardware=replace(has, memory_mib=1024)),
        replace(a_virtual_node(number=2), hardware=has),
        an_image(),
        a_host_image(),
    )


def test_all_that_was_said_of_a_package_is_recorded() -> None:
    draft, outcome = imported(
        small_site(),
        url="https://example.org/app.ova?sig=secret",
        type="windows",
        sha256="SHA256:" + "AB" * 32,
        minimum_memory_mib=512,
        attribute=("ssd",),
        collector=("tcp:3389",),
        firmware="uefi",
        bus="sata",
        nic_model="e1000",
        machine_memory_mib=1024,
        machine_cpus=2,
        vmware_only=True,
    )
    assert outcome.job is not None
    job = draft.jobs[outcome.job]
    order = import_order(job.arguments, job.created)
    assert (order.ref, order.location) == (ImageRef("app", "1"), "https://example.org/app.ova?sig=secret")
    assert order.hints == Hints("uefi", "sata", "e1000", 1024, 2)
    assert (order.sha256, order.vmware_only) == ("ab" * 32, True)
    assert (order.answers.type, order.answers.minimum_memory_mib) == (ImageType.WINDOWS, 512)
    assert order.answers.requirements.attributes == {"ssd"}
    assert [str(spec) for spec in order.answers.collectors] == ["tcp:3389"]
    assert "https://example.org/app.ova begun" in outcome.message
    assert "secret" not in outcome.message
    assert "secret" not in str(outcome.row)


def test_a_path_is_recorded_as_it_is() -> None:
    draft, outcome = imported(small_site(), file="/tmp/app.tgz")
    assert outcome.job is not None
    order = import_order(draft.jobs[outcome.job].arguments, NOW)
    assert (order.location, order.hints, order.sha256) == ("/tmp/app.tgz", Hints(), "")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "say where the package is"),
        ({"file": "/a", "url": "https://x/a"}, "and not both"),
        ({"file": "a"}, "not an absolute path"),
        ({"file": "/a\nb"}, "control character"),
        ({"url": "ftp://x/a"}, "scheme 'ftp'"),
        ({"url": "https://ann:pw@x/a"}, "holds a user's name"),
        ({"file": "/a", "sha256": "abc"}, "64 digits"),
        ({"file": "/a", "bus": "floppy"}, "--bus cannot be 'floppy'"),
        ({"file": "/a", "firmware": "coreboot"}, "--firmware cannot be"),
        ({"file": "/a", "nic_model": "x"}, "--nic-model cannot be"),
        ({"file": "/a", "machine_memory_mib": -1}, "memory of the machine"),
        ({"file": "/a", "machine_cpus": 1 << 20}, "CPUs of the machine"),
        ({"file": "/a", "type": "vmm-host"}, "cannot be imported"),
    ],
)
def test_what_makes_no_sense_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(WrongUsage, match=said) as refused:
        imported(small_site(), **given)
    assert "pw" not in chain(refused.value)


def test_what_is_known_to_be_too_large_is_told_before() -> None:
    _, outcome = imported(small_site(), file="/a", minimum_memory_mib=4096, cpus=4)
    assert outcome.warnings == (
        "no virtual node has 4096 MiB; the largest, host-1/VM2, has 2048",
        "no virtual node has 4 CPUs; the largest, host-1/VM1, has 2",
    )


def test_an_inspection_is_recorded_as_an_import_is() -> None:
    draft = small_site().edit()
    outcome = inspect_image(draft, InspectImage(file="/tmp/app.ova"), CALLER)
    assert outcome.job is not None
    job = draft.jobs[outcome.job]
    assert (job.kind, import_order(job.arguments, NOW).location) == ("image-inspect", "/tmp/app.ova")


# --- exports --------------------------------------------------------------------------------


def exported(image: Image, **given: Any) -> tuple[Draft, Outcome]:
    draft = a_fleet(image).edit()
    values = {"name": str(image.ref), "file": NewFile("/tmp/web.ova"), **given}
    return draft, export_image(draft, ExportImage(**values), CALLER)


def with_disk(image: Image, size: int = GIB) -> Image:
    return replace(image, machine=Machine((Disk("disk0.qcow2", size, 1, "x"),)))


def test_an_export_is_recorded() -> None:
    image = with_disk(an_image())
    draft, outcome = exported(image, form="vhdx")
    assert outcome.job is not None
    assert draft.jobs[outcome.job].arguments == {
        "name": image.ref.name,
        "version": image.ref.version,
        "form": "vhdx",
        "target": "/tmp/web.ova",
    }


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"file": NewFile("")}, "say which file"),
        ({"file": NewFile("web.ova")}, "not the absolute path"),
        ({"file": NewFile("/tmp/")}, "not the absolute path"),
        ({"form": "iso"}, "cannot be written as 'iso'"),
    ],
)
def test_an_export_that_makes_no_sense_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(WrongUsage, match=said):
        exported(with_disk(an_image()), **given)


def test_a_host_image_has_nothing_to_export() -> None:
    with pytest.raises(Refusal, match="a host image has no files"):
        exported(a_host_image())


# --- which nodes it fits --------------------------------------------------------------------


def test_an_image_that_fits_some_nodes_has_no_doubts() -> None:
    image = replace(with_disk(an_image()), requirements=Requirements(memory_mib=2048))
    assert fit_row(small_site(), image) == {"fits": 1, "doubts": []}


@pytest.mark.parametrize(
    ("needs", "size", "doubt"),
    [
        (
            Requirements(memory_mib=4096),
            GIB,
            "no virtual node has 4096 MiB; the largest, host-1/VM2, has 2048",
        ),
        (Requirements(), 40 * GIB, "no virtual node has 40 GiB of disk; the largest, host-1/VM1, has 8"),
        (Requirements(architecture="arm64"), GIB, "no virtual node has architecture arm64"),
        (Requirements(attributes=frozenset(("ssd",))), GIB, "no virtual node has attribute ssd"),
        (Requirements(networks=frozenset(("dmz",))), GIB, "no virtual node has network dmz"),
    ],
)
def test_what_keeps_all_nodes_from_running_it_is_said(needs: Requirements, size: int, doubt: str) -> None:
    image = replace(with_disk(an_image(), size), requirements=needs)
    assert fit_row(small_site(), image) == {"fits": 0, "doubts": [doubt]}


def test_needs_that_no_one_node_meets_together_are_said_of_the_nearest() -> None:
    fleet = a_fleet(
        a_host(),
        replace(a_virtual_node(number=1), hardware=Hardware(4096, cpus=1)),
        replace(a_virtual_node(number=2), hardware=Hardware(1024, cpus=4)),
    )
    image = replace(an_image(), requirements=Requirements(memory_mib=2048, cpus=2), machine=None)
    assert fit_row(fleet, image)["doubts"] == [
        "no virtual node has all it needs; the nearest, host-1/VM1, would need 1 more CPUs"
    ]


def test_a_site_without_virtual_nodes_says_so() -> None:
    assert fit_row(a_fleet(a_host()), an_image())["doubts"] == [
        "there is no virtual node yet that could run it"
    ]

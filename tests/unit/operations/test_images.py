"""Host images, imports, settings and deletion."""

from typing import Any

import pytest

from metier.domain.errors import NoSuchThing, Refusal, WrongUsage
from metier.domain.fleet import Fleet
from metier.domain.hardware import Requirements
from metier.domain.ids import ImageRef
from metier.domain.image import CollectorSpec, ImageType, OfferedVm
from metier.domain.job import JobState
from metier.domain.timing import Activity
from tests.builders import (
    NOW,
    a_fleet,
    a_host_image,
    a_job,
    a_slot,
    a_tier,
    a_timing,
    a_virtual_node,
    an_image,
    an_instance,
)
from tests.unit.operations.asking import ask, change, still

CONTRACT = (
    "name",
    "version",
    "type",
    "form",
    "state",
    "size_bytes",
    "digest",
    "minimum_memory_mib",
    "attributes",
    "tiers",
    "created",
    "source",
)
WEB = ImageRef("web", "1")


def test_a_host_image_offers_equal_vms() -> None:
    """S13, S23."""
    fleet, outcome = change(
        a_fleet(),
        "image",
        "create",
        name="vmm",
        vms=3,
        vm_memory=256,
        vm_cpus=2,
        vm_disk=4,
        vm_network=("lan",),
    )
    image = fleet.images[ImageRef("vmm", "1")]
    assert (image.type, image.form, image.is_host_image) == (ImageType.VMM_HOST, "vmm-host", True)
    assert image.offers == tuple(OfferedVm(number, 256, 2, 4, ("lan",)) for number in (1, 2, 3))
    # The manual: a host's minimum memory must be adequate for the VMs defined in its image.
    assert image.requirements == Requirements(memory_mib=768)
    assert outcome.message == "image vmm@1 created"


def test_a_host_image_describes_its_vms_one_by_one() -> None:
    fleet, _ = change(
        a_fleet(),
        "image",
        "create",
        name="vmm",
        version="a",
        vm=("memory=256", "memory=2048,cpus=2,disk=20,networks=lan+san"),
        minimum_memory_mib=0,
    )
    image = fleet.images[ImageRef("vmm", "a")]
    assert image.offers == (OfferedVm(1, 256), OfferedVm(2, 2048, 2, 20, ("lan", "san")))
    assert image.requirements == Requirements()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "must say which VMs each host offers"),
        ({"vms": 3}, "must say which VMs each host offers"),
        ({"vms": 0, "vm_memory": 256}, "--vms 0 offers no VM that could have anything"),
        ({"vms": -1, "vm_memory": 256}, "the number of VMs cannot be -1"),
        ({"vms": 1001, "vm_memory": 256}, "the number of VMs cannot be 1001"),
        ({"vms": 1, "vm_memory": 0}, "memory of a VM in MiB cannot be 0"),
        ({"vms": 1, "vm_memory": 256, "vm_cpus": 0}, "CPUs of a VM cannot be 0"),
        ({"vms": 1, "vm_memory": 256, "vm_network": ("a b",)}, "cannot be a network"),
        ({"vm": ("memory=256",), "vms": 1}, "exclude each other"),
        ({"vm": ("cpus=1",)}, "names no memory"),
        ({"vm": ("memory=big",)}, "must be a whole number"),
        ({"vm": ("memory=256,colour=red",)}, "unknown part colour"),
        ({"vm": ("memory",)}, "is not KEY=VALUE"),
        ({"vms": 1, "vm_memory": 256, "type": "linux"}, "cannot be created from nothing"),
        ({"vms": 1, "vm_memory": 256, "name": "a b"}, r"cannot name an? image"),
        ({"vms": 1, "vm_memory": 256, "version": "1/2"}, r"cannot name an? image version"),
    ],
)
def test_a_host_image_that_makes_no_sense_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(WrongUsage, match=message):
        change(a_fleet(), "image", "create", **({"name": "vmm"} | given))


def test_a_host_image_may_leave_all_vms_to_those_that_were_staged() -> None:
    fleet, outcome = change(a_fleet(), "image", "create", name="esx", vms=0)
    image = fleet.images[ImageRef("esx", "1")]
    assert (image.offers, image.requirements) == ((), Requirements())
    assert outcome.warnings == ("hosts with image esx@1 have no VMs but those that were staged on them",)


def test_a_version_never_changes_and_the_next_number_is_named() -> None:
    """S12."""
    fleet = a_fleet(a_host_image("vmm@1"), a_host_image("vmm@9"), a_host_image("vmm@beta"))
    with pytest.raises(Refusal, match=r"image vmm@1 exists already") as refusal:
        change(fleet, "image", "create", name="vmm", version="1", vms=1, vm_memory=256)
    assert refusal.value.remedy == "choose another version; the next number is 10"
    fleet, _ = change(fleet, "image", "create", name="vmm", vms=1, vm_memory=256)
    assert ImageRef("vmm", "10") in fleet.images


def imported(fleet: Fleet, **arguments: Any) -> tuple[Fleet, Any]:
    return change(fleet, "image", "import", **({"file": "/tmp/w2k.tgz", "name": "w2k"} | arguments))


def test_an_import_is_recorded_as_a_job_with_all_it_needs() -> None:
    """S38, S39, S40."""
    fleet, outcome = imported(
        a_fleet(a_job(7)),
        version="raw",
        type="windows",
        minimum_memory_mib=512,
        startup_seconds=120,
        collector=("http:80/health",),
        attribute=("ssd",),
    )
    assert outcome.job == 8
    job = fleet.jobs[8]
    assert (job.kind, job.subject, job.state, job.by) == (
        "image-import",
        "w2k@raw",
        JobState.QUEUED,
        "alice",
    )
    assert job.arguments == {
        "location": "/tmp/w2k.tgz",
        "name": "w2k",
        "version": "raw",
        "type": "windows",
        "minimum_memory_mib": 512,
        "requirements": {
            "memory_mib": 512,
            "cpus": 0,
            "disk_gib": 0,
            "architecture": "",
            "nics": 0,
            "attributes": ["ssd"],
            "networks": [],
        },
        "startup_s": 120,
        "collectors": [{"collector": "http", "port": 80, "path": "/health", "timeout_s": 3.0}],
        "hints": {"firmware": "", "bus": "", "nic_model": "", "memory_mib": 0, "cpus": 0},
        "sha256": "",
        "vmware_only": False,
    }
    assert ImageRef("w2k", "raw") not in fleet.images


def test_versions_of_running_imports_are_taken() -> None:
    fleet, _ = imported(a_fleet(an_image("w2k@1")))
    with pytest.raises(Refusal, match="job 1 is at work on image w2k@2: image-import"):
        imported(fleet, version="2")
    fleet, _ = imported(fleet)
    assert [job.subject for job in fleet.jobs.values()] == ["w2k@2", "w2k@3"]
    with pytest.raises(Refusal, match="image w2k@1 exists already"):
        imported(fleet, version="1")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"file": "w2k.tgz"}, "is not an absolute path"),
        ({"file": "/tmp/\0"}, "holds a control character"),
        ({"name": "../w2k"}, r"cannot name an? image"),
        ({"version": "."}, r"cannot name an? image version"),
        ({"type": "vmm-host"}, "cannot be imported"),
        ({"minimum_memory_mib": -1}, "memory in MiB cannot be -1"),
        ({"startup_seconds": 0}, "startup time in seconds cannot be 0"),
        ({"collector": ("x y",)}, "is not a collector"),
    ],
)
def test_an_import_that_makes_no_sense_begins_nothing(given: dict[str, Any], message: str) -> None:
    with pytest.raises(WrongUsage, match=message):
        imported(a_fleet(), **given)


def test_waiting_for_an_import_tells_its_progress_and_its_failure() -> None:
    arguments = {"file": "/tmp/w2k.tgz", "name": "web"}
    running = a_job(2, state=JobState.RUNNING, step="converting disk 1 of 1", done_bytes=50, total_bytes=200)
    older = a_job(1, state=JobState.FAILED, error="it was bad")
    assert still(a_fleet(older, running), "image", "import", **arguments) == [
        "job 2: converting disk 1 of 1, 25 %"
    ]
    assert still(a_fleet(a_job(2, state=JobState.DONE)), "image", "import", version="1", **arguments) == []
    with pytest.raises(Refusal, match="job 1 failed: it was bad"):
        still(a_fleet(older), "image", "import", version="1", **arguments)


def test_settings_change_in_place_and_content_does_not() -> None:
    """S13, S64."""
    before = an_image()
    fleet, _ = change(
        a_fleet(before),
        "image",
        "edit",
        name="web@1",
        minimum_memory_mib=512,
        cpus=2,
        startup_seconds=60,
        collector=("ping",),
        attribute=("ssd",),
    )
    after = fleet.images[WEB]
    assert after.requirements == Requirements(memory_mib=512, cpus=2, attributes=frozenset({"ssd"}))
    assert (after.startup_s, after.collectors) == (60, (CollectorSpec("ping"),))
    assert (after.machine, after.digest, after.created) == (before.machine, before.digest, before.created)
    again, outcome = change(fleet, "image", "edit", name="web", cpus=2)
    assert again is fleet
    assert outcome.message == "image web@1 is so already"


def test_a_change_needs_the_version_once_there_are_several() -> None:
    fleet = a_fleet(an_image("web@1"), an_image("web@2"))
    with pytest.raises(Refusal, match="image web has several versions: 1, 2"):
        change(fleet, "image", "edit", name="web", cpus=2)
    assert ask(fleet, "image", "show", name="web")["version"] == "2"
    with pytest.raises(NoSuchThing, match="there is no image w2k"):
        change(fleet, "image", "edit", name="w2k", cpus=2)


def test_deactivating_keeps_tiers_where_they_are_and_says_so() -> None:
    fleet, outcome = change(a_fleet(an_image(), a_tier()), "image", "deactivate", name="web@1")
    assert not fleet.images[WEB].active
    assert outcome.warnings == ("tier web stays on image web@1",)
    _, outcome = change(fleet, "image", "deactivate", name="web@1")
    assert outcome.message == "image web@1 is inactive already"
    fleet, _ = change(fleet, "image", "activate", name="web@1")
    assert fleet.images[WEB].active


def test_an_unused_inactive_image_is_deleted_and_its_files_by_a_job() -> None:
    fleet, outcome = change(a_fleet(an_image(active=False)), "image", "delete", name="web@1")
    assert WEB not in fleet.images
    job = fleet.jobs[1]
    assert (job.kind, job.subject, outcome.job) == ("image-delete", "web@1", 1)
    assert job.arguments == {"name": "web", "version": "1"}
    with pytest.raises(Refusal, match="job 1 is at work on image web@1: image-delete"):
        imported(fleet, name="web", version="1")
    fleet, outcome = change(a_fleet(a_host_image(active=False)), "image", "delete", name="vmm@1")
    assert not fleet.jobs
    assert outcome.message == "image vmm@1 deleted"


def test_what_is_in_use_is_not_deleted() -> None:
    """R-DELETE-1."""
    inactive = an_image(active=False)
    slot = a_slot(instance=an_instance())
    for fleet, message in (
        (a_fleet(inactive, a_tier(), a_tier("api")), "it is assigned to tier api, web"),
        (a_fleet(inactive, a_job(3, kind="image-verify")), "job 3 is at work on it"),
        (a_fleet(inactive, slot), "the data of web/1 still stands on it"),
        (a_fleet(inactive, a_virtual_node(instance=an_instance())), "the data of host-1/VM1 still stands"),
        (a_fleet(an_image()), "it is active"),
    ):
        with pytest.raises(Refusal, match=f"cannot delete image web@1: {message}"):
            change(fleet, "image", "delete", name="web@1")


def test_a_verification_is_a_job_and_is_begun_once() -> None:
    fleet, outcome = change(a_fleet(an_image()), "image", "verify", name="web@1")
    assert (outcome.job, fleet.jobs[1].kind) == (1, "image-verify")
    again, outcome = change(fleet, "image", "verify", name="web@1")
    assert again is fleet
    assert outcome.job == 1
    assert still(fleet, "image", "verify", name="web@1") == ["job 1: queued"]
    with pytest.raises(Refusal, match="a host image has no files"):
        change(a_fleet(a_host_image()), "image", "verify", name="vmm@1")


def test_an_image_s_row_has_every_key_of_the_contract() -> None:
    row = ask(a_fleet(an_image(), a_tier()), "image", "show", name="web@1")
    assert set(CONTRACT) <= set(row)
    assert (row["name"], row["version"], row["type"], row["state"]) == ("web", "1", "linux", "active")
    assert (row["minimum_memory_mib"], row["tiers"]) == (256, ["web"])
    assert row["created"] == NOW.isoformat().replace("+00:00", "Z")
    assert row["disks"][0]["file"] == "disk-0.qcow2"
    host = ask(a_fleet(a_host_image()), "image", "show", name="vmm")
    assert [offer["vm_slot"] for offer in host["offers"]] == ["VM1", "VM2", "VM3"]
    assert host["digest"] is None


def test_an_image_shows_what_its_guests_took() -> None:
    fleet = a_fleet(
        an_image(), a_timing(Activity.GUEST_BOOT, "web@1", 4.0, 5.0), a_timing(Activity.PREPARE, "db@1", 9.0)
    )
    row = ask(fleet, "image", "show", name="web@1")
    assert (row["boot_s"], row["prepare_s"]) == (4.5, None)


def test_filters_narrow_the_list() -> None:
    fleet = a_fleet(an_image("web@10"), an_image("web@9", active=False), a_host_image(), a_tier())

    def listed(**filters: Any) -> list[str]:
        return [row["image"] for row in ask(fleet, "image", "list", **filters)]

    assert listed() == ["vmm@1", "web@9", "web@10"]
    assert listed(image="web") == ["web@9", "web@10"]
    assert listed(type="vmm-host") == ["vmm@1"]
    assert listed(active=False) == ["web@9"]

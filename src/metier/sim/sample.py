"""A site to try things on, as an operator would have set it up: three racks and three guest tiers."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from metier.domain.fleet import Draft, Fleet
from metier.domain.ids import NodeId, image_ref
from metier.domain.image import CollectorSpec, Image, ImageType
from metier.domain.observation import Observed, Power
from metier.domain.timing import OF_IMAGES, Activity, Timing, TimingId
from metier.matrix.api import Answers, ImportOrder
from metier.operations import load_operations
from metier.operations.registry import Caller, operation
from metier.sim.matrix import imported

DRIVER = "simulated"
"""What the sample's nodes name as their drivers: no real controller knows any that is called so."""

HOSTS = 6

VMS = 3
"""How many virtual nodes each host offers."""

_RACKS = "abc"

_MEASURED_S = {
    Activity.INVENTORY: 1.0,
    Activity.POWER_ON: 30.0,
    Activity.POWER_OFF: 2.0,
    Activity.STAGE: 1.0,
    Activity.REMOVE_VMS: 1.0,
    Activity.PREPARE: 2.0,
    Activity.GUEST_BOOT: 8.0,
    Activity.GUEST_SHUTDOWN: 2.0,
    Activity.GUEST_STOP: 1.0,
    Activity.RETIRE: 0.5,
    Activity.DIAGNOSE: 2.0,
}
"""Seconds that things take there, as if they had been measured; short, for a trial is."""


def sample_site(now: datetime, hosts: int = HOSTS) -> Fleet:
    """Return a site that was just set up; a controller has it working within a minute.

    Args:
        now: When it was set up; all its hosts are on.
        hosts: How many there are, 2 to 1000; the guest tiers take some half of what they offer.
    """
    load_operations()
    draft = Fleet.of({}, 0).edit()
    order = _Orders(draft, Caller("sample", now))
    for number in range(1, hosts + 1):
        order("node", "add", name=f"host-{number}", **_host(number))
        draft.put_observed(NodeId(f"host-{number}"), Observed(power=Power.ON, power_at=now))
    order("image", "create", name="vmm", vms=VMS, vm_memory=2048, vm_disk=20)
    draft.put_image(_guest_image("web@1", now, startup_s=60, collectors=(CollectorSpec("http", port=80),)))
    draft.put_image(_guest_image("linux@1", now, startup_s=60))
    for name, settings in _tiers(hosts).items():
        order("tier", "create", name=name, **settings)
        order("tier", "activate", name=name)
    for activity, seconds in _MEASURED_S.items():
        for subject in draft.images if activity in OF_IMAGES else draft.nodes:
            draft.put_timing(Timing(TimingId(activity, str(subject)), (seconds,)))
    return draft.freeze()


class _Orders:
    """Gives orders on a draft, as an operator gives them to a controller."""

    def __init__(self, draft: Draft, caller: Caller) -> None:
        self._draft, self._caller = draft, caller

    def __call__(self, noun: str, verb: str, /, **arguments: Any) -> None:
        what = operation(noun, verb)
        assert what.change is not None
        what.change(self._draft, what.arguments_type(**arguments), self._caller)


def _host(number: int) -> dict[str, Any]:
    rack = _RACKS[(number - 1) % len(_RACKS)]
    address = f"10.0.{number // 250}.{number % 250 + 1}"
    return {"vmm": DRIVER, "power": DRIVER, "address": address, "attribute": (f"rack={rack}",)}


def _tiers(hosts: int) -> dict[str, dict[str, Any]]:
    """Return the tiers' settings: what two racks of the three can carry."""
    third = hosts // 3
    web, db = max(2, 2 * third), max(2, third)
    guests = {"depends_on": ("hosts",)}
    return {
        "hosts": {
            "image": "vmm",
            "minimum": max(1, hosts - third),
            "target": hosts,
            "priority": 90,
        },
        "db": {
            "image": "linux@1",
            "minimum": max(1, db - third // 2),
            "target": db,
            "maximum": db + 1,
            "priority": 80,
            "keep_instances": True,
            "collector": ("tcp:5432",),
            **guests,
        },
        "web": {
            "image": "web@1",
            "minimum": max(1, web - third // 2),
            "target": web,
            "maximum": 2 * web,
            "priority": 50,
            **guests,
        },
        "batch": {
            "image": "linux@1",
            "minimum": 0,
            "target": max(1, 2 * third),
            "maximum": max(2, 4 * third),
            "priority": 10,
            "harvesting": True,
            "collector": ("ping",),
            **guests,
        },
    }


def _guest_image(name: str, now: datetime, **settings: Any) -> Image:
    """Return an image as if an archive had been imported."""
    ref = image_ref(name)
    order = ImportOrder(ref, f"/{ref.name}.tgz", now, Answers(type=ImageType.LINUX, **settings))
    return replace(imported(order), size_bytes=1 << 30)

"""One example row for each noun: what the API's description shows, and derives its schemas from."""

from collections.abc import Mapping
from typing import Any

from metier.operations.registry import Row

ROWS: Mapping[str, Row] = {
    "node": {
        "name": "host-1/VM3",
        "kind": "virtual",
        "placement": "tier",
        "tier": "web",
        "slot": 2,
        "vm_slot": "VM3",
        "engaged": True,
        "power": "on",
        "lifecycle": "running",
        "health": "normal",
        "status": "normal",
        "power_ip": "10.0.0.11",
        "host": "host-1",
        "vm_number": 3,
        "memory_mib": 512,
        "cpus": 1,
        "disk_gib": 8,
        "architecture": "x86_64",
        "attributes": ["ssd"],
        "address": "10.0.1.12",
        "hostname": "web-2",
        "image": "w2k@raw",
        "active_guests": None,
        "reason": None,
    },
    "tier": {
        "name": "web",
        "state": "active",
        "kind": "guest",
        "priority": 50,
        "minimum": 2,
        "target": 3,
        "maximum": 5,
        "allocated": 3,
        "normal": 2,
        "image": "w2k@raw",
        "depends_on": ["hosts"],
        "requirements": {"memory_mib": 512},
        "reboot_on_failure": True,
        "move_to_maintenance": True,
        "harvesting": True,
        "waiting_for": ["web/3 waits for host-2/VM1 to boot"],
    },
    "procedure": {
        "id": 3,
        "image": "w2k@3",
        "makes": "w2k@4",
        "stage": "waiting for you",
        "told": "change the guest on host-1/VM3, then shut it down from inside",
        "problem": None,
        "remedy": None,
        "tier": "update-w2k",
        "host_tier": None,
        "disengaged": ["host-1/VM3"],
        "roll_out": ["web"],
        "remarks": [],
        "job": None,
        "by": "ann",
        "aborted_by": None,
        "created": "2026-03-01T12:00:00Z",
        "since": "2026-03-01T12:01:10Z",
        "ended": None,
        "node": "host-1/VM3",
        "console": "metier node console host-1/VM3",
        "address": "10.0.1.12",
        "host": "host-1",
        "host_ip": "10.0.0.11",
        "vm_number": 3,
    },
    "image": {
        "name": "w2k",
        "version": "raw",
        "type": "windows",
        "form": "vmdk",
        "state": "active",
        "size_bytes": 1073741824,
        "digest": "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "minimum_memory_mib": 512,
        "attributes": [],
        "tiers": ["web"],
        "created": "2026-05-04T10:15:00Z",
        "source": "VMware archive filename.tgz",
    },
    "alert": {
        "id": 12,
        "code": "tier-short",
        "severity": "warning",
        "subject": "web",
        "message": "tier web has 2 of 3 nodes and no free node fits: 4 lack 256 MiB memory",
        "remedy": "add nodes, raise the host tier, or loosen the requirements",
        "since": "2026-05-04T10:15:00Z",
        "acknowledged": "",
    },
    "job": {
        "id": 7,
        "kind": "image-import",
        "subject": "w2k@raw",
        "state": "running",
        "step": "converting disk 1 of 2",
        "done_bytes": 268435456,
        "total_bytes": 1073741824,
        "error": "",
        "remedy": "",
    },
    "event": {
        "id": 4711,
        "at": "2026-05-04T10:15:00Z",
        "kind": "action",
        "subject": "host-1/VM3",
        "message": "allocate host-1/VM3 to web/2: tier web is below its minimum",
        "by": "R-ALLOC-1",
    },
}

PLAN: Row = {
    "actions": [
        {
            "action": "release-node",
            "subject": "host-2/VM1",
            "why": "its host host-2 is being shut down",
            "rule": "R-FORCE-1",
            "after_s": 0.0,
        }
    ],
    "waiting": [
        {"subject": "hosts", "why": "node host-1 still hosts active guests VM1", "rule": "R-SHRINK-2"}
    ],
    "seconds": 36.5,
    "dips": [{"tier": "web", "below": "minimum", "wanted": 2, "lowest": 1, "from_s": 0.0, "seconds": 36.5}],
    "displaced": [
        {"node": "host-2/VM1", "tier": "web", "slot": 2, "to": "host-1/VM3", "from_s": 0.0, "gap_s": 36.5}
    ],
    "measured": [{"activity": "guest-boot", "subject": "w2k@raw", "seconds": 31.0, "samples": 12}],
    "assumed": [{"activity": "guest-shutdown", "subject": "w2k@raw", "seconds": 15.0, "samples": 0}],
    "notes": ["job 7, image-import of w2k@raw, is not foreseen: how long it takes is not known"],
    "personalities": [
        {"tier": "web", "slot": 2, "difference": "--- /etc/motd\n+++ /etc/motd\n@@ -1 +1 @@\n-old\n+new"}
    ],
}

CHANGE: Row = {"message": "tier web activated", "warnings": [], "job": None, "object": ROWS["tier"]}
PREVIEW: Row = {"message": "tier web activated", "warnings": [], **PLAN}
SETTLED: Row = {"waiting_for": ["web/3 waits for host-2/VM1 to boot"]}

_TYPES: Mapping[type[Any], str] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}


def schema_of(example: Any) -> dict[str, Any]:
    """Return the JSON schema that an example stands for; in an object, what is unknown is null."""
    if example is None:
        return {}
    if isinstance(example, dict):
        properties = {key: _nullable(schema_of(value)) for key, value in example.items()}
        return {"type": "object", "properties": properties}
    if isinstance(example, list):
        return {"type": "array", "items": schema_of(example[0]) if example else {}}
    return {"type": _TYPES[type(example)]}


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    return {**schema, "type": [schema["type"], "null"]} if "type" in schema else schema

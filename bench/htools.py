"""Ganeti's own allocators, run on a cluster that exists only as text (htools(1), `-t`).

`hspace` fills a cluster with guests of one size in one process; `hail` places one guest
per process, which is how Ganeti itself asks.  Both choose the node that leaves the best
score of the whole cluster.  Guests are of the disk template `plain`, without a second
copy, and neither keeps room for the guests of a node that may fail: Metier does not
either.
"""

import json
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from metier.domain.hardware import Hardware

HAIL = Path("/usr/lib/ganeti/iallocators/hail")
"""Ganeti calls it by this path; it is not in PATH."""

TIMEOUT_S = 600

_GROUP = "group"
_WIDEST = "64,1,64,1,1,1;1048576,1024,1073741824,1,8,12"
_POLICY = f"1024,1,1024,1,1,1|{_WIDEST}|plain|1.0|1000.0"
"""The usual, smallest and largest guest (memory, CPUs, disk, disks, NICs, spindles); no CPU is shared."""


class Placed(NamedTuple):
    """One guest: the host it is on (from 0), and its size."""

    host: int
    memory_mib: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run did.

    Attributes:
        placed: Every guest that found room.
        seconds: Elapsed, the processes' start and their reading and writing included.
        considered: Guests placed in these seconds: more than are kept if it tried something twice.
    """

    placed: tuple[Placed, ...]
    seconds: float
    considered: int


def missing() -> str:
    """Say what is not installed and how to get it; empty if everything is there."""
    if shutil.which("hspace") and HAIL.exists():
        return ""
    return "hspace and hail are not installed: install Debian's ganeti-htools, or run `tools/setup bench`"


def hspace(hosts: Sequence[Hardware], sizes: Sequence[tuple[Hardware, int]], folder: Path) -> Outcome:
    """Place so many guests of each size, one size after the other, as far as there is room.

    hspace always fills the cluster twice from the same start, once making guests smaller
    when they no longer fit (`tiered`) and once not (`standard`).  What is kept is the
    second, of which each size goes on from where the one before it ended.
    """
    state = folder / "cluster"
    state.write_text(_cluster(hosts))
    seconds, considered = 0.0, 0
    for number, (size, count) in enumerate(sizes):
        kept = folder / f"after-{number}"
        began = time.perf_counter()
        said = _figures(_run(_hspace(state, size, count, kept)))
        seconds += time.perf_counter() - began
        before = int(said["HTS_INI_INST_CNT"])
        considered += int(said["HTS_TRL_INST_CNT"]) + int(said["HTS_FIN_INST_CNT"]) - 2 * before
        state = kept.with_suffix(".standard")
    return Outcome(_placed(state), seconds, considered)


def hail(hosts: Sequence[Hardware], size: Hardware, count: int, folder: Path) -> Outcome:
    """Place `count` guests of one size, one process each, as far as there is room."""
    state, request = folder / "cluster", folder / "request.json"
    state.write_text(_cluster(hosts))
    began = time.perf_counter()
    for number in range(count):
        request.write_text(json.dumps(_request(f"guest-{number}", size)))
        kept = folder / f"after-{number}"
        command = [str(HAIL), "-t", str(state), "--no-capacity-checks", "-S", str(kept), str(request)]
        answer = json.loads(_run(command).splitlines()[-1])
        if not answer["success"]:
            break
        state = kept.with_suffix(".post-ialloc")
    placed = _placed(state)
    return Outcome(placed, time.perf_counter() - began, len(placed))


# --- what they read -------------------------------------------------------------------


def _cluster(hosts: Sequence[Hardware]) -> str:
    """Return an empty cluster as text: groups, nodes, instances, tags and policies, in five sections."""
    groups = [f"default|{_GROUP}|preferred||"]
    nodes = [_node(number, host) for number, host in enumerate(hosts)]
    none: list[str] = []
    sections = (groups, nodes, none, none, [f"|{_POLICY}", f"default|{_POLICY}"])
    return "\n\n".join("\n".join(section) for section in sections) + "\n"


def _node(number: int, host: Hardware) -> str:
    # A node must keep something free, if only one MiB of memory and of disk.
    memory, disk = host.memory_mib + 1, host.disk_gib * 1024 + 1
    role = "N" if number else "M"
    return f"host-{number}|{memory}|0|{memory}|{disk}|{disk}|{host.cpus}|{role}|{_GROUP}|1||N|1|0|1.0"


def _hspace(state: Path, size: Hardware, count: int, kept: Path) -> list[str]:
    spec = f"{size.disk_gib * 1024},{size.memory_mib},{size.cpus}"
    command = ["hspace", "-t", str(state), "--disk-template", "plain", "--no-capacity-checks"]
    command += ["--standard-alloc", spec, "--tiered-alloc", spec, "-l", str(count)]
    return [*command, "-S", str(kept), "--machine-readable"]


def _request(name: str, size: Hardware) -> dict[str, object]:
    """Return an allocation request; the cluster in it is empty, because `-t` replaces it."""
    disk = size.disk_gib * 1024
    allocate = {
        "type": "allocate",
        "name": name,
        "memory": size.memory_mib,
        "vcpus": size.cpus,
        "disk_template": "plain",
        "disks": [{"size": disk, "mode": "w"}],
        "disk_space_total": disk,
        "os": "none",
        "tags": [],
        "nics": [],
        "required_nodes": 1,
        "hypervisor": "kvm",
        "spindle_use": 1,
    }
    empty: dict[str, object] = {"nodegroups": {}, "nodes": {}, "instances": {}, "ipolicy": {}}
    return empty | {"enabled_hypervisors": ["kvm"], "cluster_tags": [], "request": allocate}


# --- what they say --------------------------------------------------------------------


def _run(command: list[str]) -> str:
    """Run one of them; raises CalledProcessError or TimeoutExpired, which is a fault of this bench."""
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=TIMEOUT_S).stdout


def _figures(output: str) -> dict[str, str]:
    figures = dict(line.split("=", 1) for line in output.splitlines() if "=" in line)
    if figures.get("HTS_OK") != "1":
        raise AssertionError(f"hspace did not finish:\n{output}")
    return figures


def _placed(state: Path) -> tuple[Placed, ...]:
    """Read all guests from a saved cluster, whose third section lists them."""
    rows = [line.split("|") for line in state.read_text().split("\n\n")[2].splitlines()]
    return tuple(Placed(int(row[6].removeprefix("host-")), int(row[1])) for row in rows)

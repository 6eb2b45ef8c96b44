"""The manifest next to a version's disks, and the digest over all that a version is."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from metier.domain.image import Image, Machine
from metier.matrix.folders import MANIFEST

_FORMAT = 1


def machine_digest(machine: Machine) -> str:
    """Return the digest over the machine and the content of its disks, as `sha256:…`.

    Where a disk is stored and how much room it takes does not count, nor do remarks.
    """
    described = asdict(machine)
    del described["remarks"]
    for disk in described["disks"]:
        del disk["file"], disk["stored_bytes"]
    return f"sha256:{hashlib.sha256(_canonical(described)).hexdigest()}"


def write_manifest(folder: Path, image: Image) -> None:
    """Describe a version, so that its folder can be understood without a controller."""
    assert image.machine is not None
    content = {
        "format": _FORMAT,
        "image": image.ref.name,
        "version": image.ref.version,
        "type": image.type.value,
        "form": image.form,
        "created": image.created.isoformat(),
        "source": image.source,
        "digest": image.digest,
        "machine": asdict(image.machine),
    }
    (folder / MANIFEST).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def manifest_faults(folder: Path, image: Image) -> Sequence[str]:
    """Return what a version's manifest says that is not so."""
    try:
        content: Any = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        told = (content["image"], content["version"], content["digest"])
    except FileNotFoundError:
        return [f"{MANIFEST} is missing"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        return [f"{MANIFEST} cannot be read: {error}"]
    recorded = (image.ref.name, image.ref.version, image.digest)
    return [] if told == recorded else [f"{MANIFEST} describes another image than is recorded"]


def _canonical(content: object) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()

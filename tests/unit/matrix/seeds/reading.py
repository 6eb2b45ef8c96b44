"""Reads seeds as their guests do, and makes what they are made of."""

import io
from typing import Any

import pycdlib

from metier.domain.personality import NO_PERSONALITY, Carried, Personality, SeedForm
from metier.matrix.seeds.making import make_seed

MAC = "52:54:00:AA:00:01"


def carried(
    personality: Personality = NO_PERSONALITY, form: SeedForm = SeedForm.NOCLOUD, **fields: Any
) -> Carried:
    values: dict[str, Any] = {
        "hostname": "web-1",
        "address": "10.0.0.5/24",
        "gateway": "10.0.0.1",
        "tier": "web",
        "slot": 1,
        "image": "web",
        "version": "3",
        "instance": "web-1-7",
        "node": "host-1/VM2",
        "host": "host-1",
        "vm_number": 2,
        "mac": MAC,
        "attributes": ("rack=a", "ssd"),
    }
    return Carried(personality=personality, form=form, **(values | fields))


def seed(
    personality: Personality = NO_PERSONALITY, form: SeedForm = SeedForm.NOCLOUD, **fields: Any
) -> bytes:
    return make_seed(carried(personality, form, **fields)).content


def read(iso_image: bytes, path: str, kind: str = "rr_path") -> bytes:
    """Return a file by one of its names: `joliet_path` or `rr_path`."""
    iso, content = pycdlib.PyCdlib(), io.BytesIO()
    iso.open_fp(io.BytesIO(iso_image))
    try:
        iso.get_file_from_iso_fp(content, **{kind: path})
    finally:
        iso.close()
    return content.getvalue()


def names(iso_image: bytes, kind: str = "rr_path") -> set[str]:
    """Return the paths of all files."""
    iso = pycdlib.PyCdlib()
    iso.open_fp(io.BytesIO(iso_image))
    try:
        walked = list(iso.walk(**{kind: "/"}))
    finally:
        iso.close()
    return {f"{folder.rstrip('/')}/{name}" for folder, _, files in walked for name in files}


def label(iso_image: bytes) -> str:
    return iso_image[16 * 2048 + 40 : 16 * 2048 + 72].decode().rstrip()

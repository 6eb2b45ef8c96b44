"""The manifest of an OVF package: digests of its files."""

import re
from typing import NamedTuple

from metier.domain.errors import Refusal
from metier.drivers.formats.api import readable

_LINE = re.compile(
    r"(?P<algorithm>[A-Za-z0-9-]{3,10})[ \t]?\((?P<file>[^\t]{1,1024})\)"
    r"[ \t]{0,8}=[ \t]{0,8}(?P<digest>[0-9A-Fa-f]{8,128})"
)
_HEX_DIGITS = {"sha1": 40, "sha256": 64, "sha512": 128}


class Digest(NamedTuple):
    """What a file's digest must be, in hex; `algorithm` is `sha1`, `sha256` or `sha512`."""

    file: str
    algorithm: str
    wanted: str


def parse_manifest(data: bytes, file: str) -> list[Digest]:
    """Read the lines `SHA256(disk.vmdk)= 0f…` of a manifest.

    Raises:
        Refusal: A line is of another form, or its digest of an unknown kind.
    """
    found = []
    for number, line in enumerate(map(str.strip, readable(data).splitlines()), 1):
        if not line:
            continue
        match = _LINE.fullmatch(line) if len(line) < 2048 else None
        algorithm = match["algorithm"].lower().replace("-", "") if match else ""
        if match is None or len(match["digest"]) != _HEX_DIGITS.get(algorithm, -1):
            raise Refusal(f"cannot read {file}: line {number} gives no SHA digest of a file: {line[:60]!r}")
        found.append(Digest(match["file"].strip(), algorithm, match["digest"].lower()))
    return found

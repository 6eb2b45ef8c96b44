"""The NoCloud seed: a small CD-ROM that tells a guest's cloud-init its name and address."""

import io
import ipaddress
import json
from collections.abc import Iterator, Sequence

import pycdlib

from metier.domain.errors import WrongUsage

VOLUME_LABEL = "cidata"

_SECTOR_BYTES = 2048
_DESCRIPTORS_AT = 16
_PRIMARY, _JOLIET, _END = 1, 2, 255

# Where a volume descriptor holds its four dates, of 17 bytes each, and its root folder's record.
_VOLUME_DATES, _ROOT_RECORD = 813, 156
_THE_DATE = b"2000010100000000\0"
# The same day as folders write it: years since 1900, month, day, hour, minute, second, zone.
_THE_DAY = bytes((100, 1, 1, 0, 0, 0, 0))


def nocloud_seed(
    hostname: str,
    instance_id: str,
    address: str | None,
    gateway: str | None,
    user_data: str = "",
    *,
    mac: str = "",
    name_servers: Sequence[str] = (),
) -> bytes:
    """Return an ISO 9660 image, labelled `cidata`, with meta-data, network-config and user-data.

    The same arguments always give the same bytes.

    Args:
        hostname: The guest's name.
        instance_id: A guest that has seen this id before does not set itself up again.
        address: With its prefix, as in `10.0.0.5/24`; None leaves it to DHCP.
        gateway: None for none; only with an address.
        user_data: For cloud-init; empty for none.
        mac: Hardware address of the interface meant; empty for every one whose name begins with `e`.
        name_servers: Addresses.

    Raises:
        WrongUsage: An address is none.
    """
    files = {
        "meta-data": f"instance-id: {json.dumps(instance_id)}\nlocal-hostname: {json.dumps(hostname)}\n",
        "network-config": _network_config(address, gateway, mac, name_servers),
        "user-data": user_data or "#cloud-config\n{}\n",
    }
    return _undated(_iso({name: text.encode() for name, text in files.items()}))


def _network_config(address: str | None, gateway: str | None, mac: str, name_servers: Sequence[str]) -> str:
    match = f"macaddress: {json.dumps(mac.lower())}" if mac else 'name: "e*"'
    lines = ["version: 2", "ethernets:", "  primary:", "    match:", f"      {match}"]
    if address is None:
        return "\n".join([*lines, "    dhcp4: true", ""])
    lines += ["    dhcp4: false", "    addresses:", f"      - {json.dumps(_interface(address))}"]
    if gateway is not None:
        via = _address(gateway)
        everywhere = "0.0.0.0/0" if via.version == 4 else "::/0"
        lines += ["    routes:", f'      - to: "{everywhere}"', f'        via: "{via}"']
    if name_servers:
        lines += ["    nameservers:", "      addresses:"]
        lines += [f'        - "{_address(server)}"' for server in name_servers]
    return "\n".join([*lines, ""])


def _interface(text: str) -> str:
    try:
        if "/" in text:
            return str(ipaddress.ip_interface(text))
    except ValueError:
        pass
    raise WrongUsage(f"{text!r} is no address with a prefix", remedy="write it as in 10.0.0.5/24")


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(text)
    except ValueError as error:
        raise WrongUsage(f"{text!r} is no address", remedy="write it as in 10.0.0.1") from error


def _iso(files: dict[str, bytes]) -> bytes:
    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3, joliet=3, rock_ridge="1.09", vol_ident=VOLUME_LABEL)
    for number, (name, content) in enumerate(files.items()):
        iso.add_fp(
            io.BytesIO(content),
            len(content),
            f"/FILE{number}.;1",
            rr_name=name,
            joliet_path=f"/{name}",
            file_mode=0o100444,
        )
    written = io.BytesIO()
    iso.write_fp(written)
    iso.close()
    return written.getvalue()


def _undated(iso: bytes) -> bytes:
    """Set every date on the medium to the same day, so that equal seeds are equal bytes."""
    image = bytearray(iso)
    for descriptor in _volume_descriptors(image):
        for at in range(descriptor + _VOLUME_DATES, descriptor + _VOLUME_DATES + 4 * 17, 17):
            image[at : at + 17] = _THE_DATE
        root = descriptor + _ROOT_RECORD
        _set_record_date(image, root)
        extent = int.from_bytes(image[root + 2 : root + 6], "little") * _SECTOR_BYTES
        length = int.from_bytes(image[root + 10 : root + 14], "little")
        for record in _records(image, extent, length):
            _set_record_date(image, record)
    return bytes(image)


def _volume_descriptors(image: bytearray) -> Iterator[int]:
    at = _DESCRIPTORS_AT * _SECTOR_BYTES
    while image[at] != _END:
        if image[at] in (_PRIMARY, _JOLIET):
            yield at
        at += _SECTOR_BYTES


def _records(image: bytearray, at: int, length: int) -> Iterator[int]:
    """Yield where the records of a folder begin; all of ours fit into one sector."""
    end = at + length
    while at < end and image[at]:
        yield at
        at += image[at]


def _set_record_date(image: bytearray, record: int) -> None:
    """Set the date in a folder's record, and those in the Rock Ridge entry that repeats it."""
    image[record + 18 : record + 25] = _THE_DAY
    name_length = image[record + 32]
    at = record + 33 + name_length + (1 - name_length % 2)
    end = record + image[record]
    while at + 4 <= end and image[at + 2]:
        if image[at : at + 2] == b"TF":
            # Signature, length, version, flags; then dates of seven bytes each.
            for date in range(at + 5, at + image[at + 2] - 6, 7):
                image[date : date + 7] = _THE_DAY
        at += image[at + 2]

"""NoCloud: what cloud-init reads from a CD-ROM labelled `cidata`."""

import json
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface

from metier.domain.errors import WrongUsage
from metier.domain.personality import Carried
from metier.matrix.seeds.multipart import user_data

LABEL = "cidata"

Texts = Mapping[str, str]


def documents(carried: Carried) -> dict[str, str]:
    """Return what is written for every guest, whatever its templates say."""
    return {"meta-data": _meta_data(carried), "network-config": _network_config(carried)}


def files(carried: Carried, rendered: Texts) -> dict[str, bytes]:
    """Return the seed's files by path."""
    found = {**documents(carried), "user-data": user_data(carried, rendered) or "#cloud-config\n{}\n"}
    return {name: text.encode() for name, text in found.items()}


def _meta_data(carried: Carried) -> str:
    instance, name = json.dumps(carried.instance), json.dumps(carried.hostname)
    return f"instance-id: {instance}\nlocal-hostname: {name}\n"


def _network_config(carried: Carried) -> str:
    match = f"macaddress: {json.dumps(carried.mac.lower())}" if carried.mac else 'name: "e*"'
    lines = ["version: 2", "ethernets:", "  primary:", "    match:", f"      {match}"]
    if carried.address is None:
        return "\n".join([*lines, "    dhcp4: true", ""])
    lines += ["    dhcp4: false", "    addresses:", f"      - {json.dumps(interface(carried.address))}"]
    if carried.gateway is not None:
        via = address(carried.gateway)
        everywhere = "0.0.0.0/0" if via.version == 4 else "::/0"
        lines += ["    routes:", f'      - to: "{everywhere}"', f'        via: "{via}"']
    if carried.personality.name_servers:
        lines += ["    nameservers:", "      addresses:"]
        lines += [f'        - "{address(server)}"' for server in carried.personality.name_servers]
    return "\n".join([*lines, ""])


def interface(text: str) -> str:
    """Return an address with its prefix length; raises WrongUsage."""
    try:
        if "/" in text:
            return str(ip_interface(text))
    except ValueError:
        pass
    raise WrongUsage(f"{text!r} is no address with a prefix", remedy="write it as in 10.0.0.5/24")


def address(text: str) -> IPv4Address | IPv6Address:
    """Return an address without a prefix length; raises WrongUsage."""
    try:
        return ip_address(text)
    except ValueError as error:
        raise WrongUsage(f"{text!r} is no address", remedy="write it as in 10.0.0.1") from error

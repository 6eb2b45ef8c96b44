"""ConfigDrive: OpenStack's CD-ROM labelled `config-2`, which cloud-init and cloudbase-init read."""

import json
from collections.abc import Mapping
from ipaddress import ip_interface
from typing import Any

from metier.domain.errors import Refusal
from metier.domain.personality import Carried
from metier.matrix.seeds.multipart import user_data
from metier.matrix.seeds.nocloud import address, interface

LABEL = "config-2"

Texts = Mapping[str, str]

_LATEST = "openstack/latest"


def documents(carried: Carried) -> dict[str, str]:
    """Return what is written for every guest, whatever its templates say."""
    found = {"meta_data.json": _meta_data(carried)}
    network = _network_data(carried)
    return {**found, "network_data.json": network} if network else found


def files(carried: Carried, rendered: Texts) -> dict[str, bytes]:
    """Return the seed's files by path."""
    return {**described(carried, user_data(carried, rendered)), **contents(carried, rendered)}


def described(carried: Carried, data: str) -> dict[str, bytes]:
    """Return the folder `latest`."""
    found = {f"{_LATEST}/{name}": text.encode() for name, text in documents(carried).items()}
    return {**found, f"{_LATEST}/user_data": data.encode()} if data else found


def contents(carried: Carried, rendered: Texts) -> dict[str, bytes]:
    """Return the files of a personality, in the order in which it has them."""
    return {
        f"openstack/content/{place:04}": rendered.get(file.path, "").encode()
        for place, file in enumerate(carried.personality.files)
    }


def _meta_data(carried: Carried) -> str:
    found: dict[str, Any] = {
        "uuid": carried.instance,
        "hostname": carried.hostname,
        "name": carried.hostname,
        "launch_index": carried.slot,
        "meta": {"tier": carried.tier, "slot": str(carried.slot), "image": carried.image},
    }
    injected = [
        {"path": file.path, "content_path": f"/content/{place:04}"}
        for place, file in enumerate(carried.personality.files)
        if file.path.startswith("/")
    ]
    return _text({**found, "files": injected} if injected else found)


def _network_data(carried: Carried) -> str:
    """Return OpenStack's description of the network; empty for what every guest does without one."""
    if carried.address is None:
        return ""
    if not carried.mac:
        raise Refusal(
            f"cannot tell {carried.hostname} its address by a ConfigDrive: its hardware address is not known",
            remedy="look whether its host lists the VM with its interfaces: `metier node show`",
        )
    servers = [str(address(server)) for server in carried.personality.name_servers]
    link = {"id": "primary", "type": "phy", "ethernet_mac_address": carried.mac.lower(), "mtu": None}
    return _text(
        {
            "links": [link],
            "networks": [_network(carried, carried.address)],
            "services": [{"type": "dns", "address": server} for server in servers],
        }
    )


def _network(carried: Carried, place: str) -> dict[str, Any]:
    at = ip_interface(interface(place))
    routes = []
    if carried.gateway is not None:
        nowhere = "0.0.0.0" if at.version == 4 else "::"
        via = str(address(carried.gateway))
        routes = [{"network": nowhere, "netmask": nowhere, "gateway": via}]
    return {
        "id": "network0",
        "network_id": "network0",
        "type": f"ipv{at.version}",
        "link": "primary",
        "ip_address": str(at.ip),
        "netmask": str(at.netmask),
        "routes": routes,
    }


def _text(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"

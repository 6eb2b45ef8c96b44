"""Host names and addresses of slots: what they may be, and that none is given twice in the site."""

import re
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface

from metier.domain.errors import Refusal, WrongUsage
from metier.domain.fleet import Fleet
from metier.domain.ids import TierId
from metier.domain.personality import Personality
from metier.domain.tier import SlotSettings, Tier, TierKind
from metier.operations.parsing import hostname, whole

Interface = IPv4Interface | IPv6Interface

MAXIMUM_NODES = 100_000
"""The most nodes that a tier can have: what a whole site is designed for."""

_DEFAULT_HOSTNAME = re.compile(r"(?P<tier>.+)-(?P<slot>[1-9][0-9]{0,5})")


def interface(text: str) -> Interface:
    """Parse an address with its prefix length, such as `10.0.0.7/24`.

    Raises:
        WrongUsage: It is none, lacks the prefix length, or names a whole network.
    """
    if "/" not in text:
        raise WrongUsage(f"address {text!r} lacks its prefix length", remedy=f"say for example {text}/24")
    try:
        found = ip_interface(text)
    except ValueError as error:
        raise WrongUsage(f"{text!r} is not an address", remedy="say for example 10.0.0.7/24") from error
    network = found.network
    if found.ip.is_unspecified or found.ip.is_multicast or found.ip.is_loopback:
        raise WrongUsage(f"{text} is not an address that a node can have")
    has_ends = network.version == 4 and network.prefixlen < 31
    if has_ends and found.ip in (network.network_address, network.broadcast_address):
        raise WrongUsage(f"{text} names the network {network} itself or its broadcast, not a node in it")
    return found


def gateway(text: str, of: Interface | None) -> str:
    """Parse a gateway, which must lie in the network of the address it serves.

    Raises:
        WrongUsage: It is no address, or lies elsewhere, or is the node's own.
    """
    try:
        found = ip_address(text)
    except ValueError as error:
        raise WrongUsage(
            f"gateway {text!r} is not an IP address", remedy="say for example 10.0.0.1, without prefix length"
        ) from error
    if of is None:
        raise WrongUsage(
            f"gateway {found} is given without an address", remedy="give the slot's address as well"
        )
    if found not in of.network:
        raise WrongUsage(f"gateway {found} is not in {of.network}, the network of address {of}")
    if found == of.ip:
        raise WrongUsage(f"gateway {found} is the slot's own address")
    return str(found)


def address_range(text: str) -> Iterator[Interface]:
    """Yield the addresses of `FIRST-LAST/PREFIX` in order.

    Raises:
        WrongUsage: It is malformed, runs backwards, leaves its network, or is too long.
    """
    span, slash, prefix = text.partition("/")
    first_text, dash, last_text = span.partition("-")
    if not (slash and dash):
        raise WrongUsage(
            f"{text!r} is not a range of addresses", remedy="say for example 10.0.0.20-10.0.0.29/24"
        )
    first, last = interface(f"{first_text}/{prefix}"), interface(f"{last_text}/{prefix}")
    if first.network != last.network:
        raise WrongUsage(f"the addresses {text} leave their network {first.network}")
    count = int(last.ip) - int(first.ip) + 1
    if not 1 <= count <= MAXIMUM_NODES:
        raise WrongUsage(f"the range {text} has {max(count, 0)} addresses: 1 to {MAXIMUM_NODES} can be given")
    return (ip_interface(f"{first.ip + step}/{prefix}") for step in range(count))


def numbered(text: str, flag: str, maximum: int) -> tuple[int, str]:
    """Parse `SLOT=VALUE`; the slot must exist in a tier of `maximum`.

    Raises:
        WrongUsage: It is malformed or there is no such slot.
    """
    slot, equals, value = text.partition("=")
    if not equals:
        raise WrongUsage(f"{flag} {text!r} is not SLOT=VALUE", remedy=f"say for example {flag} 1=…")
    return whole(slot, f"the slot of {flag} {text}", 1, maximum), value


def slot_settings(
    number: int,
    name: str | None,
    address: str | None,
    router: str | None,
    personality: Personality | None = None,
) -> SlotSettings:
    """Return checked settings of a slot; an empty text stands for the default.

    Raises:
        WrongUsage: A name or an address cannot be one.
    """
    place = interface(address) if address else None
    return SlotSettings(
        number,
        hostname(name) if name else None,
        None if place is None else str(place),
        gateway(router, place) if router else None,
        personality,
    )


def check_unique(fleet: Fleet, tier: Tier) -> None:
    """Check that no host name or address of `tier` is given twice in the site.

    Raises:
        Refusal: One is; the message says by whom.
    """
    others = [other for other in fleet.tiers.values() if other.name != tier.name]
    _check_addresses(fleet, tier, others)
    _check_hostnames(tier, others)


def _check_addresses(fleet: Fleet, tier: Tier, others: Sequence[Tier]) -> None:
    holders = {
        str(address): f"{slot} of tier {other.name}" for other in others for slot, address in _taken(other)
    }
    if tier.kind is not TierKind.HOST:  # A host node's slot may well carry that node's own address.
        holders |= {node.power_ip: f"node {node.name}" for node in fleet.nodes.values() if node.power_ip}
    for slot, address in _taken(tier):
        holder = holders.setdefault(str(address), f"{slot} of tier {tier.name}")
        if holder != f"{slot} of tier {tier.name}":
            raise Refusal(
                f"cannot give address {address} to {slot} of tier {tier.name}: {holder} has it",
                remedy="choose another address",
            )


def _taken(tier: Tier) -> Iterable[tuple[str, str]]:
    for slot in tier.slots:
        if slot.address is not None:
            yield f"slot {slot.number}", slot.address.partition("/")[0]


def _check_hostnames(tier: Tier, others: Sequence[Tier]) -> None:
    """Compare given names with each other, and with the default names that slots have without one."""
    given: dict[str, str] = {}
    for other in (*others, tier):
        for slot in other.slots:
            if slot.hostname is None:
                continue
            holder = given.setdefault(slot.hostname.lower(), f"slot {slot.number} of tier {other.name}")
            if holder != f"slot {slot.number} of tier {other.name}":
                _refuse_hostname(slot.hostname, f"slot {slot.number} of tier {other.name}", holder)
    by_name = {other.name.lower(): other for other in (*others, tier)}
    for name, holder in given.items():
        default = _default_holder(name, by_name)
        if default is not None and default != holder:
            _refuse_hostname(name, holder, f"{default} by default")


def _default_holder(name: str, tiers: dict[str, Tier]) -> str | None:
    """Return the slot whose default host name `name` is, if there is one."""
    match = _DEFAULT_HOSTNAME.fullmatch(name)
    tier = tiers.get(TierId(match["tier"])) if match else None
    if match is None or tier is None:
        return None
    number = int(match["slot"])
    if number > tier.maximum or tier.slot_settings(number).hostname is not None:
        return None
    return f"slot {number} of tier {tier.name}"


def _refuse_hostname(name: str, slot: str, holder: str) -> None:
    raise Refusal(
        f"cannot give host name {name} to {slot}: {holder} has it", remedy="choose another host name"
    )

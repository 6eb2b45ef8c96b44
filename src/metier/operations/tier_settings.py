"""The options that set up a tier, and how they become one."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from metier.domain.errors import NoSuchThing, Refusal, WrongUsage
from metier.domain.fleet import Fleet
from metier.domain.ids import TierId, image_ref, plain_name, tier_id
from metier.domain.image import Image
from metier.domain.tier import SlotSettings, Spread, Tier, TierKind
from metier.operations.addresses import (
    MAXIMUM_NODES,
    address_range,
    check_unique,
    gateway,
    interface,
    numbered,
    slot_settings,
)
from metier.operations.parsing import collectors, in_range
from metier.operations.records import versions_of
from metier.operations.registry import option
from metier.operations.requirements import RequirementOptions, required

_A_DAY_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class TierOptions(RequirementOptions):
    """What an operator can say about a tier; what is not given keeps its value or default."""

    minimum: int | None = option("fewest nodes that the service needs", None, example="1")
    target: int | None = option("how many nodes to keep", None, example="3")
    maximum: int | None = option("most nodes, which is also how many slots there are", None, example="5")
    priority: int | None = option("1 to 100; higher is served first and harvested last", None, example="50")
    depends_on: tuple[str, ...] = option(
        "a tier that must be active first; repeatable; an empty word removes all", (), example="hosts"
    )
    reboot_on_failure: bool | None = option("power cycle a failed node once (on or off)", None)
    move_to_maintenance: bool | None = option(
        "move a failed node to the maintenance pool and replace it (on or off)", None
    )
    harvesting: bool | None = option("a more important tier may take nodes from it (on or off)", None)
    harvest_to_target: bool | None = option(
        "it may take nodes from other tiers even above its minimum (on or off)", None
    )
    spread: str | None = option(
        "spread nodes over hosts, or pack them on few", None, choices=[choice.value for choice in Spread]
    )
    keep_instances: bool | None = option("keep a stopped slot's data for its next start (on or off)", None)
    collector: tuple[str, ...] = option(
        "a health check: ping, tcp:PORT, http:PORT/PATH; repeatable; an empty word takes the image's",
        (),
        example="http:80/health",
    )
    startup_seconds: int | None = option(
        "seconds from on to answering; 0 takes the image's", None, example="120"
    )
    shutdown_seconds: int | None = option(
        "seconds that a guest OS gets before its power is cut", None, example="60"
    )
    failure_threshold: int | None = option(
        "failed checks in a row that make a node failed", None, example="3"
    )
    max_unhealthy_percent: int | None = option(
        "more failures than this at once stop automation from replacing", None, example="40"
    )
    max_unavailable: int | None = option(
        "how many nodes a roll-out of another image version may have down at a time", None, example="1"
    )
    surge: int | None = option(
        "how many free nodes beyond the target, within the maximum, a roll-out may take meanwhile",
        None,
        example="1",
    )
    slot_address: tuple[str, ...] = option(
        "address of a slot, as SLOT=ADDRESS/PREFIX[,GATEWAY]; repeatable; nothing after the = means DHCP",
        (),
        example="1=10.0.0.7/24,10.0.0.1",
    )
    hostname: tuple[str, ...] = option(
        "host name of a slot, as SLOT=NAME; repeatable; nothing after the = means the default",
        (),
        example="1=www1",
    )
    addresses: str | None = option(
        "addresses for all slots in order, as FIRST-LAST/PREFIX", None, example="10.0.0.20-10.0.0.29/24"
    )
    gateway: str | None = option("gateway that goes with --addresses", None, example="10.0.0.1")


def configured(fleet: Fleet, tier: Tier, given: TierOptions) -> Tier:
    """Return `tier` with what was given put in its place, checked as a whole against the site.

    Raises:
        WrongUsage: A value makes no sense, alone or with the others.
        NoSuchThing: It depends on a tier that does not exist.
        Refusal: A host name or address is given twice.
    """
    after = replace(
        tier,
        requirements=required(tier.requirements, given),
        **_plain_settings(given),
        **_counts(given),
    )
    check_counts(after)
    if given.depends_on:
        after = replace(after, depends_on=_dependencies(fleet, tier.name, given.depends_on))
    if given.collector:
        after = replace(after, collectors=collectors(given.collector) or None)
    after = replace(after, slots=_slots(after, given))
    check_unique(fleet, after)
    return after


def check_counts(tier: Tier) -> None:
    """Check that minimum ≤ target ≤ maximum.

    Raises:
        WrongUsage: They are not; the message has the three numbers.
    """
    for what, number in (("minimum", tier.minimum), ("target", tier.target), ("maximum", tier.maximum)):
        in_range(number, f"the {what} of tier {tier.name}", 0, MAXIMUM_NODES)
    if not tier.minimum <= tier.target <= tier.maximum:
        raise WrongUsage(
            f"minimum {tier.minimum}, target {tier.target} and maximum {tier.maximum} of tier {tier.name} "
            "do not fit: each must be at least the one before it",
            remedy="give all three, for example "
            f"--minimum {min(tier.minimum, tier.target)} --target {tier.target} "
            f"--maximum {max(tier.target, tier.maximum)}",
        )
    if tier.maximum == 0:
        raise WrongUsage(f"the maximum of tier {tier.name} cannot be 0: it would have no slots")


def _counts(given: TierOptions) -> dict[str, Any]:
    """Return the three numbers that were given, each without a guess about the others."""
    named = {"minimum": given.minimum, "target": given.target, "maximum": given.maximum}
    return {name: number for name, number in named.items() if number is not None}


def first_counts(given: TierOptions) -> dict[str, Any]:
    """Return the three numbers of a new tier, of which any may be left out."""
    target = given.target if given.target is not None else max(1, given.minimum or 0)
    minimum = given.minimum if given.minimum is not None else min(1, target)
    maximum = given.maximum if given.maximum is not None else max(1, target)
    return {"minimum": minimum, "target": target, "maximum": maximum}


# Option, field of Tier, what messages call it, lowest and highest value.
_NUMBERS = (
    ("priority", "priority", "priority", 1, 100),
    ("shutdown_seconds", "shutdown_s", "shutdown time in seconds", 0, _A_DAY_S),
    ("failure_threshold", "failure_threshold", "failure threshold", 1, 1000),
    ("max_unhealthy_percent", "max_unhealthy_percent", "largest unhealthy share in percent", 0, 100),
    ("max_unavailable", "max_unavailable", "number of nodes that a roll-out may have down", 1, MAXIMUM_NODES),
    ("surge", "surge", "number of nodes that a roll-out may add", 0, MAXIMUM_NODES),
)
_SWITCHES = ("reboot_on_failure", "move_to_maintenance", "harvesting", "harvest_to_target", "keep_instances")


def _plain_settings(given: TierOptions) -> dict[str, Any]:
    found: dict[str, Any] = {name: value for name in _SWITCHES if (value := getattr(given, name)) is not None}
    for name, field, what, low, high in _NUMBERS:
        value = getattr(given, name)
        if value is not None:
            found[field] = in_range(value, what, low, high)
    if given.startup_seconds is not None:
        seconds = in_range(given.startup_seconds, "startup time in seconds", 0, _A_DAY_S)
        found["startup_s"] = seconds or None
    if given.spread is not None:
        found["spread"] = _spread(given.spread)
    return found


def _spread(text: str) -> Spread:
    try:
        return Spread(text)
    except ValueError as error:
        raise WrongUsage(f"spread cannot be {text!r}; it can be: {', '.join(Spread)}") from error


def _dependencies(fleet: Fleet, name: TierId, given: tuple[str, ...]) -> tuple[TierId, ...]:
    wanted = tuple(dict.fromkeys(tier_id(text) for text in given if text))
    for other in wanted:
        if other == name:
            raise WrongUsage(f"tier {name} cannot depend on itself")
        if other not in fleet.tiers:
            raise NoSuchThing(
                f"tier {name} cannot depend on tier {other}: there is no such tier", remedy="create it first"
            )
        path = _path(fleet, other, name)
        if path:
            raise WrongUsage(
                f"tier {name} cannot depend on tier {other}: that would go in a circle, "
                f"{' → '.join((name, *path))}"
            )
    return wanted


def _path(fleet: Fleet, start: TierId, goal: TierId) -> tuple[TierId, ...]:
    """Return a way from `start` to `goal` along dependencies; empty if there is none."""
    paths: list[tuple[TierId, ...]] = [(start,)]
    seen = {start}
    while paths:
        path = paths.pop()
        if path[-1] == goal:
            return path
        following = fleet.tiers[path[-1]].depends_on if path[-1] in fleet.tiers else ()
        for other in following:
            if other not in seen:
                seen.add(other)
                paths.append((*path, other))
    return ()


def _slots(tier: Tier, given: TierOptions) -> tuple[SlotSettings, ...]:
    slots = {slot.number: slot for slot in tier.slots if slot.number <= tier.maximum}
    if given.gateway is not None and given.addresses is None:
        raise WrongUsage(
            "--gateway is given without --addresses",
            remedy="with --slot-address, write it behind the address: 1=10.0.0.7/24,10.0.0.1",
        )
    if given.addresses is not None:
        _fill_from_range(slots, tier, given.addresses, given.gateway)
    for text in given.slot_address:
        number, value = numbered(text, "--slot-address", tier.maximum)
        address, _, router = value.partition(",")
        before = _of(slots, number)
        slots[number] = slot_settings(
            number, before.hostname, address or None, router or None, before.personality
        )
    for text in given.hostname:
        number, value = numbered(text, "--hostname", tier.maximum)
        before = _of(slots, number)
        slots[number] = slot_settings(
            number, value or None, before.address, before.gateway, before.personality
        )
    return without_defaults(slots.values())


def without_defaults(slots: Iterable[SlotSettings]) -> tuple[SlotSettings, ...]:
    """Return the settings of slots that differ from the default, in the order of their numbers."""
    kept = (slot for slot in slots if slot != SlotSettings(slot.number))
    return tuple(sorted(kept, key=lambda slot: slot.number))


def _of(slots: Mapping[int, SlotSettings], number: int) -> SlotSettings:
    return slots.get(number) or SlotSettings(number)


def _fill_from_range(slots: dict[int, SlotSettings], tier: Tier, span: str, router: str | None) -> None:
    if not span:  # An empty text takes every slot back to DHCP.
        for number, slot in list(slots.items()):
            slots[number] = replace(slot, address=None, gateway=None)
        return
    places = address_range(span)
    for number in range(1, tier.maximum + 1):
        place = next(places, None)
        if place is None:
            raise WrongUsage(
                f"the range {span} has {number - 1} addresses, too few for the {tier.maximum} slots "
                f"of tier {tier.name}",
                remedy="give a longer range or a lower maximum",
            )
        by = gateway(router, interface(str(place))) if router else None
        slots[number] = replace(_of(slots, number), address=str(place), gateway=by)


def chosen_image(fleet: Fleet, text: str) -> Image:
    """Return the image version for a tier: `NAME@VERSION`, or `NAME` for its newest active version.

    Raises:
        WrongUsage: It cannot be a name.
        NoSuchThing: There is no such image.
        Refusal: It is not active.
    """
    if "@" in text:
        image = fleet.image(image_ref(text))
    else:
        versions = versions_of(fleet, plain_name(text, "image"))
        if not versions:
            raise NoSuchThing(f"there is no image {text}", remedy="see `metier image list`")
        image = ([version for version in versions if version.active] or versions)[-1]
    if not image.active:
        raise Refusal(
            f"image {image.ref} is not active", remedy=f"activate it: `metier image activate {image.ref}`"
        )
    return image


def kind_for(image: Image) -> TierKind:
    """Return the kind of tier that an image makes."""
    return TierKind.HOST if image.is_host_image else TierKind.GUEST

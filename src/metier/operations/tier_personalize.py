"""What belongs to a slot: host name, address, gateway."""

from dataclasses import dataclass, replace

from metier.domain.errors import WrongUsage
from metier.domain.fleet import Draft
from metier.domain.tier import TierState
from metier.operations.addresses import check_unique, slot_settings
from metier.operations.parsing import in_range
from metier.operations.records import check_may_personalize, expected_tier
from metier.operations.registry import Caller, Outcome, changes, option, positional
from metier.operations.tier_row import tier_row
from metier.operations.tier_settings import without_defaults


@dataclass(frozen=True, slots=True, kw_only=True)
class Personalize:
    """Which slot, and what it carries."""

    name: str = positional("the tier", example="web")
    slot: int = option("the number of the slot", example="1")
    hostname: str | None = option("its host name; an empty text means the default", None, example="www1")
    address: str | None = option(
        "its address with prefix length; an empty text means DHCP", None, example="10.0.0.7/24"
    )
    gateway: str | None = option("its gateway; an empty text means none", None, example="10.0.0.1")


@changes(
    "tier",
    "personalize",
    Personalize,
    examples=(
        "metier tier personalize web --slot 1 --hostname www1 --address 10.0.0.7/24 --gateway 10.0.0.1",
    ),
)
def personalize(draft: Draft, arguments: Personalize, caller: Caller) -> Outcome:
    """Set the host name and address that whichever node fills a slot carries from its next start."""
    tier = expected_tier(draft, arguments.name, caller)
    in_range(arguments.slot, f"the slot of tier {tier.name}", 1, tier.maximum)
    if arguments.hostname is None and arguments.address is None and arguments.gateway is None:
        raise WrongUsage(
            f"nothing is given for slot {arguments.slot} of tier {tier.name}",
            remedy="give --hostname, --address or --gateway",
        )
    check_may_personalize(tier)
    before = tier.slot_settings(arguments.slot)
    address = before.address if arguments.address is None else arguments.address
    # A gateway goes with its address: the old one does not outlive a new address without one.
    router = (
        arguments.gateway
        if arguments.gateway is not None or arguments.address is not None
        else before.gateway
    )
    name = before.hostname if arguments.hostname is None else arguments.hostname
    settings = slot_settings(arguments.slot, name, address, router)
    if settings == before:
        return Outcome(f"slot {arguments.slot} of tier {tier.name} is so already", tier_row(draft, tier))
    others = [slot for slot in tier.slots if slot.number != arguments.slot]
    after = replace(tier, slots=without_defaults([*others, settings]))
    check_unique(draft, after)
    draft.put_tier(after)
    row = tier_row(draft, draft.tiers[tier.name])
    notes = ("the node that runs there keeps what it has until it is started again",)
    is_running = tier.state is TierState.ACTIVE and arguments.slot in draft.members(tier.name)
    message = f"slot {arguments.slot} of tier {tier.name} personalized"
    return Outcome(message, row, notes if is_running else ())

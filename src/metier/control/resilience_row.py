"""The standing guarantee as readers get it: one row, with a table of failure domains and one of tiers."""

from collections import Counter
from collections.abc import Iterator, Sequence

from metier.domain.tier import TierKind
from metier.operations.registry import Row
from metier.planner.losses import BelowMinimum, FailureDomain, Resilience, TierLoss, Verdict

_WORST_FIRST = (Verdict.NOT_SURVIVED, Verdict.RESTORED, Verdict.SURVIVED)
_NAMED = 3
"""So many names are read in a sentence; the table has the others."""


def resilience_row(found: Resilience, by: str) -> Row:
    """Return the row of an answer; `by` is the label that made the failure domains, empty for hosts."""
    ordered = [domain for verdict in _WORST_FIRST for domain in found.of(verdict)]
    return {
        "by": by or "host",
        "answer": _answer(found, by),
        "failure_domains": len(found.domains),
        **{verdict.value.replace(" ", "_"): len(found.of(verdict)) for verdict in reversed(_WORST_FIRST)},
        "below_minimum_now": [_below(tier) for tier in found.below_minimum],
        "notes": _notes(found),
        "domains": [_domain_row(domain, by) for domain in ordered],
        "tiers": [_tier_row(domain, tier) for domain in ordered for tier in domain.tiers if _is_news(tier)],
    }


def _answer(found: Resilience, by: str) -> str:
    if not found.domains:
        return "no host is in use"
    one, count = "failure domain" if by else "host", len(found.domains)
    lost, restored = found.of(Verdict.NOT_SURVIVED), found.of(Verdict.RESTORED)
    if lost:
        names = _listed([f"{domain.name} ({', '.join(_not_restored(domain))})" for domain in lost])
        return f"{len(lost)} of {count} {one}s cannot be lost, for want of room to restore: {names}"
    if restored:
        names = _listed([domain.name for domain in restored])
        return (
            f"any one {one} can be lost; with {len(restored)} of {count} a tier is below its minimum until "
            f"it is restored: {names}"
        )
    return f"any one {one} can be lost, and no tier falls below its minimum"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _below(below: BelowMinimum) -> str:
    return f"{below.tier} has {below.now} of its minimum of {below.minimum}, whatever dies"


def _notes(found: Resilience) -> list[str]:
    notes = []
    unproved = list(dict.fromkeys(host for domain in found.domains for host in domain.unproved))
    if unproved:
        notes.append(
            f"no power controller can prove {_listed(unproved)} down: what ran there is restored only once "
            "an operator vouches for it with `metier node attest-off`"
        )
    if any(
        tier.kind is TierKind.HOST and tier.allocated for domain in found.domains for tier in domain.tiers
    ):
        notes.append("a replacement host has to boot first: the virtual nodes it will offer are not counted")
    return notes


def _domain_row(domain: FailureDomain, by: str) -> Row:
    return {
        "domain": domain.name,
        "verdict": domain.verdict.value,
        **({"hosts": list(domain.hosts)} if by else {}),
        "lost": sum(tier.lost for tier in domain.tiers),
        "restorable": sum(tier.restorable for tier in domain.tiers),
        "below_minimum": [tier.tier for tier in domain.tiers if tier.falls],
        "not_restored": _not_restored(domain),
        "below_target": [tier.tier for tier in domain.tiers if tier.short_of_target],
        "missing": _missing_of(domain),
    }


def _not_restored(domain: FailureDomain) -> list[str]:
    return [tier.tier for tier in domain.tiers if tier.stays_below]


def _missing_of(domain: FailureDomain) -> list[str]:
    """Return what all tiers miss, nodes of the same kind added up."""
    nodes = Counter[str]()
    for tier in domain.tiers:
        if tier.missing:
            nodes[tier.node] += tier.missing
    held = [f"{tier.tier}: {tier.obstacle}" for tier in domain.tiers if tier.obstacle]
    return [_more(number, node) for node, number in nodes.items()] + held


def _more(number: int, node: str) -> str:
    kind, of, size = node.partition(" of ")
    return f"{number} more {kind}{'s' if number > 1 else ''}{of}{size}"


def _is_news(tier: TierLoss) -> bool:
    """Say whether a tier does worse than to lose members it can spare: the domain's row has the others."""
    return tier.falls or tier.stays_below or bool(tier.harvested or tier.given)


def _tier_row(domain: FailureDomain, tier: TierLoss) -> Row:
    return {
        "domain": domain.name,
        "tier": tier.tier,
        "now": tier.now,
        "lost": tier.lost,
        "left": tier.left,
        "minimum": tier.minimum,
        "target": tier.target,
        "restorable": tier.restorable,
        "taken": [f"{number} from {giver}" for giver, number in tier.harvested],
        "given": tier.given,
        "after": tier.after,
        "short_of_minimum": tier.short_of_minimum,
        "missing": "; ".join(_missing(domain, tier)),
    }


def _missing(domain: FailureDomain, tier: TierLoss) -> Iterator[str]:
    if tier.missing:
        yield f"{_more(tier.missing, tier.node)} outside {domain.name}"
    if tier.obstacle:
        yield tier.obstacle

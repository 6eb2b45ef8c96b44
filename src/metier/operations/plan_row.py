"""Plans and forecasts as the interface's JSON shows them."""

import re
from typing import TYPE_CHECKING

from metier.domain.forecast import Dip, Displaced, Duration, Forecast, Rewritten
from metier.domain.plan import Waiting
from metier.operations.registry import Row

if TYPE_CHECKING:
    # A command line explains nodes without planning anything: it need not pay for every kind of action.
    from metier.domain.actions import Action

_CAPITAL = re.compile(r"(?<!^)(?=[A-Z])")


def forecast_row(forecast: Forecast) -> Row:
    """Return all that would follow as JSON; times are in seconds from now."""
    return {
        "actions": [{**action_row(one.action), "after_s": one.after_s} for one in forecast.actions],
        "waiting": [waiting_row(waiting) for waiting in forecast.waiting],
        "seconds": forecast.seconds,
        "dips": [_dip_row(dip) for dip in forecast.dips],
        "displaced": [_displaced_row(displaced) for displaced in forecast.displaced],
        "measured": [_duration_row(one) for one in forecast.durations if one.is_own],
        "assumed": [_duration_row(one) for one in forecast.durations if not one.is_own],
        "notes": list(forecast.notes),
        "personalities": [_rewritten_row(one) for one in forecast.rewritten],
    }


def action_row(action: "Action") -> Row:
    """Return the row of an action."""
    return {
        "action": action_word(action),
        "subject": action.subject,
        "why": action.why,
        "rule": action.rule,
    }


def waiting_row(waiting: Waiting) -> Row:
    """Return the row of something waited for."""
    return {"subject": waiting.subject, "why": waiting.why, "rule": waiting.rule}


def _dip_row(dip: Dip) -> Row:
    return {
        "tier": dip.tier,
        "below": dip.below.value,
        "wanted": dip.wanted,
        "lowest": dip.lowest,
        "from_s": _seconds(dip.from_s),
        "seconds": _seconds(dip.seconds),
    }


def _displaced_row(displaced: Displaced) -> Row:
    return {
        "node": displaced.node,
        "tier": displaced.slot.tier,
        "slot": displaced.slot.number,
        "to": displaced.to,
        "from_s": _seconds(displaced.from_s),
        "gap_s": _seconds(displaced.gap_s),
    }


def _rewritten_row(rewritten: Rewritten) -> Row:
    return {
        "tier": rewritten.slot.tier,
        "slot": rewritten.slot.number,
        "difference": rewritten.difference,
    }


def _duration_row(duration: Duration) -> Row:
    return {
        "activity": duration.activity.value,
        "subject": duration.subject,
        "seconds": _seconds(duration.seconds),
        "samples": duration.samples,
    }


def _seconds(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def action_word(action: "Action") -> str:
    """Return the word for an action: `allocate-node` for an `AllocateNode`."""
    return _CAPITAL.sub("-", type(action).__name__).lower()

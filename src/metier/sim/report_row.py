"""What a simulation came to, as the JSON that programs read and that `metier simulate` prints from."""

from datetime import UTC, datetime

from metier.operations.registry import Row
from metier.sim.compare import Comparison, Decided
from metier.sim.rehearsal import Replayed
from metier.sim.timeline import Dip, Fact, FactKind, Report, TierStory


def report_row(report: Report) -> Row:
    """Return all of it as one object."""
    return {
        "scenario": report.name,
        "title": report.title,
        "seed": report.seed,
        "start": _moment(report.start),
        "end": _moment(report.end),
        "good": report.is_good,
        "events": [_fact(fact) for fact in report.facts],
        "tiers": [_tier(one, report) for one in report.tiers],
        "waiting": [{"subject": one.subject, "why": one.why, "rule": one.rule} for one in report.waiting],
        "problems": [
            {"code": one.code, "subject": one.subject, "message": one.message} for one in report.problems
        ],
        "broken": [
            {"at": _moment(one.at), "law": one.law, "message": one.sentence} for one in report.breaches
        ],
        "trace": report.trace,
    }


def replayed_row(replayed: Replayed) -> Row:
    """Return a replay as one object: its report, and how it compares."""
    return {
        **report_row(replayed.report),
        "comparison": _comparison(replayed.comparison),
        "left_out": list(replayed.replay.left_out),
    }


def _fact(fact: Fact) -> Row:
    row: Row = {
        "at": _moment(fact.at),
        "kind": fact.kind.value,
        "subject": fact.subject,
        "message": fact.message,
    }
    row |= {"action": fact.what} if fact.what else {}
    row |= {"by": fact.by} if fact.by else {}
    row |= {"line": fact.line} if fact.line else {}
    return row | ({"exit_status": fact.status} if fact.kind is FactKind.ORDER else {})


def _tier(story: TierStory, report: Report) -> Row:
    return {
        "name": story.tier,
        "serving": story.serving,
        "minimum": story.minimum,
        "target": story.target,
        "below_minimum": [_dip(dip, report) for dip in story.below_minimum],
        "below_target": [_dip(dip, report) for dip in story.below_target],
    }


def _dip(dip: Dip, report: Report) -> Row:
    return {
        "from": _moment(dip.began),
        "to": None if dip.end is None else _moment(dip.end),
        "seconds": dip.seconds(report.end),
        "wanted": dip.wanted,
        "lowest": dip.lowest,
    }


def _comparison(found: Comparison) -> Row:
    missing, extra = ([_decided(one) for one in some] for some in (found.missing, found.extra))
    return {"same": found.same, "missing": missing, "extra": extra}


def _decided(one: Decided) -> Row:
    return {"at": _moment(one.at), "node": one.node, "action": one.action, "rule": one.rule}


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"

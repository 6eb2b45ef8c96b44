"""What the command line can end with, other than success."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from metier.cli.output import printable

FAILED, WRONG_USAGE, NO_SUCH_THING, NEEDS_ACCEPTANCE, UNREACHABLE, TIMED_OUT = range(1, 7)
INTERRUPTED = 130

_BY_STATUS = {400: WRONG_USAGE, 404: NO_SUCH_THING, 409: NEEDS_ACCEPTANCE}


class Failure(Exception):
    """A command that did not succeed.

    Attributes:
        code: Stable word for programs.
        remedy: What to do now; may be empty.
        warnings: With `needs-acceptance`: the consequences.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "failed",
        remedy: str = "",
        warnings: Sequence[str] = (),
        exit_status: int = FAILED,
    ) -> None:
        super().__init__(message)
        self.message, self.code, self.remedy = message, code, remedy
        self.warnings = tuple(warnings)
        self.exit_status = exit_status


def answered(status: int, body: Any) -> Failure:
    """Return the failure that the controller answered with."""
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        return Failure(f"the controller answered {status} in a form that is not its own", code="bad-answer")
    exit_status = _BY_STATUS.get(status, FAILED)
    if error.get("code") == "no-such-route":
        # The controller is older than this program.
        exit_status = FAILED
    return Failure(
        str(error.get("message", "")),
        code=str(error.get("code", "failed")),
        remedy=str(error.get("remedy", "")),
        warnings=[str(warning) for warning in error.get("warnings") or ()],
        exit_status=exit_status,
    )


def wrong_usage(message: str, remedy: str = "") -> Failure:
    """Return a failure of whoever typed the command."""
    return Failure(message, code="wrong-usage", remedy=remedy, exit_status=WRONG_USAGE)


def timed_out(seconds: float, waiting_for: Sequence[str]) -> Failure:
    """Return the failure of a wait that took too long."""
    what = "; ".join(waiting_for) or "an answer"
    return Failure(
        f"timed out after {seconds:.0f} s waiting for: {what}",
        code="timed-out",
        remedy="it goes on all the same; wait longer with --timeout, or see `metier plan`",
        exit_status=TIMED_OUT,
    )


def in_words(failure: Failure) -> str:
    """Return a failure as a person reads it."""
    lines = [f"warning: {printable(warning)}" for warning in failure.warnings]
    lines.append(f"error: {printable(failure.message)}")
    if failure.remedy:
        lines.append(f"  {printable(failure.remedy)}")
    return "\n".join(lines)


def in_json(failure: Failure) -> str:
    """Return a failure as a program reads it."""
    error: Mapping[str, Any] = {
        "code": failure.code,
        "message": failure.message,
        "remedy": failure.remedy,
    }
    if failure.warnings:
        error = {**error, "warnings": list(failure.warnings)}
    return json.dumps({"error": error}, ensure_ascii=False)

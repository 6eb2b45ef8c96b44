"""What can go wrong, as the three parties that can act on it see it.

Drivers raise `Refused`, `Unavailable` or `OutcomeUnknown`: the three things the
loop can do next are to raise a problem, to try in a later round, and to look
again.  Operations raise a `MetierError` with the operator's next step in it.
A broken assumption of our own is a `Bug`.
"""

from collections.abc import Sequence


class Bug(Exception):
    """A promise inside Metier was broken; never raised for bad input."""


class MetierError(Exception):
    """An error that an operator can meet.

    Attributes:
        code: Stable word for programs, such as `no-such-thing`.
        remedy: What to do now; may be empty when the message says it.
        exit_status: What the command line ends with.
        http_status: What the REST API answers with.
    """

    code = "failed"
    exit_status = 1
    http_status = 422

    def __init__(self, message: str, *, code: str | None = None, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        if code is not None:
            self.code = code


class Refusal(MetierError):
    """The request is well formed and cannot be granted in this state."""

    code = "refused"


class WrongUsage(MetierError):
    """The request itself makes no sense."""

    code = "wrong-usage"
    exit_status = 2
    http_status = 400


class NoSuchThing(MetierError):
    """The request names something that does not exist."""

    code = "no-such-thing"
    exit_status = 3
    http_status = 404


class NeedsAcceptance(MetierError):
    """The request has consequences that the operator must accept first.

    Attributes:
        warnings: One sentence per consequence.
    """

    code = "needs-acceptance"
    exit_status = 4
    http_status = 409

    def __init__(self, message: str, warnings: Sequence[str]) -> None:
        super().__init__(message, remedy="repeat with --accept-warnings to go on")
        self.warnings = tuple(warnings)


class GenerationMismatch(MetierError):
    """The thing was changed by somebody else since it was read."""

    code = "changed-meanwhile"
    http_status = 412


class NoSpace(MetierError):
    """A file system lacks the room that the request was measured to need."""

    code = "no-space"
    http_status = 507


class DriverError(MetierError):
    """What a driver may raise: exactly its three children."""


class Refused(DriverError):
    """The device will not do it; the same call would fail again."""

    code = "driver-refused"


class Unavailable(DriverError):
    """The device could not be reached; nothing was begun."""

    code = "driver-unavailable"


class OutcomeUnknown(DriverError):
    """The device took the request and fell silent; observe before acting."""

    code = "driver-outcome-unknown"


def chain(error: BaseException) -> str:
    """Join the messages of `error` and its causes, outermost first."""
    links = [str(error) or type(error).__name__]
    while (cause := error.__cause__) is not None:
        links.append(str(cause) or type(cause).__name__)
        error = cause
    return ": ".join(links)


def told(error: BaseException) -> str:
    """Join the messages of `error` and its causes, and say what to do now."""
    remedy = error.remedy if isinstance(error, MetierError) else ""
    return f"{chain(error)}; {remedy}" if remedy else chain(error)

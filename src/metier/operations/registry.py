"""The registry of operations: commands, routes, audit records and reference pages follow from it.

An operation is a pure function and a frozen dataclass of arguments:

    @dataclass(frozen=True, slots=True)
    class Disengage:
        name: str = positional("the node to disengage")
        why: str = option("why, for whoever wonders later", "")

    @changes("node", "disengage", Disengage, examples=("metier node disengage host-1/VM3",))
    def disengage(draft: Draft, arguments: Disengage, caller: Caller) -> Outcome:
        '''Keep automation's hands off a node.'''

Reading operations take a `View` instead and return rows or one row, with the
keys of the interface's JSON.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol, get_type_hints

from metier.domain.errors import Bug, NoSuchThing
from metier.domain.fleet import Draft, Fleet
from metier.domain.forecast import Forecast
from metier.domain.ids import NodeId
from metier.domain.node import Endpoint
from metier.domain.personality import Carried
from metier.domain.plan import Plan, Waiting
from metier.domain.transfer import Transfer

Row = dict[str, Any]
"""One object of the interface's JSON: flat, snake_case, JSON-ready values."""


class Form(StrEnum):
    """What an operation is to the outside: decides its route and how it is shown."""

    LIST = "list"
    SHOW = "show"
    CREATE = "create"
    EDIT = "edit"
    DELETE = "delete"
    VERB = "verb"


class Holds(StrEnum):
    """What a text argument is: as it is typed, or the content of a file that the command line reads.

    `FILE_TEXT` is the content of a file.  `NAMED_FILE_TEXT` is `KEY[,WORD]=TEXT` to the API and
    `KEY=FILE[,WORD]` on the command line.  An empty file name stands for an empty text.
    """

    VALUE = "value"
    FILE_TEXT = "file-text"
    NAMED_FILE_TEXT = "named-file-text"


Seal = Callable[[str, Endpoint, "Endpoint | None"], Endpoint]
"""Seals the secrets of a driver of a family as it is to be recorded; the last is as it was before."""


def as_it_is(_family: str, wanted: Endpoint, _before: Endpoint | None) -> Endpoint:
    """Seal nothing."""
    return wanted


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, when, and what they accepted beforehand.

    Attributes:
        accept_warnings: Consequences that need acceptance are accepted.
        expects: The generation that the caller saw (`If-Match`); None for any.
        seal: The controller's; an operation that records drivers shows and compares only what it sealed.
    """

    name: str
    now: datetime
    accept_warnings: bool = False
    expects: int | None = None
    seal: Seal = as_it_is


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a change did.

    Attributes:
        message: One sentence's words for a person, past tense: `tier web activated`.
        row: The thing as it is now, or None when it is gone.
        warnings: Worth knowing, and not in need of acceptance.
        job: Id of the job that was begun, if one was.
    """

    message: str
    row: Row | None = None
    warnings: tuple[str, ...] = ()
    job: int | None = None


class Services(Protocol):
    """What readers may ask beyond the snapshot."""

    def journal(self, *, after: int, limit: int, subject: str | None, newest: bool) -> Sequence[Row]:
        """Return journal entries as event rows, oldest first."""

    def console(self, node: str) -> str:
        """Return how a person reaches a node's console; raises MetierError."""

    def resilience(self, fleet: Fleet, now: datetime, by: str) -> Row:
        """Return what would follow if any host, or all with one value of label `by`, died at `now`."""

    def forecast(self, fleet: Fleet, now: datetime) -> Forecast:
        """Return all that follows from the controller's own `fleet` at `now`; raises MetierError."""

    def texts(self, every: Sequence[Carried]) -> Sequence[Mapping[str, str]]:
        """Return what guests are told, rendered: for each the texts by name; raises MetierError."""

    def transfers(self) -> Mapping[NodeId, Transfer]:
        """Return which images are being copied to hosts now, by the node that waits for each."""

    def export_site(self, fleet: Fleet, now: datetime, *, journal: int) -> Row:
        """Return the document of `fleet` as it was at `now`, with so many of the last journal entries."""

    def drivers(self) -> Sequence[Row]:
        """Return every installed driver: `name`, `family`, `is_ready`, `settings`, `capabilities`."""

    def certificate(self, url: str) -> Row:
        """Return what the controller sees of the certificate of the server at `url`; raises MetierError."""


@dataclass(frozen=True, slots=True)
class View:
    """What a reading operation reads: the last finished round, whole.

    Attributes:
        plan: What that round decided, and what it waits for.
    """

    fleet: Fleet
    plan: Plan
    waiting: Mapping[str, tuple[Waiting, ...]]
    now: datetime
    services: Services

    def waiting_for(self, subject: str) -> list[str]:
        """Return the sentences of what `subject` waits for."""
        return [waiting.why for waiting in self.waiting.get(subject, ())]


Read = Callable[[View, Any], Any]
Change = Callable[[Draft, Any, Caller], Outcome]
Settled = Callable[[View, Any], Sequence[str]]
"""What is still waited for before the effect of a change is seen; empty once it is."""


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of an operation, as commands, forms and schemas show it."""

    name: str
    type: Any
    help: str
    default: Any
    required: bool
    positional: bool
    choices: tuple[str, ...]
    example: str
    holds: Holds


@dataclass(frozen=True, slots=True)
class Operation:
    """One verb on one noun.

    Attributes:
        noun: Singular; empty for commands without one, such as `status`.
        columns: What tables show, in order; `wide` adds the rest.
        read: Set for operations that change nothing; `change` for the others.
        settled: For `--wait`; None when the effect is immediate.
    """

    noun: str
    verb: str
    form: Form
    arguments: tuple[Argument, ...]
    arguments_type: type[Any]
    help: str
    examples: tuple[str, ...]
    columns: tuple[str, ...] = ()
    read: Read | None = None
    change: Change | None = None
    settled: Settled | None = None

    @property
    def key(self) -> str:
        """`tier activate`: how the audit and the reference name it."""
        return f"{self.noun} {self.verb}".strip()

    @property
    def is_change(self) -> bool:
        """Whether it may change something."""
        return self.change is not None


class Controller(Protocol):
    """What the API needs of the running controller."""

    def view(self) -> View:
        """Return the last finished round."""

    def change(self, operation: Operation, arguments: Any, caller: Caller) -> Outcome:
        """Carry out a change and return once it is recorded.

        Raises:
            MetierError: It was refused; nothing changed.
        """

    def preview(self, operation: Operation, arguments: Any, caller: Caller) -> tuple[Outcome, Forecast]:
        """Return what a change would answer and all that would follow from it; changes nothing."""

    def wait_for_change(self, generation: int, timeout_s: float) -> int:
        """Return the Fleet's generation once it differs from `generation`, or at the deadline."""


OPERATIONS: dict[tuple[str, str], Operation] = {}


def positional(help_text: str, *, default: Any = MISSING, example: str = "") -> Any:
    """Declare an argument that commands take by place."""
    metadata = {"help": help_text, "positional": True, "example": example}
    return field(metadata=metadata) if default is MISSING else field(default=default, metadata=metadata)


def option(
    help_text: str,
    default: Any = MISSING,
    *,
    choices: Sequence[str] = (),
    example: str = "",
    holds: Holds = Holds.VALUE,
) -> Any:
    """Declare an argument that commands take by name; required without a default."""
    metadata: Row = {"help": help_text, "positional": False, "choices": tuple(choices), "example": example}
    metadata["holds"] = holds
    return field(metadata=metadata) if default is MISSING else field(default=default, metadata=metadata)


def reads(
    noun: str,
    verb: str,
    arguments: type[Any],
    *,
    form: Form = Form.SHOW,
    columns: Sequence[str] = (),
    examples: Sequence[str] = (),
) -> Callable[[Read], Read]:
    """Register a reading operation; its docstring is its help."""

    def register(function: Read) -> Read:
        _add(noun, verb, form, arguments, function, examples, columns=tuple(columns), read=function)
        return function

    return register


def changes(
    noun: str,
    verb: str,
    arguments: type[Any],
    *,
    form: Form = Form.VERB,
    examples: Sequence[str] = (),
    settled: Settled | None = None,
) -> Callable[[Change], Change]:
    """Register a changing operation; its docstring is its help."""

    def register(function: Change) -> Change:
        _add(noun, verb, form, arguments, function, examples, change=function, settled=settled)
        return function

    return register


def operation(noun: str, verb: str) -> Operation:
    """Return a registered operation; raises NoSuchThing."""
    found = OPERATIONS.get((noun, verb))
    if found is None:
        raise NoSuchThing(f"there is no operation {noun} {verb}".rstrip(), remedy="see `metier --help`")
    return found


def _add(
    noun: str,
    verb: str,
    form: Form,
    arguments: type[Any],
    function: Callable[..., Any],
    examples: Sequence[str],
    **rest: Any,
) -> None:
    if (noun, verb) in OPERATIONS:
        raise Bug(f"two operations {noun} {verb}")
    if not function.__doc__:
        raise Bug(f"operation {noun} {verb} has no help")
    OPERATIONS[noun, verb] = Operation(
        noun, verb, form, _arguments_of(arguments), arguments, function.__doc__, tuple(examples), **rest
    )


def _arguments_of(arguments: type[Any]) -> tuple[Argument, ...]:
    hints = get_type_hints(arguments)
    found = (_argument(part, hints[part.name]) for part in fields(arguments))
    return tuple(sorted(found, key=lambda argument: not (argument.positional or argument.required)))


def _argument(part: "Field[Any]", hint: Any) -> Argument:
    return Argument(
        name=part.name,
        type=hint,
        help=part.metadata["help"],
        default=None if part.default is MISSING else part.default,
        required=part.default is MISSING,
        positional=part.metadata["positional"],
        choices=part.metadata.get("choices", ()),
        example=part.metadata.get("example", ""),
        holds=part.metadata.get("holds", Holds.VALUE),
    )

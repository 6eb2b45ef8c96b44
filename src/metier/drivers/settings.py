"""Reads an operator's settings into a driver's `Settings` dataclass, and describes it for forms and pages.

A driver declares each setting once:

    @dataclass(frozen=True, slots=True)
    class Settings:
        url: str = setting("Where the host's libvirt answers.", example="qemu+ssh://root@host-1/system")
        password: str = setting("The account's password.", secret=True)
        timeout_s: float = setting("Deadline in seconds, 1 to 600.", parse=seconds, default="30")
"""

from collections.abc import Callable, Mapping
from dataclasses import field, fields
from typing import Any, NamedTuple, TypeVar

from metier.domain.errors import WrongUsage

S = TypeVar("S")

_KEY = "metier.setting"
# What a message shows of a value: enough to recognise it, not a page of it.
_SHOWN_CHARACTERS = 100


class Secret(str):
    """A word that no message, log or dump may show."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'…'"


class SettingDoc(NamedTuple):
    """What a form or a reference page says of one setting.

    Attributes:
        default: As the operator would type it; None when the setting must be given.
        is_secret: It is kept sealed, shown nowhere, and not to be typed on a command line.
    """

    name: str
    about: str
    default: str | None
    example: str
    is_secret: bool = False


class _Setting(NamedTuple):
    about: str
    parse: Callable[[str], Any]
    default: str | None
    example: str
    is_secret: bool


def setting(
    about: str,
    *,
    parse: Callable[[str], Any] = str,
    default: str | None = None,
    example: str = "",
    secret: bool = False,
) -> Any:
    """Declare one field of a driver's `Settings`.

    Args:
        about: What it means, in a sentence with units and ranges.
        parse: Turns the operator's text into the value; raises ValueError with the reason.
        default: What stands when it is not given, as an operator would type it; None: it must be given.
        example: One good value.
        secret: Nobody but the driver may see it.  What `parse` says of it must not repeat it; without a
            parser of its own it becomes a `Secret`.
    """
    row = _Setting(about, Secret if secret and parse is str else parse, default, example, secret)
    if default is None:
        return field(metadata={_KEY: row}, kw_only=True)
    return field(default_factory=lambda: parse(default), metadata={_KEY: row}, kw_only=True)


def describe_settings(cls: type) -> tuple[SettingDoc, ...]:
    """Return what there is to set, in the order of declaration."""
    return tuple(
        SettingDoc(name, row.about, row.default, row.example, row.is_secret)
        for name, row in _rows(cls).items()
    )


def secret_settings(cls: type) -> frozenset[str]:
    """Return the names of the settings that are secret."""
    return frozenset(name for name, row in _rows(cls).items() if row.is_secret)


def parse_settings(cls: type[S], driver: str, given: Mapping[str, str]) -> S:
    """Return `cls` made of what the operator gave; connects to nothing.

    Args:
        cls: The driver's dataclass; every field is a `setting`.
        driver: The driver's name, for messages.
        given: The operator's words.

    Raises:
        WrongUsage: A setting is missing, unknown or malformed.
    """
    rows = _rows(cls)
    unknown = sorted(set(given) - set(rows))
    if unknown:
        raise WrongUsage(
            f"driver {driver} has no setting {', '.join(map(repr, unknown))}",
            remedy=f"it has: {', '.join(rows) or 'none'}",
        )
    missing = [name for name, row in rows.items() if row.default is None and not given.get(name)]
    if missing:
        raise WrongUsage(
            f"driver {driver} lacks setting {', '.join(missing)}",
            remedy="; ".join(_hint(name, rows[name]) for name in missing),
        )
    return cls(**{name: _parsed(driver, name, rows[name], text) for name, text in given.items()})


def seconds(lowest: float, highest: float) -> Callable[[str], float]:
    """Return a parser of a number of seconds within these bounds."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise ValueError("must be a number of seconds") from None
        if not lowest <= value <= highest:
            raise ValueError(f"must be {lowest:g} to {highest:g} seconds")
        return value

    return parse


def one_of(*words: str) -> Callable[[str], str]:
    """Return a parser that takes one of these words."""

    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return text

    return parse


def _rows(cls: type) -> dict[str, _Setting]:
    return {entry.name: entry.metadata[_KEY] for entry in fields(cls)}


def _hint(name: str, row: _Setting) -> str:
    example = f", for example {row.example}" if row.example else ""
    return f"{name}: {row.about.rstrip('.')}{example}"


def _parsed(driver: str, name: str, row: _Setting, text: str) -> Any:
    try:
        return row.parse(text)
    except ValueError as error:
        raise WrongUsage(
            f"driver {driver} cannot take {name}={_shown(row, text)}: {error}", remedy=_hint(name, row)
        ) from None


def _shown(row: _Setting, text: str) -> str:
    if row.is_secret:
        return "…"
    return repr(text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…")

"""Turns the words of a request into values, and refuses what cannot be one."""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from metier.domain.errors import WrongUsage
from metier.domain.ids import plain_name
from metier.domain.image import CollectorSpec

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:=/+-]{0,62}")
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,62}")
_HOSTNAME_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_DURATION = re.compile(r"(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6})s)?", re.ASCII)
_COLLECTOR = re.compile(r"(?P<name>[a-z][a-z0-9-]{0,30})(?::(?P<port>[0-9]{1,5}))?(?P<path>/\S{0,1023})?")

# The port that a collector means when none is named; the other collectors need one or take none.
_DEFAULT_PORTS = {"http": 80, "https": 443}
_NEED_PORT = frozenset({"tcp"})


def in_range(value: int, what: str, low: int, high: int) -> int:
    """Return `value` if it lies from `low` to `high`; `what` names it with its unit.

    Raises:
        WrongUsage: It does not.
    """
    if not low <= value <= high:
        raise WrongUsage(f"{what} cannot be {value}: it must lie from {low} to {high}")
    return value


def words(given: Iterable[str], what: str) -> frozenset[str]:
    """Return attributes or networks as a set; a single empty word means none.

    Raises:
        WrongUsage: One holds a character that such words do not have.
    """
    found = frozenset(word for word in given if word)
    for word in found:
        if _WORD.fullmatch(word) is None:
            raise WrongUsage(
                f"{word!r} cannot be {what}: use 1 to 63 letters, digits and any of . _ : = / + -, "
                "with a letter or digit first"
            )
    return found


def pairs(given: Iterable[str], flag: str) -> dict[str, str]:
    """Parse `key=value` words; the value may hold anything.

    Raises:
        WrongUsage: One has no `=`, an impossible key, or a key given before.
    """
    found: dict[str, str] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or _KEY.fullmatch(key) is None:
            raise WrongUsage(f"{flag} {text!r} is not KEY=VALUE", remedy=f"say for example {flag} key=value")
        if key in found:
            raise WrongUsage(f"{flag} names {key} twice")
        found[key] = one_line(value, f"the value of {flag} {key}")
    return found


def one_line(text: str, what: str, limit: int = 4096) -> str:
    """Return `text` if it is one line of at most `limit` printable characters.

    Raises:
        WrongUsage: It is not.
    """
    if len(text) > limit:
        raise WrongUsage(f"{what} has {len(text)} characters: at most {limit} are allowed")
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise WrongUsage(f"{what} holds a control character")
    return text


def hostname(text: str) -> str:
    """Return `text` if hosts may be called so.

    Raises:
        WrongUsage: It breaks RFC 1123.
    """
    if len(text) > 253 or not all(_HOSTNAME_LABEL.fullmatch(label) for label in text.split(".")):
        raise WrongUsage(
            f"{text!r} cannot be a host name: use letters, digits and dashes in parts of at most 63, "
            "joined by dots"
        )
    return text


def collectors(given: Iterable[str]) -> tuple[CollectorSpec, ...]:
    """Parse health checks such as `ping`, `tcp:22` and `http:80/health`; empty words are skipped.

    Raises:
        WrongUsage: One is malformed or given twice.
    """
    found = tuple(_collector(text) for text in given if text)
    for spec in found:
        if found.count(spec) > 1:
            raise WrongUsage(f"collector {spec} is given twice")
    return found


def _collector(text: str) -> CollectorSpec:
    match = _COLLECTOR.fullmatch(text)
    if match is None:
        raise WrongUsage(
            f"{text!r} is not a collector",
            remedy="say ping, tcp:PORT or http:PORT/PATH, such as http:80/health",
        )
    name = match["name"]
    port = int(match["port"]) if match["port"] else _DEFAULT_PORTS.get(name)
    if port is None and name in _NEED_PORT:
        raise WrongUsage(f"collector {name} needs a port", remedy=f"say for example {name}:22")
    if port is not None:
        in_range(port, f"the port of collector {text}", 1, 65535)
    return CollectorSpec(name, port, match["path"] or "/")


def moment(text: str, now: datetime) -> datetime:
    """Parse a time to come: RFC 3339, or how long from now, such as `2h` or `1d12h`.

    Raises:
        WrongUsage: It is neither, lacks a zone, or is not in the future.
    """
    duration = _DURATION.fullmatch(text)
    if duration is not None and text:
        days, hours, minutes, seconds = (int(part or 0) for part in duration.groups())
        when = now + timedelta(days=min(days, 36500), hours=hours, minutes=minutes, seconds=seconds)
    else:
        when = _timestamp(text)
    if when <= now:
        raise WrongUsage(f"{text} is not in the future: it is now {rfc3339(now)}")
    return when


def _timestamp(text: str) -> datetime:
    try:
        when = datetime.fromisoformat(text)
    except ValueError as error:
        raise WrongUsage(
            f"{text!r} is neither a time nor a duration",
            remedy="say a time such as 2026-03-01T18:00:00Z, or how long, such as 2h",
        ) from error
    if when.tzinfo is None:
        raise WrongUsage(f"{text} names no time zone", remedy=f"say {text}Z for UTC")
    try:
        return when.astimezone(UTC)
    except OverflowError as error:
        raise WrongUsage(f"{text} is too far away") from error


def rfc3339(when: datetime | None) -> str | None:
    """Return a time as the interface's JSON writes it: UTC, to the second unless it says more."""
    if when is None:
        return None
    return when.astimezone(UTC).isoformat().replace("+00:00", "Z")


def fields_of(text: str, flag: str, allowed: Iterable[str]) -> Mapping[str, str]:
    """Parse `key=value,key=value` of which the keys are known.

    Raises:
        WrongUsage: It is malformed, or a key is unknown or given twice.
    """
    known = tuple(allowed)
    found = pairs((part for part in text.split(",") if part), flag)
    for key in found:
        if key not in known:
            raise WrongUsage(f"{flag} {text!r} has an unknown part {key}; it takes: {', '.join(known)}")
    return found


def whole(text: str, what: str, low: int, high: int) -> int:
    """Parse a whole number from `low` to `high`; raises WrongUsage."""
    if not text.isascii() or not text.isdigit() or len(text) > 12:
        raise WrongUsage(f"{what} cannot be {text!r}: it must be a whole number from {low} to {high}")
    return in_range(int(text), what, low, high)


def driver_name(text: str, flag: str) -> str:
    """Return the name of a driver if it can be one; whether it is installed is not known here."""
    return plain_name(text, f"driver ({flag})")

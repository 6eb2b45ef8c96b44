"""What an exported site leaves out, because it may be secret or private to the controller's machine."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from metier.domain.fleet import Fleet, Kind
from metier.domain.node import Node
from metier.domain.url import is_url, shown_url
from metier.store.api import Entry

HIDDEN = "…"
"""Stands where a secret was."""

# What drivers and people wrote, in records as the store writes them.
_TEXTS: Mapping[Kind, tuple[str, ...]] = {
    Kind.NODE: ("problem",),
    Kind.OBSERVED: ("power_error", "vmm_error"),
    Kind.ALERT: ("message",),
    Kind.JOB: ("error", "remedy"),
    Kind.PROCEDURE: ("told", "problem", "remedy"),
    Kind.IMAGE: ("source",),
}
_TOKEN = re.compile(r"[^\s'\"(),;\[\]{}<>]+")
_SENTENCE_ENDS = ".:!?"
_PATH_PARTS = frozenset("/:?&")
_SHORTEST = 4
# Words of our own in the data of journal entries, which no setting can make secret.
_OUR_WORDS = frozenset(("action", "health", "job_kind", "operation", "power", "state"))


def _without_places(arguments: dict[str, Any], result: dict[str, Any]) -> None:
    """Leave of paths the names, of URLs what no secret is in, and of logins nothing."""
    location = arguments.get("location")
    arguments.pop("login", None)
    if isinstance(location, str):
        arguments["location"] = shown_url(location) if is_url(location) else PurePosixPath(location).name
    for holder, name in ((arguments, "target"), (arguments, "archive")):
        if isinstance(holder.get(name), str):
            holder[name] = PurePosixPath(holder[name]).name
    if isinstance(result.get("files"), list):
        result["files"] = [PurePosixPath(str(path)).name for path in result["files"]]


class Censor:
    """Takes the settings of drivers out of records, and out of what drivers and people wrote."""

    def __init__(self, fleet: Fleet) -> None:
        """Learn the settings of every node, to know them again in texts."""
        self._secrets = {part for node in fleet.nodes.values() for part in _settings(node)} - _names(fleet)
        self._known: dict[str, str] = {}

    def record(self, kind: Kind, raw: dict[str, Any]) -> dict[str, Any]:
        """Take what is secret out of a record as the store writes it, and return it."""
        for name in _TEXTS.get(kind, ()):
            if name in raw:
                raw[name] = self.text(raw[name])
        if kind is Kind.NODE:
            self._node(raw)
        elif kind is Kind.OBSERVED:
            for check in raw.get("checks", ()):
                check["message"] = self.text(check.get("message", ""))
        elif kind is Kind.JOB:
            _without_places(raw.get("arguments", {}), raw.get("result", {}))
        return raw

    def entry(self, entry: Entry) -> Entry:
        """Return a journal entry without secrets."""
        return replace(entry, message=self.text(entry.message), data=self._data(entry.data))

    def text(self, text: str) -> str:
        """Return a text with what is known to be secret hidden, and fit for any file."""
        found = self._known.get(text)
        if found is None:
            found = text.encode("utf-8", "backslashreplace").decode("utf-8")
            found = self._known[text] = _TOKEN.sub(self._token, found)
        return found

    def _token(self, match: re.Match[str]) -> str:
        shown, rest = "", match[0]
        while (hidden := self._hidden(rest)) is None and "=" in rest:
            key, _, rest = rest.partition("=")
            shown += f"{key}="
        return shown + (rest if hidden is None else hidden)

    def _hidden(self, token: str) -> str | None:
        """Return what is shown for a word that is, or begins with, something secret; None for others."""
        core = token.rstrip(_SENTENCE_ENDS)
        # Drivers add to the URL that was set, so that it cannot be known again: all are hidden.
        if "://" in core:
            return HIDDEN + token[len(core) :]
        for end in (len(core), *(at for at, letter in enumerate(core) if letter in _PATH_PARTS)):
            if core[:end] in self._secrets:
                return HIDDEN + token[end:]
        return None

    def _node(self, raw: dict[str, Any]) -> None:
        for name in ("power", "vmm"):
            if raw.get(name) is not None:
                raw[name] = {"driver": raw[name]["driver"]}
        for name, field in (("retry", "reason"), ("engagement", "why")):
            inner = raw.get(name)
            if inner is not None and field in inner:
                inner[field] = self.text(inner[field])

    def _data(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {key: inner if key in _OUR_WORDS else self._data(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self._data(inner) for inner in value]
        return value


def _settings(node: Node) -> Iterator[str]:
    """Yield what the settings of a node's drivers say: values, and the telling words of commands."""
    for endpoint in (node.power, node.vmm):
        for value in () if endpoint is None else endpoint.settings.values():
            words = _TOKEN.findall(value)
            telling = [
                word for before, word in zip(["", *words], words, strict=False) if _tells(before, word)
            ]
            behind = (word.partition("=")[2] for word in telling)
            yield from (word for word in (value, *telling, *behind) if len(word) >= _SHORTEST)


def _tells(before: str, word: str) -> bool:
    """Say whether a word of a command may be secret.

    One of letters alone is mostly `power` or `chassis`, and hiding that would hide what
    happened; not so behind an option, such as `-P`.
    """
    return before.startswith("-") or not word.isalpha()


def _names(fleet: Fleet) -> set[str]:
    """Return the names of things, which stay readable even where a setting is called the same."""
    addresses = {node.power_ip for node in fleet.nodes.values() if node.power_ip}
    drivers = {end.driver for node in fleet.nodes.values() for end in (node.power, node.vmm) if end}
    return {*fleet.nodes, *fleet.tiers, *map(str, fleet.images), *addresses, *drivers}

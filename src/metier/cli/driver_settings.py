"""Settings of drivers on the command line: secrets that are not typed there, and first contact with a server.

What is asked follows from what the controller tells of a driver's settings, and never from
the driver's name: a secret that must be given is asked for, and where there is a setting
`thumbprint`, the server's certificate is shown to be confirmed, as `ssh` does.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from metier.cli.client import Client, Request
from metier.cli.failure import NO_SUCH_THING, Failure, in_words, wrong_usage
from metier.cli.interview import ask
from metier.cli.output import printable
from metier.cli.parameters import file_text
from metier.cli.session import tell
from metier.operations.paths import ROOT

if TYPE_CHECKING:
    from metier.operations.registry import Operation

_FAMILIES = {"vmm": ("hypervisor", "vmm"), "power": ("power", "power_driver")}
"""By the option that names a driver: its family, and where the row of a node has its name."""


@dataclass(frozen=True, slots=True)
class _Given:
    """What a command line says of one driver, and what is recorded.

    Attributes:
        word: The option that names the driver: `vmm`, `power`.
        settings: Of the driver, as the controller tells them, by name.
        values: What was given, by name.
        recorded: Names of settings that the node has already.
    """

    word: str
    driver: str
    settings: Mapping[str, Mapping[str, Any]]
    values: Mapping[str, str]
    recorded: frozenset[str]

    def has(self, name: str) -> bool:
        """Say whether a setting is given or recorded."""
        return name in self.values or name in self.recorded


def with_settings(operation: "Operation", client: Client, values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the values of a command with what files, and whoever sits at the terminal, say of its drivers.

    Raises:
        Failure: A secret was typed on the command line, a file cannot be read, or the
            server's certificate is not trusted.
    """
    found = dict(values)
    for word in _words_of(operation):
        typed = tuple(found.get(f"{word}_setting") or ())
        files = tuple(found.pop(f"common_{word}_setting_file", ()))
        chosen = str(found.get(word) or (_usual(found, typed or files) if word == "vmm" else ""))
        if typed or files or chosen or (word == "vmm" and found.get("url")):
            filed = _from_files(word, files)
            found[f"{word}_setting"] = (*typed, *filed, *_told(client, word, {**found, word: chosen}, filed))
    return found


def _usual(values: Mapping[str, Any], settings: Sequence[str]) -> str:
    """Return the driver of a VM that is taken from a host that is no node, where none is named."""
    from metier.operations.image_vm import USUAL_DRIVER

    is_login = bool(values.get("user") or settings)
    return USUAL_DRIVER if is_login and values.get("vm") and values.get("url") else ""


def _words_of(operation: "Operation") -> list[str]:
    names = {part.name for part in operation.arguments}
    return [word for word in _FAMILIES if f"{word}_setting" in names]


def _told(client: Client, word: str, values: Mapping[str, Any], filed: Sequence[str]) -> list[str]:
    """Return the settings that are asked for; refuses secrets that were typed."""
    typed = _pairs(values.get(f"{word}_setting") or ())
    known = {**typed, **_pairs(filed)}
    if word == "vmm" and values.get("url"):
        known["url"] = values["url"]
    asked: list[str] = []
    for driver, recorded in _drivers(client, word, values).items():
        settings = _settings(client, word, driver)
        _refuse_typed_secrets(word, driver, settings, typed)
        given = _Given(word, driver, settings, {**known, **_pairs(asked)}, recorded)
        asked += _confirmed(client, given)
        if values.get(word):
            asked += _secrets(given)
    return asked


def _drivers(client: Client, word: str, values: Mapping[str, Any]) -> dict[str, frozenset[str]]:
    """Return the drivers that settings are for, each with the names of those that every node has already."""
    name = values.get("name")
    rows = [_node(client, one) for one in name] if isinstance(name, tuple) else []
    found: dict[str, frozenset[str]] = {}
    for row in rows:
        driver = row.get(_FAMILIES[word][1]) or ""
        recorded = frozenset(row.get(f"{word}_settings") or ())
        if values.get(word) and driver != values[word]:
            driver, recorded = values[word], frozenset()
        found[driver] = found.get(driver, recorded) & recorded
    if not rows and values.get(word):
        found[str(values[word])] = frozenset()
    found.pop("", None)
    return found


def _node(client: Client, name: str) -> Mapping[str, Any]:
    from urllib.parse import quote

    try:
        row: Mapping[str, Any] = client.ask(Request("GET", f"{ROOT}/nodes/{quote(name)}")).value
    except Failure as failure:
        if failure.exit_status != NO_SUCH_THING:
            raise
        return {}  # the change itself says so, and is done to the others
    return row


def _settings(client: Client, word: str, driver: str) -> Mapping[str, Mapping[str, Any]]:
    """Return what there is to set; nothing for a driver that the controller does not know and will refuse."""
    rows = client.rows(f"{ROOT}/drivers", {"family": _FAMILIES[word][0]})
    return {one["name"]: one for row in rows if row["name"] == driver for one in row["settings"]}


def _pairs(texts: Iterable[str]) -> dict[str, str]:
    parts = (text.partition("=") for text in texts)
    return {key: value for key, equals, value in parts if equals}


def _refuse_typed_secrets(
    word: str, driver: str, settings: Mapping[str, Mapping[str, Any]], typed: Iterable[str]
) -> None:
    for name in typed:
        if name in settings and settings[name]["is_secret"]:
            raise wrong_usage(
                f"cannot take {name} of driver {driver} from the command line: every process on this machine "
                "sees it there, and the shell's history keeps it",
                f"{_by_file(word, name)}; or leave it away on a terminal, to be asked for it",
            )


def _by_file(word: str, name: str) -> str:
    return f"give a file that holds it, with - for standard input: --{word}-setting-file {name}=FILE"


def _from_files(word: str, files: Sequence[str]) -> list[str]:
    """Return settings whose values are in files, without the one line end that editors leave there."""
    flag = f"--{word}-setting-file"
    if sum(text.endswith("=-") for text in files) > 1:
        raise wrong_usage(f"standard input can hold one setting, and {flag} names it twice")
    found = []
    for given in files:
        key, equals, name = given.partition("=")
        if not (key and equals and name):
            raise wrong_usage(f"{flag} {given!r} is not KEY=FILE", f"say for example {flag} password=FILE")
        text = file_text(name)
        text = text.removesuffix("\n").removesuffix("\r")
        if not text:
            raise wrong_usage(f"cannot take {key} from {name}: it is empty")
        found.append(f"{key}={text}")
    return found


def _secrets(given: _Given) -> list[str]:
    """Ask for each secret that must be given and is not; without echo."""
    found = []
    for name, row in given.settings.items():
        if not (row["is_secret"] and row["is_required"]) or given.has(name):
            continue
        if not _somebody_is_there():
            raise wrong_usage(
                f"driver {given.driver} lacks setting {name}, and nobody is there to be asked for it",
                _by_file(given.word, name),
            )
        value: str = click.prompt(f"{name} for driver {given.driver}", hide_input=True, err=True)
        found.append(f"{name}={value}")
    return found


def _confirmed(client: Client, given: _Given) -> list[str]:
    """Show the certificate of a server that is spoken to for the first time, and return what pins it."""
    url = given.values.get("url")
    is_settled = "thumbprint" not in given.settings or given.has("thumbprint") or given.has("ca")
    if url is None or is_settled or not _somebody_is_there():
        return []
    try:
        seen = client.ask(Request("GET", f"{ROOT}/nodes/certificate", {"url": url})).value
    except Failure as failure:
        tell(in_words(failure), "the certificate is looked at again when the node is inventoried")
        return []
    if seen["is_vouched_for"]:
        return []
    _show(seen)
    if not ask("trust it? [yes/no/the thumbprint that you expect]", lambda text: _answer(text, seen)):
        raise Failure(
            f"the certificate of {seen['url']} is not trusted, and nothing was changed",
            code="not-trusted",
            remedy="find out who runs that server; an authority's certificate is given as the setting ca",
        )
    return [f"thumbprint={seen['thumbprint']}"]


def _show(seen: Mapping[str, Any]) -> None:
    tell(printable(str(seen["doubt"])))
    for label in ("subject", "issuer", "valid_from", "valid_until", "thumbprint"):
        tell(f"  {label.replace('_', ' ')}: {printable(str(seen[label] or 'unknown'))}")
    tell("compare the SHA-256 thumbprint with what the server's own console shows")


def _answer(text: str, seen: Mapping[str, Any]) -> bool:
    """Return whether a certificate is trusted; raises ValueError."""
    word = text.lower()
    if word in ("yes", "no"):
        return word == "yes"
    if word.replace(":", "") == str(seen["thumbprint"]).replace(":", "").lower():
        return True
    raise ValueError("that is not its thumbprint; say yes, no, or the thumbprint that you expect")


def _somebody_is_there() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()

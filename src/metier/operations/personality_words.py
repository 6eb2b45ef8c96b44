"""From what an operator says of a personality to a `Personality`, for commands and site files alike."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any

from metier.domain.errors import WrongUsage
from metier.domain.personality import (
    NO_PERSONALITY,
    VALUES,
    PersonalFile,
    Personality,
    SeedForm,
    Variable,
)
from metier.operations.registry import Holds, option
from metier.operations.site_document import check_keys, mapping

DEFAULT_FORM = "default"

MOST_FILES = 100
MOST_SCRIPTS = 50
MOST_VARIABLES = 200
MOST_NAME_SERVERS = 6
LONGEST_TEXT = 1 << 20
"""All texts of one personality together, in characters."""
LONGEST_VALUE = 4096

_MODE = re.compile(r"0?[0-7]{3}", re.ASCII)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalityOptions:
    """What an operator can say about a personality; what is not given stays."""

    form: str | None = option(
        "how it reaches the guest; default: what fits the image",
        None,
        choices=(*(form.value for form in SeedForm), DEFAULT_FORM),
    )
    user_data: str | None = option(
        "a template for cloud-init or cloudbase-init; an empty name removes it",
        None,
        example="user-data.yaml",
        holds=Holds.FILE_TEXT,
    )
    unattend: str | None = option(
        "a template of Windows' answer file; an empty name takes the default one",
        None,
        example="unattend.xml",
        holds=Holds.FILE_TEXT,
    )
    add_file: tuple[str, ...] = option(
        "a file for the guest, as PATH=FILE[,MODE]; repeatable; nothing after the = removes it",
        (),
        example="/etc/motd=motd.txt,0644",
        holds=Holds.NAMED_FILE_TEXT,
    )
    script: tuple[str, ...] = option(
        "a script that runs once in each new instance; repeatable, takes the place of all before; "
        "an empty name removes them",
        (),
        example="first-boot.sh",
        holds=Holds.FILE_TEXT,
    )
    set: tuple[str, ...] = option(
        "a value for the templates, as NAME=VALUE; repeatable; nothing after the = removes it",
        (),
        example="role=db",
    )
    name_server: tuple[str, ...] = option(
        "a name server's address; repeatable, takes the place of all before; an empty word removes them",
        (),
        example="10.0.0.2",
    )

    @property
    def is_given(self) -> bool:
        """Whether anything is said."""
        words = (self.form, self.user_data, self.unattend)
        return any(word is not None for word in words) or any(
            (self.add_file, self.script, self.set, self.name_server)
        )


def personality_with(before: Personality, given: PersonalityOptions) -> Personality:
    """Return a personality with what was given put in its place.

    Raises:
        WrongUsage: Something is malformed, or there is too much of it.
    """
    after = before
    if given.form is not None:
        after = replace(after, form=None if given.form == DEFAULT_FORM else _form(given.form, "--form"))
    if given.user_data is not None:
        after = replace(after, user_data=given.user_data)
    if given.unattend is not None:
        after = replace(after, unattend=given.unattend)
    if given.add_file:
        after = replace(after, files=_with_files(before.files, given.add_file))
    if given.script:
        after = replace(after, scripts=tuple(filter(None, given.script)))
    if given.set:
        after = replace(after, variables=_with_variables(before.variables, given.set))
    if given.name_server:
        after = replace(after, name_servers=_name_servers(given.name_server))
    return _bounded(after)


_KEYS = ("form", "user_data", "unattend", "files", "scripts", "set", "name_servers")


def personality_from(value: Any, path: str) -> Personality:
    """Return the personality that a site file has at `path`: all of it, what it does not say is empty.

    Raises:
        WrongUsage: Something is malformed, or there is too much of it.
    """
    if value is None:
        return NO_PERSONALITY
    body = mapping(value, path)
    check_keys(body, _KEYS, path)
    form = body.get("form")
    values = mapping(body.get("set") or {}, f"{path}.set")
    pairs = {name: _word(part, f"{path}.set.{name}") for name, part in values.items()}
    servers = _list(body, "name_servers", path)
    return _bounded(
        Personality(
            form=None if form in (None, DEFAULT_FORM) else _form(str(form), f"{path}.form"),
            user_data=_text(body, "user_data", path),
            unattend=_text(body, "unattend", path),
            files=tuple(_file_from(one, where) for where, one in _list(body, "files", path)),
            scripts=tuple(_word(one, where) for where, one in _list(body, "scripts", path)),
            variables=_variables(pairs),
            name_servers=_name_servers(_word(one, where) for where, one in servers),
        )
    )


def _list(body: Mapping[str, Any], key: str, path: str) -> list[tuple[str, Any]]:
    value = body.get(key) or []
    if not isinstance(value, list):
        raise WrongUsage(f"{path}.{key}: expected a list")
    return [(f"{path}.{key}[{place}]", one) for place, one in enumerate(value)]


def _text(body: Mapping[str, Any], key: str, path: str) -> str:
    return "" if body.get(key) is None else _word(body[key], f"{path}.{key}")


def _word(value: Any, path: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise WrongUsage(f"{path}: expected a text, found {value!r:.60}")
    return str(value)


def _file_from(value: Any, path: str) -> PersonalFile:
    body = mapping(value, path)
    check_keys(body, ("path", "content", "mode"), path)
    if not body.get("path"):
        raise WrongUsage(f"{path}: path is missing")
    mode = body.get("mode", "0644")
    if not isinstance(mode, str):
        raise WrongUsage(f'{path}.mode: write it in quotes, as in "0644": YAML makes another number of it')
    return PersonalFile(_text(body, "path", path), _text(body, "content", path), _mode(mode))


def _form(text: str, where: str) -> SeedForm:
    try:
        return SeedForm(text)
    except ValueError as error:
        raise WrongUsage(f"{where} cannot be {text!r}; it can be: {', '.join(SeedForm)}") from error


def _with_files(before: Iterable[PersonalFile], given: Iterable[str]) -> tuple[PersonalFile, ...]:
    files = {file.path: file for file in before}
    for text in given:
        key, equals, content = text.partition("=")
        path, comma, mode = key.partition(",")
        if not equals or not path:
            raise WrongUsage(f"--add-file {text!r:.60} is not PATH=FILE", remedy="say /etc/motd=motd.txt")
        if content or comma:
            files[path] = PersonalFile(path, content, _mode(mode) if comma else "0644")
        else:
            files.pop(path, None)
    return tuple(files.values())


def _mode(text: str) -> str:
    if not _MODE.fullmatch(text):
        raise WrongUsage(f"{text!r} is no mode of a file", remedy="say for example 0644")
    return text.zfill(4)


def _with_variables(before: Iterable[Variable], given: Iterable[str]) -> tuple[Variable, ...]:
    pairs = dict(before)
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise WrongUsage(f"--set {text!r:.60} is not NAME=VALUE", remedy="say for example role=db")
        pairs[name] = value
    return _variables(pairs)


def _variables(pairs: Mapping[str, str]) -> tuple[Variable, ...]:
    for name, value in pairs.items():
        if name in VALUES:
            raise WrongUsage(f"value {name} cannot be set: every slot has one of its own")
        if not _NAME.fullmatch(name):
            raise WrongUsage(f"{name!r:.60} is no name for a value", remedy="use letters, digits and _")
        if len(value) > LONGEST_VALUE:
            raise WrongUsage(f"value {name} has {len(value)} characters, more than {LONGEST_VALUE}")
    return tuple(Variable(name, value) for name, value in sorted(pairs.items()) if value)


def _name_servers(given: Iterable[str]) -> tuple[str, ...]:
    found = []
    for text in filter(None, given):
        try:
            found.append(str(ip_address(text)))
        except ValueError as error:
            raise WrongUsage(
                f"name server {text!r} is no address", remedy="say for example 10.0.0.2"
            ) from error
    return tuple(dict.fromkeys(found))


def _bounded(personality: Personality) -> Personality:
    """Return it, or raise WrongUsage for what no guest needs and no store should keep for each slot."""
    paths = [file.path for file in personality.files]
    if len(set(paths)) < len(paths):
        raise WrongUsage("a personality has two files of one path", remedy="leave one of them out")
    for what, count, most in (
        ("files", len(paths), MOST_FILES),
        ("scripts", len(personality.scripts), MOST_SCRIPTS),
        ("values", len(personality.variables), MOST_VARIABLES),
        ("name servers", len(personality.name_servers), MOST_NAME_SERVERS),
        ("characters in its texts", sum(map(len, personality.texts.values())), LONGEST_TEXT),
    ):
        if count > most:
            raise WrongUsage(
                f"a personality has {count} {what}, more than {most}",
                remedy="put what is large into the image, or let a script fetch it",
            )
    return personality

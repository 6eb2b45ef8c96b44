"""Reads a parsed site file: known keys only, each of the right type, faults named by path."""

import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any, Union, get_args, get_origin, get_type_hints

from metier.domain.errors import WrongUsage

Body = Mapping[str, Any]

# The JSON of lists and shows is what people copy into a site file, so its keys are taken as well.
ALIASES: Mapping[str, Mapping[str, str]] = {
    "nodes": {
        "attributes": "attribute",
        "power_ip": "address",
        "vmm_settings": "vmm_setting",
        "power_settings": "power_setting",
    },
    "tiers": {
        "attributes": "attribute",
        "networks": "network",
        "memory_mib": "memory",
        "disk_gib": "disk",
        "collectors": "collector",
        "startup_s": "startup_seconds",
        "shutdown_s": "shutdown_seconds",
        "hostnames": "hostname",
        "slot_addresses": "slot_address",
    },
    "images": {
        "attributes": "attribute",
        "networks": "network",
        "disk_gib": "disk",
        "collectors": "collector",
        "startup_s": "startup_seconds",
    },
}


def mapping(value: Any, path: str) -> Body:
    """Return `value` if it is a mapping with words as keys; raises WrongUsage naming `path`."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise WrongUsage(f"{path}: expected a mapping of words to values, found {_kind(value)}")
    return value


def entries(document: Body, section: str, name_key: str = "name") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield path and body of each thing in a section: a list of mappings, or a mapping by name.

    Raises:
        WrongUsage: The section has another form, or an entry lacks its name.
    """
    value = document.get(section)
    if value is None:
        return
    if isinstance(value, Mapping):
        for name, body in mapping(value, section).items():
            path = f"{section}.{name}"
            body = mapping({} if body is None else body, path)
            if name_key in body:
                raise WrongUsage(f"{path}.{name_key}: the name stands before it already")
            yield path, {name_key: name, **body}
        return
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise WrongUsage(f"{section}: expected a list, found {_kind(value)}")
    for place, body in enumerate(value):
        path = f"{section}[{place}]"
        body = {name_key: body} if isinstance(body, str) else mapping(body, path)
        if not isinstance(body.get(name_key), str):
            raise WrongUsage(f"{path}: {name_key} is missing")
        yield path, dict(body)


def renamed(body: Body, section: str, path: str) -> dict[str, Any]:
    """Return `body` with the keys that the section's commands use.

    Raises:
        WrongUsage: A key is given in two spellings.
    """
    found: dict[str, Any] = {}
    for key, value in body.items():
        name = ALIASES[section].get(key, key)
        if name in found:
            raise WrongUsage(f"{path}.{key}: the same is given twice, as {key} and as {name}")
        found[name] = value
    return found


def check_keys(body: Body, known: Sequence[str], path: str) -> None:
    """Raise WrongUsage at the first key that is not known."""
    for key in body:
        if key not in known:
            place = f"{path}.{key}" if path else key
            raise WrongUsage(f"{place}: there is no such setting; there are: {', '.join(sorted(known))}")


def arguments_from(arguments_type: type[Any], body: Body, path: str) -> Any:
    """Return the arguments of an operation from the mapping that a site file has for it.

    Raises:
        WrongUsage: A key is unknown, or a value has the wrong type; the message has its path.
    """
    hints = get_type_hints(arguments_type)
    check_keys(body, tuple(hints), path)
    values = {key: _typed(value, hints[key], f"{path}.{key}") for key, value in body.items()}
    missing = [
        part.name for part in fields(arguments_type) if part.default is MISSING and part.name not in values
    ]
    if missing:
        raise WrongUsage(f"{path}: {', '.join(missing)} is missing")
    return arguments_type(**values)


def _typed(value: Any, hint: Any, path: str) -> Any:
    choices = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    if value is None and type(None) in choices:
        return None
    wanted = next(choice for choice in choices if choice is not type(None))
    if get_origin(wanted) is tuple:
        return _texts(value, path)
    if wanted is bool and isinstance(value, bool):
        return value
    if wanted is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if wanted is str and isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    words = {bool: "true or false", int: "a whole number", str: "a text"}
    raise WrongUsage(f"{path}: expected {words.get(wanted, 'another value')}, found {_kind(value)}")


def _texts(value: Any, path: str) -> tuple[str, ...]:
    """Return repeatable options: a list of texts, or KEY=VALUE from a mapping; an empty list removes all."""
    if isinstance(value, Mapping):
        return tuple(f"{key}={_typed(part, str, f'{path}.{key}')}" for key, part in value.items())
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, Sequence):
        raise WrongUsage(f"{path}: expected a list of texts, found {_kind(value)}")
    return tuple(_typed(part, str, f"{path}[{place}]") for place, part in enumerate(value)) or ("",)


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "a list"
    return repr(value)[:60]

"""The values in an `ova.xml`: those of XML-RPC."""

from metier.domain.errors import Refusal
from metier.drivers.formats.markup import Element, parse_markup

Value = str | int | bool | float | None | list["Value"] | dict[str, "Value"]
Record = dict[str, Value]


def parse_values(data: bytes, file: str) -> Record:
    """Read the one value that an `ova.xml` holds, which is a struct.

    Raises:
        Refusal: It is no such text.
    """
    root = parse_markup(data, file)
    if root.name == "appliance":
        raise Refusal(
            f"cannot import {file}: it is of the first version of the format (XenEnterprise 3 and 4)",
            remedy="import it into a newer XenServer or XCP-ng, and export it from there: xe vm-export",
        )
    value = _value(root, file)
    if not isinstance(value, dict):
        raise Refusal(f"cannot read {file}: it is no description of a Xen guest")
    return value


def _value(element: Element, file: str) -> Value:
    """Return what a `<value>` holds; depth is bounded by the parser."""
    if element.name != "value":
        raise _odd(file, element)
    if not element.children:
        return element.text
    (inner, *more) = element.children
    if more:
        raise _odd(file, element)
    match inner.name:
        case "struct":
            return {member.text_of("name"): _member(member, file) for member in inner.children}
        case "array":
            return [_value(item, file) for item in inner.each("data", "value")]
        case "string" | "dateTime.iso8601" | "double" | "base64":
            return inner.text
        case "int" | "i4" | "i8":
            return _number(inner, file)
        case "boolean":
            return inner.text.strip() in ("1", "true")
        case "nil":
            return None
        case _:
            raise _odd(file, inner)


def _member(member: Element, file: str) -> Value:
    value = member.first("value")
    if member.name != "member" or value is None:
        raise _odd(file, member)
    return _value(value, file)


def _number(element: Element, file: str) -> int:
    text = element.text.strip()
    if len(text) > 20 or not text.removeprefix("-").isdigit() or not text.isascii():
        raise _odd(file, element)
    return int(text)


def _odd(file: str, element: Element) -> Refusal:
    return Refusal(f"cannot read {file}: {element.name[:40]!r} stands where no product writes it")


def text(record: Record, key: str) -> str:
    """Return a text of a record; empty where there is none."""
    value = record.get(key)
    return value if isinstance(value, str) else ""


def number(record: Record, key: str) -> int:
    """Return a number of a record, which are written as texts; 0 where there is none."""
    value = record.get(key)
    if isinstance(value, int):
        return max(value, 0)
    words = value.strip() if isinstance(value, str) else ""
    return int(words) if words.isascii() and words.isdigit() and len(words) < 19 else 0


def texts(record: Record, key: str) -> list[str]:
    """Return a list of texts of a record."""
    value = record.get(key)
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def record(outer: Record, key: str) -> Record:
    """Return a record within a record; an empty one where there is none."""
    value = outer.get(key)
    return value if isinstance(value, dict) else {}

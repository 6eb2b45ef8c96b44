"""Reads XML that comes from outside into small trees, without entities and within bounds."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from xml.parsers import expat

from metier.domain.errors import Refusal

_DEPTH = 64

# An appliance's description has some hundreds; a pool's metadata some ten thousand.
_ELEMENTS = 200_000


@dataclass(slots=True)
class Element:
    """One element; names are without their namespace.

    Attributes:
        text: What stands in it before its first child.
    """

    name: str
    attributes: Mapping[str, str]
    children: list["Element"] = field(default_factory=list)
    text: str = ""

    def each(self, *path: str) -> Iterator["Element"]:
        """Yield the elements at a path of names below this one."""
        first, *rest = path
        for child in self.children:
            if child.name == first:
                yield from child.each(*rest) if rest else (child,)

    def first(self, *path: str) -> "Element | None":
        """Return the first element at a path of names."""
        return next(self.each(*path), None)

    def text_of(self, *path: str) -> str:
        """Return the text of the first element at a path, stripped; empty where there is none."""
        found = self.first(*path)
        return found.text.strip() if found is not None else ""

    def get(self, name: str, default: str = "") -> str:
        """Return an attribute."""
        return self.attributes.get(name, default)


class _Builder:
    """Builds the tree as the parser goes along."""

    def __init__(self, file: str) -> None:
        self.root: Element | None = None
        self._file = file
        self._open: list[Element] = []
        self._count = 0

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        self._count += 1
        if self._count > _ELEMENTS or len(self._open) >= _DEPTH:
            raise Refusal(f"cannot read {self._file}: it has too many elements, or too deep ones")
        bare = {_local(key): value for key, value in attributes.items()}
        element = Element(_local(name), bare)
        if self._open:
            self._open[-1].children.append(element)
        else:
            self.root = element
        self._open.append(element)

    def end(self, _name: str) -> None:
        self._open.pop()

    def text(self, data: str) -> None:
        if self._open and not self._open[-1].children:
            self._open[-1].text += data

    def doctype(self, *_: object) -> None:
        raise Refusal(
            f"cannot read {self._file}: it defines a document type, which no product writes",
            remedy="export the VM again",
        )


def parse_markup(data: bytes, file: str) -> Element:
    """Read an XML file.

    Raises:
        Refusal: It is none, defines a document type or entities, or is too deep or too large.
    """
    builder = _Builder(file)
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.text
    parser.StartDoctypeDeclHandler = builder.doctype
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise Refusal(f"cannot read {file}: it is no XML", remedy="export the VM again") from error
    if builder.root is None:
        raise Refusal(f"cannot read {file}: it is empty")
    return builder.root


def _local(name: str) -> str:
    return name.rpartition(" ")[2]

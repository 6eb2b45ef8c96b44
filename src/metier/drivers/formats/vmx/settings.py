"""The text of a `.vmx` file: lines of `key = "value"`."""

import re
from collections.abc import Iterator

from metier.domain.errors import Refusal

_ENCODING = re.compile(
    rb'^[ \t]*\.encoding[ \t]*=[ \t]*"([A-Za-z0-9._-]{1,32})"', re.MULTILINE | re.IGNORECASE
)
_ESCAPE = re.compile(r"\|([0-9A-Fa-f]{2})")

# What VMware writes, by Python's names for it; codecs that do more than map bytes to letters stay out.
_CODECS = {
    "utf-8": "utf-8",
    "us-ascii": "ascii",
    "ascii": "ascii",
    "gbk": "gbk",
    "gb18030": "gb18030",
    "big5": "big5",
    "shift_jis": "cp932",
    "windows-31j": "cp932",
    "euc-jp": "euc_jp",
    "euc-kr": "euc_kr",
} | {f"windows-{page}": f"cp{page}" for page in (874, *range(1250, 1259))}
_CODECS |= {f"iso-8859-{part}": f"iso8859_{part}" for part in (*range(1, 12), *range(13, 17))}

_KEYS = 20_000


class Settings:
    """What a `.vmx` file says, by keys in lower case; remembers which keys were asked for."""

    def __init__(self, values: dict[str, str], file: str, remarks: tuple[str, ...] = ()) -> None:
        self.file = file
        self.remarks = remarks
        self._values = values
        self._asked: set[str] = set()

    def text(self, key: str, default: str = "") -> str:
        """Return a value, or the default where the file says nothing."""
        self._asked.add(key.lower())
        return self._values.get(key.lower(), default)

    def flag(self, key: str, *, default: bool = False) -> bool:
        """Return whether a value is true, as VMware reads it."""
        value = self.text(key).strip().lower()
        return value in ("true", "yes", "1", "on", "t", "y") if value else default

    def number(self, key: str, most: int) -> int:
        """Return a number from 0 to `most`; 0 where the file says nothing.

        Raises:
            Refusal: It is no such number.
        """
        value = self.text(key).strip()
        if not value:
            return 0
        if not (value.isascii() and value.isdigit() and len(value) < 10 and int(value) <= most):
            raise Refusal(
                f"cannot use {self.file}: {key} is {value[:40]!r}, and must be a number from 0 to {most}",
                remedy="correct the .vmx and pack the archive again",
            )
        return int(value)

    def matching(self, pattern: re.Pattern[str]) -> Iterator[re.Match[str]]:
        """Yield the matches of `pattern` with whole keys, in order of the file."""
        for key in self._values:
            if match := pattern.fullmatch(key):
                yield match

    def not_asked(self) -> list[str]:
        """Return the keys nobody has asked for, in order of the file."""
        return [key for key in self._values if key not in self._asked]


def parse_vmx(data: bytes, file: str) -> Settings:
    """Read a `.vmx` file's text.

    Keys do not depend on case.  `|22` stands for a quotation mark, and so on.

    Raises:
        Refusal: It is no such text, or gives one key two different values, as VMware refuses too.
    """
    text, remarks = _decoded(data, file)
    values: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        pair = _key_and_value(stripped)
        if pair is None:
            what = f'line {number} is not of the form key = "value": {stripped[:60]!r}'
            raise Refusal(f"cannot read {file}: {what}")
        _add(values, pair, file, number)
    if not values:
        raise Refusal(f"cannot read {file}: it says nothing")
    return Settings(values, file, remarks)


def _key_and_value(line: str) -> tuple[str, str] | None:
    """Take a line apart; None if it is none.  By hand, because a pattern could be made to run for hours."""
    key, equals, rest = (part.strip() for part in line.partition("="))
    if not equals or not key or any(char in key for char in ' \t"'):
        return None
    if not rest.startswith('"'):
        value = rest.partition("#")[0].rstrip()
        return None if '"' in value else (key.lower(), value)
    value, quote, after = rest[1:].partition('"')
    after = after.strip()
    if not quote or (after and not after.startswith("#")):
        return None
    return key.lower(), _ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), value)


def _add(values: dict[str, str], pair: tuple[str, str], file: str, line: int) -> None:
    key, value = pair
    if values.setdefault(key, value) != value:
        raise Refusal(
            f"cannot use {file}: line {line} gives {key} the value {value[:60]!r},"
            f" and a line before it {values[key][:60]!r}",
            remedy="remove one of the two lines and pack the archive again",
        )
    if len(values) > _KEYS:
        raise Refusal(f"cannot read {file}: it has more than {_KEYS} keys, which is the limit")


def _decoded(data: bytes, file: str) -> tuple[str, tuple[str, ...]]:
    if b"\0" in data:
        raise Refusal(f"cannot read {file}: it holds zero bytes, so it is no text")
    declared = _ENCODING.search(data)
    wanted = declared[1].decode("ascii").lower() if declared else "utf-8"
    codec = _CODECS.get(wanted)
    try:
        if codec is not None:
            return data.decode("utf-8-sig" if codec == "utf-8" else codec), ()
    except UnicodeDecodeError:
        pass  # old products wrote what the system spoke and declared nothing
    remark = f"{file} is not in the encoding {wanted}; it was read as windows-1252"
    return data.decode("cp1252", "replace"), (remark,)

"""What `metier.toml` in the state folder says of the image matrix.

[matrix]
folders = ["/srv/images-2"]   more folders, each on a file system of its own
low_space_percent = 10        a folder with less free than this …
low_space_gib = 20            … and than this raises an alert; whichever is less counts
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metier.domain.errors import Refusal

SETTINGS = "metier.toml"

_KEYS = ("folders", "low_space_percent", "low_space_gib")
_MOST_FOLDERS = 64
_MOST_GIB = 1 << 20
_LONGEST = 1 << 20


@dataclass(frozen=True, slots=True)
class MatrixSettings:
    """How the image matrix is set up.

    Attributes:
        folders: Besides the one in the state folder.
        low_space_percent: 0 to 100; 0 raises no alert.
        low_space_gib: In GiB, 0 to 1,048,576.
    """

    folders: tuple[Path, ...] = ()
    low_space_percent: int = 10
    low_space_gib: int = 20


def read_settings(state: Path) -> MatrixSettings:
    """Return what the state folder's `metier.toml` says, or the defaults where there is none.

    Raises:
        Refusal: It cannot be read, or says what has no meaning.
    """
    path = state / SETTINGS
    try:
        with path.open("rb") as file:
            content = tomllib.loads(file.read(_LONGEST).decode("utf-8"))
    except FileNotFoundError:
        return MatrixSettings()
    except (OSError, ValueError) as error:
        raise Refusal(
            f"cannot read {path}", remedy="mend it, or move it away to take the defaults"
        ) from error
    _refuse_unknown(path, content, ("matrix",), "")
    matrix = content.get("matrix", {})
    if not isinstance(matrix, dict):
        raise _wrong(path, "matrix must be a table: [matrix]")
    _refuse_unknown(path, matrix, _KEYS, "matrix.")
    return MatrixSettings(
        _folders(path, matrix.get("folders", [])),
        _number(path, matrix, "low_space_percent", 10, 100),
        _number(path, matrix, "low_space_gib", 20, _MOST_GIB),
    )


def _refuse_unknown(path: Path, table: Mapping[str, Any], known: tuple[str, ...], prefix: str) -> None:
    unknown = sorted(set(table) - set(known))
    if unknown:
        raise _wrong(
            path, f"{prefix}{unknown[0]} is unknown; there are: {', '.join(prefix + key for key in known)}"
        )


def _folders(path: Path, value: Any) -> tuple[Path, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) and one.startswith("/") for one in value):
        raise _wrong(path, 'matrix.folders must be a list of absolute paths: ["/srv/images-2"]')
    if len(set(value)) != len(value) or len(value) > _MOST_FOLDERS:
        raise _wrong(path, f"matrix.folders must name each folder once, and at most {_MOST_FOLDERS}")
    return tuple(Path(one) for one in value)


def _number(path: Path, table: Mapping[str, Any], key: str, default: int, most: int) -> int:
    value = table.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise _wrong(path, f"matrix.{key} must be a whole number from 0 to {most}")
    return value


def _wrong(path: Path, why: str) -> Refusal:
    return Refusal(f"cannot use {path}: {why}", remedy="mend it, then start the controller again")

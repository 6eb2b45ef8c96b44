"""The files of the repository, as the tidy tests read them."""

import functools
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Where code lives; a folder that does not exist yet holds no files.
CODE_FOLDERS = ("src", "tests", "tools", "bench")


@dataclass(frozen=True, slots=True)
class Source:
    """One file: its path from the root of the repository, with forward slashes, and its text."""

    path: str
    text: str


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One breach of a rule, printed as a compiler would."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: error: {self.message}"


def report(findings: list[Finding]) -> str:
    """Return one line for each finding, for an assertion's message."""
    return "\n" + "\n".join(str(finding) for finding in sorted(findings))


@functools.cache
def repository_paths() -> tuple[str, ...]:
    """Return every file that is or would be committed; in an unpacked source distribution, every file."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode == 0:
        paths = {path for path in listing.stdout.split("\0") if path and (ROOT / path).is_file()}
    else:
        hidden = (path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file())
        paths = {path.as_posix() for path in hidden if not any(part[0] == "." for part in path.parts)}
    return tuple(sorted(path for path in paths if "__pycache__" not in path))


@functools.cache
def text_files() -> tuple[Source, ...]:
    """Return every file of the repository that holds text."""
    sources = []
    for path in repository_paths():
        try:
            sources.append(Source(path, (ROOT / path).read_text(encoding="utf-8")))
        except (UnicodeDecodeError, FileNotFoundError):
            continue  # a picture or an archive, or a file that another program took away meanwhile
    return tuple(sources)


def python_files(*folders: str) -> list[Source]:
    """Return the Python files below the given folders of the root."""
    return [
        source
        for source in text_files()
        if source.path.endswith(".py") and source.path.split("/")[0] in folders
    ]

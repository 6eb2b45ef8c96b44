"""Which tests prove what: found by the rule and acceptance numbers that they name.

A test names `R-SHRINK-2`, `S47` or `P21` in its docstring or in a comment, also one
right above it; a rule in its own name too (`test_r_shrink_2_it_waits`), and tests of
planning and of operations in their code.  What a module's own docstring or a
comment outside all functions names, the whole file proves.  `S52-S56` names five.  A
test that proves more than it names is listed in `acceptance.toml`.
"""

import ast
import io
import re
import tokenize
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from tools.docs.places import ACCEPTANCE, ROOT

RULE = re.compile(r"\bR-[A-Z]{3,}(?:-\d+)?\b")
_RULE_IN_NAME = re.compile(r"test_r_([a-z]{3,})_(\d+)_")
_NUMBER = re.compile(r"\b([SP])([1-9]\d?)(?:\s?[-–…]\s?(?:\1)([1-9]\d?))?\b")

# Elsewhere a rule in code is an example of how one is shown, stored or sent.
_ABOUT_RULES = frozenset(("domain", "planner", "operations", "control", "scenarios", "simulation", "e2e"))

Span = tuple[int, int]
"""First and last line, both counted."""


class Proof(NamedTuple):
    """One test, or with an empty name all tests of a file."""

    path: str
    name: str

    def __str__(self) -> str:
        return f"`{self.path}`" + (f" {self.name}" if self.name else "")


class Naming(NamedTuple):
    """A number, and the line of the file that names it."""

    number: str
    line: int


def collect(root: Path = ROOT) -> Mapping[str, tuple[Proof, ...]]:
    """Return the proofs of every rule and acceptance number, in file order."""
    found: dict[str, dict[Proof, None]] = {}
    for path in files(root):
        text = path.read_text(encoding="utf-8")
        for number, proof in proofs_in(path.relative_to(root).as_posix(), text):
            found.setdefault(number, {})[proof] = None
    for number, proof in _told(root):
        found.setdefault(number, {})[proof] = None
    for number, proofs in listed().items():
        found.setdefault(number, {}).update(dict.fromkeys(proofs))
    return {number: _nearest(sorted(proofs)) for number, proofs in found.items()}


def _told(root: Path) -> Iterator[tuple[str, Proof]]:
    """Yield what stories prove: the numbers in their comment from `# Proves` on."""
    for path in sorted((root / "tests/scenarios").glob("*.txt")):
        _, begins, rest = path.read_text(encoding="utf-8").partition("# Proves")
        words = "".join(takewhile(lambda line: line.startswith("#"), f"#{rest}".splitlines(keepends=True)))
        if begins:
            for number in numbers_in(words):
                yield number, Proof(path.relative_to(root).as_posix(), "")


def listed() -> Mapping[str, tuple[Proof, ...]]:
    """Return the proofs that are listed by hand."""
    table = tomllib.loads(ACCEPTANCE.read_text(encoding="utf-8"))["proofs"]
    return {number: tuple(map(_proof, entries)) for number, entries in table.items()}


def _proof(entry: str) -> Proof:
    path, _, name = entry.partition("::")
    return Proof(f"tests/{path}", name)


def lost(root: Path = ROOT) -> list[str]:
    """Say which of the tests that are listed by hand do not exist."""
    named = dict.fromkeys(proof for proofs in listed().values() for proof in proofs)
    missing = [proof for proof in named if not _is_there(root, proof)]
    return [f"acceptance.toml lists {proof.path}::{proof.name}, which is no test" for proof in missing]


def _is_there(root: Path, proof: Proof) -> bool:
    path = root / proof.path
    return path.is_file() and f"def {proof.name}(" in path.read_text(encoding="utf-8")


def files(root: Path) -> list[Path]:
    """Return the files that hold tests, the suites of contracts too; style tests prove no behaviour."""
    found = [*(root / "tests").rglob("test_*.py"), *(root / "tests").rglob("*_suite.py")]
    return sorted(path for path in found if "tidy" not in path.parts)


def proofs_in(path: str, text: str) -> Iterator[tuple[str, Proof]]:
    """Yield what one file names, with the test that names it."""
    tree = ast.parse(text)
    comments = _comments(text)
    tests = _tests(tree, comments)
    functions = [
        (node.lineno, node.end_lineno or 0)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    for _, name in tests:
        if match := _RULE_IN_NAME.match(name):
            yield f"R-{match[1].upper()}-{match[2]}", Proof(path, name)
    in_words = set(_in_words(tree, comments))
    is_about_rules = not _ABOUT_RULES.isdisjoint(Path(path).parts)
    in_code = set(_rules_in_code(text)) if is_about_rules else set()
    for naming in sorted(in_words | in_code, key=lambda naming: naming.line):
        test = next((name for (first, last), name in tests if first <= naming.line <= last), None)
        if test is not None:
            yield naming.number, Proof(path, test)
        elif naming in in_words and not any(first <= naming.line <= last for first, last in functions):
            yield naming.number, Proof(path, "")


def _tests(tree: ast.Module, comments: Mapping[int, str]) -> list[tuple[Span, str]]:
    """Return the tests of a file, each from the comment above it to its end."""
    tests = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            while first - 1 in comments:
                first -= 1
            tests.append(((first, node.end_lineno or node.lineno), node.name))
    return tests


def _in_words(tree: ast.Module, comments: Mapping[int, str]) -> Iterator[Naming]:
    """Yield what docstrings and comments name."""
    for line, comment in comments.items():
        yield from (Naming(number, line) for number in numbers_in(comment))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node)
            if docstring is not None:
                yield from (Naming(number, node.body[0].lineno) for number in numbers_in(docstring))


def numbers_in(words: str) -> list[str]:
    """Return the rules and acceptance numbers that a text names, ranges in full."""
    numbers = RULE.findall(words)
    for match in _NUMBER.finditer(words):
        first, last = int(match[2]), int(match[3] or match[2])
        numbers += [f"{match[1]}{number}" for number in range(first, last + 1)]
    return numbers


def _rules_in_code(text: str) -> Iterator[Naming]:
    for number, line in enumerate(text.splitlines(), 1):
        yield from (Naming(rule, number) for rule in RULE.findall(line))


def _comments(text: str) -> dict[int, str]:
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return {token.start[0]: token.string for token in tokens if token.type == tokenize.COMMENT}


def _nearest(proofs: Iterable[Proof]) -> tuple[Proof, ...]:
    """Leave out a whole file where single tests of it are known."""
    given = list(proofs)
    single = {proof.path for proof in given if proof.name}
    return tuple(proof for proof in given if proof.name or proof.path not in single)

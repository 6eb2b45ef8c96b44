"""Nothing grows too large to read at a sitting."""

import ast
from collections.abc import Iterator

from tests.tidy.sources import CODE_FOLDERS, Finding, Source, python_files, report

# Of the well-kept code that the house style measured, under 2 % of functions are longer than this.
FUNCTION_LINES = 70
# Aim for 400; past this a module hides more than one noun.
MODULE_LINES = 600

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.AST) -> Iterator[Function]:
    """Yield every function and method, inner ones too."""
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def function_lines(function: Function) -> int:
    """Return the length of a function from its `def` on, without its docstring."""
    first = function.body[0]
    is_docstring = (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    )
    docstring = lines(first) if is_docstring else 0
    return lines(function) - docstring


def lines(node: ast.stmt) -> int:
    """Return how many lines a statement takes."""
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def size_findings(source: Source) -> list[Finding]:
    """Return what is too large in one Python file."""
    findings = [
        Finding(
            source.path,
            function.lineno,
            f"function {function.name} of {length} lines is banned, use smaller ones: "
            f"at most {FUNCTION_LINES} lines",
        )
        for function in functions(ast.parse(source.text))
        if (length := function_lines(function)) > FUNCTION_LINES
    ]
    length = len(source.text.splitlines())
    if length > MODULE_LINES:
        message = f"a module of {length} lines is banned, use one for each noun: at most {MODULE_LINES} lines"
        findings.append(Finding(source.path, MODULE_LINES + 1, message))
    return findings


def test_functions_and_modules_stay_small() -> None:
    findings = [finding for source in python_files(*CODE_FOLDERS) for finding in size_findings(source)]
    assert not findings, report(findings)


# --- The checker itself ---------------------------------------------------------------------------


def findings_in(text: str) -> list[str]:
    """Return what the checker says of a planted module."""
    return [str(finding) for finding in size_findings(Source("src/metier/planted.py", text))]


def test_a_function_one_line_too_long_is_found() -> None:
    line = "    pass\n"
    (found,) = findings_in(f"\ndef grow():\n{line * FUNCTION_LINES}")
    assert found == (
        "src/metier/planted.py:2: error: function grow of 71 lines is banned, "
        "use smaller ones: at most 70 lines"
    )
    assert not findings_in(f"def grow():\n{line * (FUNCTION_LINES - 1)}")


def test_a_docstring_does_not_count() -> None:
    docstring = '    """Say\n' + "    much.\n" * FUNCTION_LINES + '    """\n'
    assert not findings_in(f"async def grow():\n{docstring}    pass\n")


def test_a_method_inside_a_class_inside_a_function_counts() -> None:
    body = "            pass\n" * FUNCTION_LINES
    found = findings_in(f"def outer():\n    class Inner:\n        def grow(self):\n{body}")
    assert [message.split(" of ")[0].split("function ")[1] for message in found] == ["outer", "grow"]


def test_a_module_one_line_too_long_is_found() -> None:
    (found,) = findings_in("x = 1\n" * (MODULE_LINES + 1))
    assert found == (
        "src/metier/planted.py:601: error: a module of 601 lines is banned, "
        "use one for each noun: at most 600 lines"
    )
    assert not findings_in("x = 1\n" * MODULE_LINES)

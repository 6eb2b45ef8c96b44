"""Renders templates that operators wrote, in a process of its own that can do nothing else.

It is run by its path, with Python's isolated mode, and knows nothing of Metier: it reads one
request as JSON from its standard input and writes one answer as JSON.  A template may loop for
ever, or ask for all memory there is: then this process ends, and nothing else does.

    {"templates": {"user-data": "…"}, "values": [{"hostname": "web-1", …}, …]}
    {"texts": [{"user-data": "…"}, …]}
    {"fault": "…", "template": "user-data", "line": 3, "column": 7, "place": 0}
"""

import json
import re
import resource
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping
from typing import Any

import jinja2
import yaml
from jinja2 import meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

OUTPUT_LIMIT = 1 << 20
"""The most characters that one template may become."""

MEMORY_LIMIT = 1 << 29
CPU_LIMIT_S = 8

_FOREIGN = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)
_TAG = re.compile(r"\{[{%]")
_NAME = re.compile(r"'([A-Za-z_][A-Za-z0-9_]*)'")


class Fault(Exception):
    """A template cannot be rendered; says where, as far as that is known."""

    def __init__(self, why: str, line: int | None, source: str, name: str = "") -> None:
        super().__init__(why)
        self.why, self.line = why, line
        self.column = None if line is None else column_of(source, line, name)


def environment() -> ImmutableSandboxedEnvironment:
    """Return what templates are read and rendered with: no files, no chance, nothing undefined."""
    found = ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    # The same values must always give the same text.
    del found.filters["random"], found.globals["lipsum"]
    return found


def column_of(source: str, line: int, name: str = "") -> int:
    """Return where on a line a name stands, counted from 1; else where its first tag begins."""
    lines = source.splitlines()
    text = lines[line - 1] if 0 < line <= len(lines) else ""
    match = re.search(rf"\b{re.escape(name)}\b", text) if name else None
    match = match or _TAG.search(text)
    return match.start() + 1 if match else 1


def compiled(env: ImmutableSandboxedEnvironment, source: str, known: Iterable[str]) -> jinja2.Template:
    """Return a template ready to be rendered; raises Fault if it is none, or asks for what is not there."""
    try:
        check(env, source, known)
        return env.from_string(source)
    except jinja2.TemplateSyntaxError as error:
        raise Fault(lowered(error.message or "it is no template"), error.lineno, source) from error


def check(env: ImmutableSandboxedEnvironment, source: str, known: Iterable[str]) -> None:
    """Raise Fault for what asks for other templates, or has a name that nobody defines."""
    tree = env.parse(source)
    for kind in _FOREIGN:
        for foreign in tree.find_all(kind):
            raise Fault(f"{kind.__name__.lower()} is not allowed", foreign.lineno, source)
    set_here = {node.name for node in tree.find_all(nodes.Name) if node.ctx != "load"}
    unknown = meta.find_undeclared_variables(tree) - set(known) - asked_for(tree) - set_here
    for node in tree.find_all(nodes.Name):
        if node.name in unknown:
            names = ", ".join(sorted(known))
            raise Fault(f"{node.name!r} is undefined; there are: {names}", node.lineno, source, node.name)


def asked_for(tree: nodes.Template) -> set[str]:
    """Return the names that a template asks about before it uses them."""
    found = [test.node for test in tree.find_all(nodes.Test) if test.name in ("defined", "undefined")]
    found += [one.node for one in tree.find_all(nodes.Filter) if one.name in ("default", "d") and one.node]
    return {node.name for node in found if isinstance(node, nodes.Name)}


def render(template: jinja2.Template, source: str, values: Mapping[str, Any]) -> str:
    """Return a template rendered with values; raises Fault."""
    parts: list[str] = []
    length = 0
    try:
        for part in template.generate(values):
            length += len(part)
            if length > OUTPUT_LIMIT:
                raise Fault(f"it becomes more than {OUTPUT_LIMIT} characters", None, source)
            parts.append(part)
    except jinja2.TemplateError as error:
        raise fault_of(error, source) from error
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RecursionError) as error:
        raise fault_of(error, source) from error
    return "".join(parts)


def judge(name: str, text: str) -> None:
    """Raise Fault for a rendered text that its reader would not understand; lines are those of the text."""
    if name == "user-data" and text.startswith("#cloud-config"):
        judge_yaml(text)
    elif name == "unattend.xml":
        judge_xml(text)


def judge_yaml(text: str) -> None:
    """Raise Fault unless a cloud-config is a YAML mapping."""
    try:
        found = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        fault = Fault(f"rendered, it is no YAML: {lowered(error.problem or 'it cannot be read')}", None, "")
        if mark is not None:
            fault.line, fault.column = mark.line + 1, mark.column + 1
        raise fault from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise Fault(f"rendered, it is no YAML: {lowered(str(error))}", None, "") from error
    if found is not None and not isinstance(found, dict):
        raise Fault("rendered, it is no mapping, as a cloud-config must be", 1, text)


def judge_xml(text: str) -> None:
    """Raise Fault unless a text is well-formed XML without definitions of its own."""
    if "<!DOCTYPE" in text:
        raise Fault("a document type is not allowed", None, "")
    try:
        ET.fromstring(text.encode())
    except ET.ParseError as error:
        fault = Fault(f"rendered, it is no XML: {lowered(str(error).partition(':')[0])}", None, "")
        fault.line, fault.column = error.position[0], error.position[1] + 1
        raise fault from error


def fault_of(error: Exception, source: str) -> Fault:
    """Return what went wrong while a template ran, with the line that it was in."""
    why = lowered(str(error) or type(error).__name__)
    match = _NAME.search(why)
    return Fault(why, line_in(error), source, match[1] if match else "")


def line_in(error: Exception) -> int | None:
    """Return the template's line that an error was raised in, as Jinja put it into the traceback."""
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename in ("<template>", "<unknown>"):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def lowered(text: str) -> str:
    """Return a sentence as our messages are written."""
    text = " ".join(text.split()).rstrip(".")
    return text[:1].lower() + text[1:]


def answer(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return all texts, or the first fault with the place of the values that it came with."""
    env = environment()
    texts: list[dict[str, str]] = []
    name, templates = "", request["templates"]
    known = {key for values in request["values"] for key in values}
    judged: set[tuple[str, str]] = set()
    try:
        ready = []
        for name, source in templates.items():
            ready.append((name, source, compiled(env, source, known)))
        for values in request["values"]:
            texts.append({})
            for name, source, template in ready:
                text = texts[-1][name] = render(template, source, values)
                if (name, text) not in judged:
                    judge(name, text)
                    judged.add((name, text))
    except Fault as fault:
        where = {"template": name, "line": fault.line, "column": fault.column}
        return {"fault": fault.why, **where, "place": max(len(texts) - 1, 0)}
    return {"texts": texts}


def main() -> None:
    """Answer one request within the limits."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_LIMIT_S, CPU_LIMIT_S))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        said = answer(json.load(sys.stdin))
    except MemoryError:
        said = {"fault": "it needs too much memory", "template": "", "line": None, "column": None, "place": 0}
    json.dump(said, sys.stdout)


if __name__ == "__main__":
    main()

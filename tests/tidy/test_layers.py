"""Who may import whom: the table of the house style, enforced."""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from tests.tidy.sources import Finding, Source, python_files, report

PACKAGE = "metier"

# What each folder (or module) of src/metier may import of ours, besides itself (but siblings among the
# drivers do not import each other).  `*` stands for one name; an entry admits what lies below it.
ALLOWED: dict[str, tuple[str, ...]] = {
    "domain": (),
    "planner": ("domain",),
    "operations": ("domain",),
    "drivers": ("domain", "drivers.*.api", "drivers.settings", "drivers.certificate"),
    "store": ("domain",),
    "matrix": ("domain", "drivers.formats"),
    # Of the operations the loop needs only what an order and an answer are.
    "control": ("domain", "planner", "drivers.*.api", "matrix.api", "store.api", "operations.registry"),
    "web": ("operations", "domain", "store.api"),
    "cli": ("operations",),
    # A simulation puts a whole controller together, as `app` does, and gives it orders as operators do.
    "sim": (
        *("domain", "planner", "control", "operations"),
        *("drivers.*.api", "matrix.api", "store.api", "store.memory", "store.site_file"),
    ),
    "lab": ("domain", "operations", "cli"),
    # What somebody else's VMs need; it reads lists and asks vSphere, and knows nothing of a controller.
    "estate": ("domain", "drivers.formats", "drivers.certificate"),
    "app": ("*",),
    "__main__": ("cli",),
}

# What a function may import when it runs, though its module may not: `metier serve`, `simulate` and
# `demo` start these without every other command paying for them.
ALLOWED_WITHIN_A_FUNCTION: dict[str, tuple[str, ...]] = {
    "cli": ("app", "estate", "lab", "sim"),
}

# What the drivers of one family share besides its `api`.
SHARED_BY_A_FAMILY: dict[str, tuple[str, ...]] = {
    "hypervisor": tuple(f"drivers.hypervisor.{name}" for name in ("attempt", "local_file", "names")),
}

# The folders without I/O, clock or chance: nothing from outside the standard library, and not these.
PURE = ("domain", "planner", "operations")
IMPURE_MODULES = frozenset(
    ("asyncio", "logging", "os", "random", "socket", "subprocess", "threading", "time", "uuid")
)


@dataclass(frozen=True, slots=True)
class Import:
    """One imported name, in full: `from metier.store import api` imports `metier.store.api`."""

    name: str
    line: int
    within_function: bool


def imports(tree: ast.AST, *, within_function: bool = False) -> Iterator[Import]:
    """Yield everything that the code imports, in order."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno, within_function) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            for alias in node.names:
                yield Import(f"{module}.{alias.name}", node.lineno, within_function)
        else:
            is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            yield from imports(node, within_function=within_function or is_function)


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    """Tell whether a dotted name is, or lies below, one of the patterns."""
    parts = name.split(".")
    return any(
        len(parts) >= len(wanted := pattern.split("."))
        and all(want in ("*", part) for want, part in zip(wanted, parts, strict=False))
        for pattern in patterns
    )


def may_import(importer: str, imported: str, *, within_function: bool) -> bool:
    """Tell whether module `importer` may import `imported`; both are named from below the package."""
    layer = importer.split(".")[0]
    if importer in ("drivers.book", "drivers.guide") and imported.startswith("drivers.registry."):
        return True  # they open drivers or tell of all, and only the registry knows how they are found
    if importer == "planner.check" and imported.startswith("planner."):
        return False  # it judges plans, so it shares no code with what makes them
    if matches(imported, (*own_folders(importer), *ALLOWED[layer])):
        return True
    return within_function and matches(imported, ALLOWED_WITHIN_A_FUNCTION.get(layer, ()))


def own_folders(importer: str) -> tuple[str, ...]:
    """Return what a module may import as its own: its layer, but of drivers one and what is shared."""
    parts = importer.split(".")
    if parts[0] != "drivers":
        return (parts[0],)
    if parts[1:2] == ["formats"]:
        return ("drivers.formats",)  # readers of one archive or disk are made of one another
    return (".".join(parts[:3]), *SHARED_BY_A_FAMILY.get(parts[1], ())) if len(parts) > 2 else ()


def layer_findings(source: Source) -> list[Finding]:
    """Return the imports of one module below src/metier that the table does not allow."""
    importer = module_name(source.path)
    layer = importer.split(".")[0]
    if layer == "":
        return []  # the package's own __init__
    if layer not in ALLOWED:
        return [Finding(source.path, 1, f"folder '{layer}' is unknown; give it a row in {__name__}.ALLOWED")]
    findings = []
    for found in imports(ast.parse(source.text)):
        message = objection(importer, found)
        if message:
            findings.append(Finding(source.path, found.line, message))
    return findings


def objection(importer: str, found: Import) -> str | None:
    """Return why `importer` may not import this, or None if it may."""
    layer = importer.split(".")[0]
    top, _, rest = found.name.partition(".")
    if top == "":
        return "a relative import is banned, use the full name"
    if top == PACKAGE:
        target = rest.split(".")[0]
        if target not in ALLOWED:
            return None  # the package's own names, such as __version__
        if may_import(importer, rest, within_function=found.within_function):
            return None
        return (
            f"import of {found.name} in {importer} is banned, use what the layers allow: {permitted(layer)}"
        )
    if layer in PURE and top in IMPURE_MODULES:
        return f"module {top} is banned in {layer}, use arguments: it has no I/O, clock or chance"
    if layer in PURE and top not in sys.stdlib_module_names:
        return f"package {top} is banned in {layer}, use the standard library"
    return None


def permitted(layer: str) -> str:
    """Return what a layer may import, in words."""
    return ", ".join(ALLOWED[layer]) or "nothing of ours"


def module_name(path: str) -> str:
    """Return the dotted name of a module from below the package; '' for the package itself."""
    inner = path.removeprefix(f"src/{PACKAGE}/").removesuffix(".py").replace("/", ".")
    return "" if inner == "__init__" else inner.removesuffix(".__init__")


def test_every_module_keeps_to_its_layer() -> None:
    modules = [source for source in python_files("src") if source.path.startswith(f"src/{PACKAGE}/")]
    findings = [finding for source in modules for finding in layer_findings(source)]
    assert not findings, report(findings)


# --- The checker itself ---------------------------------------------------------------------------


def findings_in(path: str, text: str) -> list[str]:
    """Return what the checker says of a planted module."""
    return [str(finding) for finding in layer_findings(Source(f"src/metier/{path}", text))]


def test_the_message_names_the_place_and_the_cure() -> None:
    (found,) = findings_in("planner/plan.py", "\nimport metier.store.sqlite\n")
    assert found == (
        "src/metier/planner/plan.py:2: error: import of metier.store.sqlite in planner.plan is banned, "
        "use what the layers allow: domain"
    )


def test_a_layer_imports_itself_and_what_its_row_names() -> None:
    assert not findings_in("planner/plan.py", "from metier.planner.steps import grow\nimport metier.domain")
    assert not findings_in("control/loop.py", "from metier.drivers.power import api\nimport metier.store.api")
    assert not findings_in("app.py", "import metier.drivers.hypervisor.libvirt")
    assert not findings_in("domain/node.py", "from metier import __version__")


def test_only_the_api_of_a_driver_family_is_open_to_the_control_loop() -> None:
    assert findings_in("control/loop.py", "from metier.drivers.power import command")
    assert findings_in("control/loop.py", "from metier.drivers import registry")
    assert findings_in("sim/datacentre.py", "from metier.drivers.power.command import CommandPower")


def test_an_import_for_type_checking_counts_as_any_other() -> None:
    assert findings_in("domain/node.py", "if TYPE_CHECKING:\n    from metier.planner.plan import Plan")


def test_siblings_among_the_drivers_do_not_import_each_other() -> None:
    assert findings_in("drivers/power/ipmi.py", "from metier.drivers.power import command")
    assert findings_in("drivers/power/ipmi.py", "from metier.drivers.power.command import CommandPower")
    assert findings_in("drivers/power/ipmi.py", "from metier.drivers.formats.raw import Raw")
    assert not findings_in("drivers/power/ipmi.py", "from metier.drivers.power.api import Power")
    assert not findings_in("drivers/netboot/dhcp/serve.py", "from metier.drivers.netboot.dhcp import lease")
    assert findings_in("drivers/power/__init__.py", "from metier.drivers.power.command import CommandPower")
    assert not findings_in("drivers/power/ipmi.py", "from metier.drivers.settings import setting")
    assert not findings_in("drivers/registry.py", "from metier.drivers.power.api import Power")
    assert findings_in("drivers/registry.py", "from metier.drivers.power.command import CommandPower")


def test_drivers_of_one_family_may_have_modules_in_common() -> None:
    shared = "from metier.drivers.hypervisor import attempt"
    assert not findings_in("drivers/hypervisor/libvirt/vms.py", shared)
    assert findings_in("drivers/power/ipmi.py", shared)
    assert findings_in("drivers/hypervisor/attempt.py", "from metier.drivers.hypervisor.libvirt import vms")


def test_only_a_function_of_the_command_line_may_start_the_application() -> None:
    lazily = "def serve():\n    from metier.app import run"
    assert not findings_in("cli/serve.py", lazily)
    assert findings_in("cli/serve.py", "from metier.app import run")
    assert findings_in("web/serve.py", lazily)


def test_the_check_of_a_plan_shares_no_code_with_the_steps() -> None:
    assert findings_in("planner/check.py", "from metier.planner.steps import grow")
    assert not findings_in("planner/check.py", "from metier.domain.fleet import Fleet")


def test_pure_folders_have_no_clock_no_chance_and_no_packages() -> None:
    for layer in PURE:
        for module in sorted(IMPURE_MODULES):
            assert findings_in(f"{layer}/x.py", f"import {module}")
        assert findings_in(f"{layer}/x.py", "def f():\n    from os import path")
        assert findings_in(f"{layer}/x.py", "import pydantic")
        assert not findings_in(f"{layer}/x.py", "import dataclasses")
    assert not findings_in("control/world.py", "import time\nimport structlog")


def test_relative_imports_and_unknown_folders_are_named() -> None:
    assert findings_in("domain/node.py", "from . import ids") == [
        "src/metier/domain/node.py:1: error: a relative import is banned, use the full name"
    ]
    assert "give it a row" in findings_in("extras/x.py", "")[0]

"""All generated pages together."""

from collections.abc import Mapping
from pathlib import Path

from tools.docs import acceptance, api, rules
from tools.docs.cli import cli_page
from tools.docs.drivers import drivers_page
from tools.docs.problems import problems_page
from tools.docs.proofs import collect, lost
from tools.docs.states import states_page


def faults() -> list[str]:
    """Say which rules and acceptance statements are claimed without a test that proves them."""
    proofs = collect()
    unproved = acceptance.faults(acceptance.rows(), proofs) + rules.faults(rules.rules(), proofs)
    return lost() + unproved


def pages() -> Mapping[str, str]:
    """Return the text of every generated file by its name."""
    proofs = collect()
    document = api.description()
    return {
        "acceptance.md": acceptance.acceptance_page(acceptance.rows(), proofs),
        "api.md": api.api_page(document),
        "cli.md": cli_page(),
        "drivers.md": drivers_page(),
        "openapi.json": api.openapi_file(document),
        "problems.md": problems_page(),
        "rules.md": rules.rules_page(rules.rules(), proofs),
        "states.md": states_page(),
    }


def stale(folder: Path, wanted: Mapping[str, str]) -> list[str]:
    """Return the names of files that are missing, differ, or should not be there."""
    found = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*") if path.is_file()}
    return sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))


def write(folder: Path, wanted: Mapping[str, str]) -> list[str]:
    """Write what differs, remove what should not be there, and return the names of both."""
    folder.mkdir(parents=True, exist_ok=True)
    changed = stale(folder, wanted)
    for name in changed:
        if name in wanted:
            (folder / name).write_text(wanted[name], encoding="utf-8")
        else:
            (folder / name).unlink()
    return changed

"""The drivers that come with Metier: what they can do and what there is to set."""

import inspect
import tomllib
from collections.abc import Iterable
from importlib.metadata import EntryPoint

from metier.drivers.registry import GROUPS
from metier.drivers.settings import SettingDoc, describe_settings
from tools.docs import markdown as md
from tools.docs.places import ROOT

_INTRODUCTION = """
A driver is found by its entry point, so a package of somebody else's can bring more of them; this page
lists those of Metier itself.  `metier node add` and `metier node edit` take a driver's name with `--vmm`
or `--power`, and its settings with `--vmm-setting` and `--power-setting` (`--url` is short for
`--vmm-setting url=`).  Every driver keeps the protocol in the `api.py` of its family and passes that
family's suite in `tests/contract/`.
"""
_TITLES = {"hypervisor": "VM managers", "power": "Power controllers", "collector": "Collectors"}
_USES = {
    "collector": "A collector is named on an image or a tier with `--collector`: `ping`, `tcp:PORT` or "
    "`http:PORT/PATH`.",
}


def drivers_page() -> str:
    """Return the page."""
    blocks = [_INTRODUCTION]
    for family, group in GROUPS.items():
        blocks += [f"## {_TITLES.get(family, family)}", _USES.get(family, "")]
        for name, driver in sorted(_installed(group)):
            blocks += _about(name, driver)
    return md.page("Drivers", *blocks)


def _installed(group: str) -> Iterable[tuple[str, type]]:
    """Yield Metier's own drivers of a group, as the checkout says; what is installed here may be older."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for name, place in project["entry-points"][group].items():
        yield name, EntryPoint(name, place, group).load()


def _about(name: str, driver: type) -> list[str]:
    blocks = [f"### {name}", inspect.cleandoc(driver.__doc__ or "").partition("\n\n")[0]]
    capabilities = getattr(driver, "CAPABILITIES", None)
    if capabilities is not None:
        words = ", ".join(md.code(word) for word in sorted(capabilities)) or "none beyond the core"
        blocks.append(f"Capabilities: {words}.")
    settings = getattr(driver, "SETTINGS", None)
    if settings is not None:
        rows = [_setting_row(row) for row in describe_settings(settings)]
        blocks.append(md.table(["setting", "meaning", "default", "example"], rows))
    return blocks


def _setting_row(row: SettingDoc) -> list[str]:
    default = "required" if row.default is None else md.code(row.default)
    return [md.code(row.name), row.about, default, md.code(row.example)]

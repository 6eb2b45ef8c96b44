"""Logging in where a VM is taken from: only where no node of the controller is there already."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from metier.cli.client import Client, Request
from metier.operations.paths import ROOT


def with_login(client: Client, values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the values of a command with the driver of a VM manager at a URL that no node has.

    What that driver must be told is then asked for, as for a node.
    """
    from metier.operations.image_vm import USUAL_DRIVER

    if not (values.get("vm") and values.get("url")) or values.get("vmm"):
        return values
    says_login = bool(
        values.get("user") or values.get("vmm_setting") or values.get("common_vmm_setting_file")
    )
    if not says_login and _is_known(client, values["url"]):
        return values
    return {**values, "vmm": USUAL_DRIVER}


def _is_known(client: Client, url: str) -> bool:
    """Say whether a node has this URL; lists of nodes do not tell."""
    from metier.operations.image_vm import same_url

    rows = client.rows(f"{ROOT}/nodes", {"kind": "physical"})
    names = [str(row["name"]) for row in rows]
    shown = (client.ask(Request("GET", f"{ROOT}/nodes/{quote(name)}")).value for name in names)
    return any(same_url((row.get("vmm_settings") or {}).get("url", ""), url) for row in shown)

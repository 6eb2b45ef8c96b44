"""Serving a simulated site and letting things befall it: the ten-minute trial."""

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metier.cli.failure import wrong_usage
from metier.cli.output import emit, list_text, row_text
from metier.operations.paths import ROOT

if TYPE_CHECKING:
    from metier.cli.client import Client

_TRY = (
    ("metier tier list", "see it come up"),
    ('metier befall "host-3 loses power"', "break something; --list has the rest"),
    ("metier tier explain hosts", "ask what is missing, and why"),
    ("metier event list --follow", "watch what is decided, and why"),
    ("metier status --resilience", "ask what would follow if any host died now"),
)


def serve_trial(app: Any, state: str | None, listen: Any, given: Mapping[str, Any]) -> None:
    """Serve a simulated site; a state folder from the environment is not meant, for it may be a real one.

    Raises:
        Failure: What was given makes no sense.
    """
    speed = 1.0 if given["speed"] is None else given["speed"]
    if math.isnan(speed):
        raise wrong_usage("--speed is not a number", "give one from 0.1 to 1000")
    if given["site"] is not None and given["hosts"] is not None:
        raise wrong_usage("--hosts is for the sample site", "leave it away, or the FILE")
    folder = None if state is None else Path(state).expanduser().absolute()
    what = app.Simulated(given["site"], given["hosts"], speed, folder)
    app.serve_simulated(what, listen, lambda where, fleet: emit(_greeting(where, fleet, speed, folder)))


def _greeting(where: Path, fleet: Any, speed: float, kept: Path | None) -> str:
    machines = sum(not node.is_virtual for node in fleet.nodes.values())
    pace = "in real time" if speed == 1 else f"{speed:g} times as fast as real time"
    width = max(len(command) for command, _ in _TRY)
    what = f"{machines} machines and {len(fleet.tiers)} tiers, {pace}"
    return "\n".join(
        [
            f"serving a simulated site of {what}; nothing real is touched",
            "",
            "in another terminal:",
            f"  export METIER_STATE={where}",
            *(f"  {command:{width}}  # {why}" for command, why in _TRY),
            "",
            f"it ends with Ctrl-C; {'the folder stays' if kept else 'the folder is removed then'}",
        ]
    )


def fault_list(client: "Client", form: str) -> str:
    """Return what can befall the site, printed."""
    return list_text(client.rows(f"{ROOT}/befall", {}), ("sentence", "help"), form, sys.stdout)


def befall(client: "Client", words: Sequence[str], form: str) -> str:
    """Let something happen and return what it means, printed."""
    from metier.cli.client import Request

    done = client.ask(Request("POST", f"{ROOT}/befall", body={"sentence": " ".join(words)})).value
    return done["message"] if form in ("table", "wide") else row_text(done, form, sys.stdout)

"""`metier lab`: a lab with a controller in it, brought up, looked at and taken down by separate commands.

And what the demonstration asks of a data centre, which a lab is one kind of.
"""

import json
import os
import shlex
import shutil
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Literal, Protocol

from click import echo

from metier.lab.controller import LabController, stop_process
from metier.lab.datacentre import LabDatacentre, down, status, up
from metier.lab.errors import LabError
from metier.lab.identity import ProcessIdentity, identity_from_json, is_running
from metier.lab.prober import Count, probing

CONTROLLER_FILE = "controller.json"

VERBS: tuple[Literal["on", "off", "status"], ...] = ("on", "off", "status")


class Host(Protocol):
    """One host of a data centre."""

    @property
    def name(self) -> str:
        """Return the name of its node."""

    @property
    def address(self) -> IPv4Address:
        """Return its address inside the site."""

    @property
    def url(self) -> str:
        """Return where its VM manager answers."""


class DataCentre(Protocol):
    """Hosts to demonstrate with, of whatever kind; what they are is told to `metier node add` alone."""

    @property
    def hosts(self) -> Sequence[Host]:
        """Return its hosts, in order."""

    @property
    def static_addresses(self) -> Sequence[IPv4Address]:
        """Return the addresses that slots of tiers may have."""

    @property
    def prefix_length(self) -> int:
        """Return the length of their network's prefix."""

    def up(self) -> None:
        """Bring all of it up; raises LabError."""

    def down(self) -> None:
        """Remove all of it; may be repeated."""

    def node_settings(self, host: str) -> Sequence[str]:
        """Return the options of `metier node add` for a host."""

    def command_in_site(self, argv: Sequence[str]) -> list[str]:
        """Return the command line that runs `argv` where guests and hosts can be reached."""

    def probing(self, addresses: Sequence[str]) -> AbstractContextManager[Count]:
        """Ask guests for their health as long as the context lasts."""

    def kill_guest(self, host: str, vm: str) -> None:
        """End a running VM behind everybody's back; raises LabError."""


class LabHere(LabDatacentre):
    """A lab, as a data centre to demonstrate with."""

    def node_settings(self, host: str) -> Sequence[str]:
        """Return the options of `metier node add` for a host."""
        return node_settings(self, host)

    def probing(self, addresses: Sequence[str]) -> AbstractContextManager[Count]:
        """Ask guests for their health as long as the context lasts."""
        return probing(self, addresses)


def default_folder() -> Path:
    """Return where a lab is kept when nobody says otherwise."""
    if os.geteuid() == 0:
        return Path("/var/lib/metier-lab")
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "metier-lab"


def lab_up(folder: Path | None, output: str, host_count: int = 2) -> int:
    """Bring up hosts and a controller that knows them, and print how to use them; returns the exit status.

    Raises:
        LabError: There is a lab already, or this machine cannot hold one.
    """
    folder = (folder or default_folder()).absolute()
    if status(folder / "lab").state != "down":
        raise LabError(
            f"there is a lab in {folder} already", remedy=f"take it down: metier lab down {folder}"
        )
    lab = up(folder / "lab", host_count)
    controller = LabController(lab, folder / "state")
    try:
        controller.start()
    except LabError:
        down(folder / "lab")
        raise
    keep_controller(folder, controller)
    _print(
        {"folder": str(folder), "state": str(controller.state), "url": controller.url} | _hosts(lab), output
    )
    return 0


def keep_controller(folder: Path, controller: LabController) -> None:
    """Note which process is the lab's controller, for whoever takes the lab down."""
    (folder / CONTROLLER_FILE).write_text(json.dumps(controller.identity.as_json()))


def lab_down(folder: Path | None, output: str) -> int:
    """Stop the controller and take the lab down; returns the exit status."""
    folder = (folder or default_folder()).absolute()
    controller = _kept_controller(folder)
    if controller is not None:
        stop_process(controller)
    was_up = down(folder / "lab")
    if was_up or controller is not None:
        shutil.rmtree(folder)
    _print({"folder": str(folder), "lab": "taken down" if was_up else "there was none"}, output)
    return 0


def lab_status(folder: Path | None, output: str) -> int:
    """Print how the lab is; returns 0 when it is up and 1 when it is not."""
    folder = (folder or default_folder()).absolute()
    found = status(folder / "lab")
    controller = _kept_controller(folder)
    runs = controller is not None and is_running(controller)
    about = {"folder": str(folder), "lab": found.state, "controller": "running" if runs else "not running"}
    _print(about | {name: f"power {power}" for name, power in found.power.items()}, output)
    return 0 if found.state == "up" else 1


def _kept_controller(folder: Path) -> ProcessIdentity | None:
    try:
        return identity_from_json(json.loads((folder / CONTROLLER_FILE).read_text()))
    except (OSError, ValueError):
        return None


def node_settings(lab: LabDatacentre, name: str) -> Sequence[str]:
    """Return the options of `metier node add` for a host of the lab."""
    host = lab.host(name)
    words = ["--vmm", "libvirt", "--url", host.url, "--address", str(host.address)]
    words += [
        "--vmm-setting",
        f"store={host.store}",
        "--vmm-setting",
        f"networks=default=bridge:{host.bridge}",
    ]
    words += ["--power", "command"]
    for verb in VERBS:
        words += ["--power-setting", f"{verb}={shlex.join(host.power_command(verb))}"]
    return words


def _hosts(lab: LabDatacentre) -> dict[str, str]:
    return {
        host.name: shlex.join(["metier", "node", "add", host.name, *node_settings(lab, host.name)])
        for host in lab.hosts
    }


def _print(about: Mapping[str, Any], output: str) -> None:
    if output == "json":
        echo(json.dumps(about))
        return
    for name, value in about.items():
        echo(f"{name}: {value}")

"""`metier lab`: a lab with a controller in it, brought up, looked at and taken down by separate commands."""

import json
import os
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from click import echo

from metier.lab.controller import LabController, stop_process
from metier.lab.datacentre import LabDatacentre, down, status, up
from metier.lab.errors import LabError
from metier.lab.identity import ProcessIdentity, identity_from_json, is_running

CONTROLLER_FILE = "controller.json"

VERBS: tuple[Literal["on", "off", "status"], ...] = ("on", "off", "status")


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

"""What a lab remembers of itself in `lab.json`, so that separate processes can use it and take it down."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from metier.lab.errors import LabError
from metier.lab.host import HostFolder
from metier.lab.identity import ProcessIdentity, identity_from_json
from metier.lab.network import NetworkPlan, plan_network

STATE_VERSION = 1
STATE_FILE = "lab.json"


@dataclass(frozen=True, slots=True)
class LabHost:
    """One host that a lab is to have.

    Attributes:
        name: Its name, unique in the lab.
        hardware_help: It lets its guests use /dev/kvm where the machine has it.
    """

    name: str
    hardware_help: bool = False


@dataclass(frozen=True, slots=True)
class LabState:
    """One lab, as its folder records it; everything else follows from this.

    Attributes:
        lab_id: The word in the names of its namespaces.
        hosts: Its hosts in order.
        dhcp_server: The process that serves DHCP, once started.
    """

    lab_id: str
    hosts: tuple[LabHost, ...]
    dhcp_server: ProcessIdentity | None = None

    @property
    def network(self) -> NetworkPlan:
        """Its namespaces and addresses."""
        return plan_network(self.lab_id, [host.name for host in self.hosts])


def state_to_json(state: LabState) -> str:
    """Return the text of `lab.json`."""
    data = {
        "version": STATE_VERSION,
        "lab_id": state.lab_id,
        "hosts": [asdict(host) for host in state.hosts],
        "dhcp_server": state.dhcp_server.as_json() if state.dhcp_server else None,
    }
    return json.dumps(data, indent=2) + "\n"


def state_from_json(text: str) -> LabState:
    """Return the lab that `state_to_json` wrote.

    Raises:
        ValueError: It is something else, or was written by another version.
    """
    match json.loads(text):
        case {"version": 1, "lab_id": str(lab_id), "hosts": list(hosts), "dhcp_server": dhcp_server}:
            return LabState(lab_id, tuple(map(host_from_json, hosts)), identity_from_json(dhcp_server))
        case _:
            raise ValueError("not the state of a lab")


def host_from_json(data: object) -> LabHost:
    """Return one host of the state.

    Raises:
        ValueError: It is something else.
    """
    match data:
        case {"name": str(name), "hardware_help": bool(hardware_help)}:
            return LabHost(name, hardware_help)
        case _:
            raise ValueError("not a host of a lab")


def write_state(folder: Path, state: LabState) -> None:
    """Record the lab; a reader sees the old or the new state, never a part."""
    draft = folder / f"{STATE_FILE}.new"
    draft.write_text(state_to_json(state))
    draft.rename(folder / STATE_FILE)


def read_state(folder: Path) -> LabState | None:
    """Return the lab that lives in `folder`, or None if there is none.

    Raises:
        LabError: What is recorded there cannot be read.
    """
    file = folder / STATE_FILE
    try:
        return state_from_json(file.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise LabError(f"cannot read {file}: it is damaged or from another version of Metier") from error


def host_folders(folder: Path, hosts: Sequence[LabHost]) -> dict[str, HostFolder]:
    """Return the folder of each host by its name."""
    return {host.name: HostFolder(folder / host.name) for host in hosts}

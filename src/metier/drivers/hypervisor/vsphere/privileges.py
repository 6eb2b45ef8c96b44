"""What Metier needs an account for: a table, and words for what fails without.  Talks to nobody."""

from dataclasses import dataclass
from enum import StrEnum


class Where(StrEnum):
    """What of the inventory a privilege is needed on."""

    FOLDER = "folder of VMs"
    POOL = "resource pool"
    DATASTORE = "datastore"
    NETWORK = "network"


@dataclass(frozen=True, slots=True)
class Need:
    """One privilege.

    Attributes:
        privilege: VMware's id for it, the same in all releases since 4.0.
        act: What it lets an account do, as in "may not …".
        harm: What of Metier's does not work without it.
    """

    privilege: str
    where: Where
    act: str
    harm: str


_PREPARING = "putting an image on a VM fails"
_DEFINING = "making virtual nodes fails"
_REMOVING = "removing virtual nodes fails"

NEEDS = (
    Need("VirtualMachine.Inventory.Create", Where.FOLDER, "make VMs", _DEFINING),
    Need("VirtualMachine.Inventory.Delete", Where.FOLDER, "delete VMs", _REMOVING),
    Need(
        "VirtualMachine.Inventory.Register",
        Where.FOLDER,
        "register VMs",
        "bringing back a VM that was moved aside fails",
    ),
    Need("VirtualMachine.Inventory.Unregister", Where.FOLDER, "unregister VMs", "moving a VM aside fails"),
    Need("VirtualMachine.Interact.PowerOn", Where.FOLDER, "power VMs on", "starting guests fails"),
    Need("VirtualMachine.Interact.PowerOff", Where.FOLDER, "power VMs off", "stopping guests fails"),
    Need("VirtualMachine.Interact.AnswerQuestion", Where.FOLDER, "answer VMs", "a VM that asks stays stuck"),
    Need("VirtualMachine.Config.AddNewDisk", Where.FOLDER, "give VMs new disks", _PREPARING),
    Need("VirtualMachine.Config.AddExistingDisk", Where.FOLDER, "give VMs existing disks", _PREPARING),
    Need("VirtualMachine.Config.RemoveDisk", Where.FOLDER, "take disks off VMs", "retiring guests fails"),
    Need("VirtualMachine.Config.AddRemoveDevice", Where.FOLDER, "change the devices of VMs", _PREPARING),
    Need("VirtualMachine.Config.EditDevice", Where.FOLDER, "edit the devices of VMs", _PREPARING),
    Need("VirtualMachine.Config.Settings", Where.FOLDER, "change the settings of VMs", _PREPARING),
    Need("VirtualMachine.Config.AdvancedConfig", Where.FOLDER, "mark VMs as Metier's", _DEFINING),
    Need("VirtualMachine.Config.CPUCount", Where.FOLDER, "set the CPUs of VMs", _DEFINING),
    Need("VirtualMachine.Config.Memory", Where.FOLDER, "set the memory of VMs", _DEFINING),
    Need("Resource.AssignVMToPool", Where.POOL, "put VMs there", _DEFINING),
    Need("Datastore.AllocateSpace", Where.DATASTORE, "use room", _PREPARING),
    Need("Datastore.Browse", Where.DATASTORE, "list files", _PREPARING),
    Need("Datastore.FileManagement", Where.DATASTORE, "write and delete files", _PREPARING),
    Need("Network.Assign", Where.NETWORK, "connect VMs", _DEFINING),
)


def lack(need: Need, name: str) -> str:
    """Return the sentence for a privilege that is missing on what has this name."""
    return f"may not {need.act} ({need.privilege} on {need.where} {name}): {need.harm}"


def purpose(privilege: str) -> str:
    """Return what fails without a privilege; empty for one that Metier is not known to need."""
    return next((need.harm for need in NEEDS if need.privilege == privilege), "")

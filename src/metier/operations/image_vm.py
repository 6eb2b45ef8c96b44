"""What an operator says of a VM that is to be taken straight from somebody's host."""

from collections.abc import Mapping
from dataclasses import dataclass

from metier.domain.errors import Refusal, WrongUsage
from metier.domain.fleet import Fleet
from metier.domain.node import Node
from metier.domain.secret import is_sealed
from metier.domain.url import checked_url, shown_url
from metier.operations.image_settings import ImageOptions
from metier.operations.parsing import driver_name, one_line, pairs
from metier.operations.records import find_node
from metier.operations.registry import option

USUAL_DRIVER = "vsphere"
"""What is behind the URL of a VM manager, if nobody says."""

# Paths in an inventory have up to a few names of 80 characters, which are longer escaped.
_LONGEST_VM = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class VmOptions(ImageOptions):
    """A VM on a host, and how to log in there."""

    vm: str | None = option(
        "take this VM, which is switched off, straight from its host: its name, its path in the inventory, "
        "or its .vmx as [DATASTORE] FOLDER/FILE; --url or --host says where",
        None,
        example="My VM",
    )
    host: str | None = option(
        "node whose VM manager knows the VM, with its own account", None, example="esx-1"
    )
    vmm: str | None = option(
        f"driver of the VM manager at --url; left out, that of the node with this URL, or {USUAL_DRIVER}",
        None,
    )
    user: str | None = option("account to log in with at --url", None, example="reader@vsphere.local")
    vmm_setting: tuple[str, ...] = option(
        "a setting of the VM manager's driver, as KEY=VALUE; repeatable", (), example="thumbprint=…"
    )


@dataclass(frozen=True, slots=True)
class VmPlace:
    """Where a VM is.

    Attributes:
        location: In words: a URL, or the name of a node.
        arguments: All of it, as a job keeps it; secrets in it are sealed before it is recorded.
    """

    location: str
    arguments: Mapping[str, object]


def vm_place(fleet: Fleet, given: VmOptions, url: str | None) -> VmPlace:
    """Check what an operator said of a VM.

    Raises:
        WrongUsage: A value makes no sense, or it is not said whose VM it is.
        Refusal: The node has no VM manager.
        NoSuchThing: There is no such node.
    """
    name = one_line(given.vm or "", "--vm", _LONGEST_VM)
    if bool(url) == bool(given.host):
        raise WrongUsage(
            "say where the VM is: --url of its VM manager or --host, and not both",
            remedy=f"for example --url https://esx-1.example/sdk --vm {given.vm!r}",
        )
    if given.host:
        _refuse_login(given, "--host is a node, whose VM manager has its own account")
        return _on_node(find_node(fleet, given.host), name)
    address = checked_url(url or "")
    node = None if _says_login(given) else node_at(fleet, address)
    return _on_node(node, name) if node is not None else _by_login(given, address, name)


def refuse_without_vm(given: VmOptions) -> None:
    """Raise WrongUsage for what makes sense with --vm alone."""
    for flag, value in (("--host", given.host), ("--vmm", given.vmm), ("--user", given.user)):
        if value:
            raise WrongUsage(f"{flag} goes with --vm, which names a VM on a host")
    if given.vmm_setting:
        raise WrongUsage("--vmm-setting goes with --vm, which names a VM on a host")


def node_at(fleet: Fleet, url: str) -> Node | None:
    """Return a node whose VM manager is reached at a URL; of several on one server, any knows all its VMs."""
    found = [
        node
        for node in fleet.nodes.values()
        if node.vmm is not None and same_url(node.vmm.settings.get("url", ""), url)
    ]
    return min(found, key=lambda node: node.name, default=None)


def same_url(one: str, other: str) -> bool:
    """Say whether two URLs of VM managers are alike but for a slash at their end."""
    return one.rstrip("/") == other.rstrip("/")


def _says_login(given: VmOptions) -> bool:
    return bool(given.vmm or given.user or given.vmm_setting)


def _refuse_login(given: VmOptions, why: str) -> None:
    if _says_login(given):
        raise WrongUsage(f"--vmm, --user and --vmm-setting go with --url; {why}")


def _on_node(node: Node, name: str) -> VmPlace:
    if node.vmm is None:
        raise Refusal(
            f"cannot take a VM from node {node.name}: it has no VM manager", remedy="name one that has"
        )
    location = node.vmm.settings.get("url", "") or str(node.name)
    return VmPlace(location, {"vm": name, "host": str(node.name)})


def _by_login(given: VmOptions, url: str, name: str) -> VmPlace:
    settings = pairs(given.vmm_setting, "--vmm-setting")
    for key, value in (("url", url), ("user", given.user)):
        if value and key in settings:
            raise WrongUsage(f"the {key} is given twice, as --{key} and as --vmm-setting {key}=")
        if value:
            settings[key] = one_line(value, f"--{key}")
    sealed = [key for key, value in settings.items() if is_sealed(value)]
    if sealed:
        raise WrongUsage(f"{sealed[0]} has the form of a sealed secret, and cannot be one")
    driver = driver_name(given.vmm or USUAL_DRIVER, "--vmm")
    return VmPlace(shown_url(url), {"vm": name, "login": {"driver": driver, "settings": settings}})

"""Adding, changing and removing physical nodes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address

from metier.domain.errors import Refusal, WrongUsage
from metier.domain.fleet import Draft, Fleet
from metier.domain.ids import natural, physical_node_id
from metier.domain.lifecycle import Lifecycle
from metier.domain.node import DISCOVERED, Endpoint, Node, NodeKind
from metier.domain.secret import is_sealed
from metier.operations.host_warnings import accept_or_raise
from metier.operations.node_reads import HIDDEN, shown_setting
from metier.operations.node_row import node_row
from metier.operations.parsing import driver_name, one_line, pairs, words
from metier.operations.records import expected_node
from metier.operations.registry import Caller, Form, Outcome, changes, option, positional

# Verbs about nodes in general stand where the name of one would stand in the API.
_NO_NAMES = frozenset(("certificate",))


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """What an operator can say about a physical node."""

    vmm: str | None = option("driver of its VM manager", None, example="libvirt")
    url: str | None = option(
        "where its VM manager is reached", None, example="qemu+ssh://root@host-1.example/system"
    )
    vmm_setting: tuple[str, ...] = option(
        "a setting of the VM manager's driver, as KEY=VALUE; repeatable", (), example="store=/srv/guests"
    )
    power: str | None = option("driver of its power controller", None, example="command")
    power_setting: tuple[str, ...] = option(
        "a setting of the power controller's driver, as KEY=VALUE; repeatable",
        (),
        example="on=/usr/local/bin/on",
    )
    address: str | None = option(
        "its management IP address, which is also the power IP of its virtual nodes", None, example="10.0.0.5"
    )
    attribute: tuple[str, ...] = option(
        "a word that tiers can require, such as rack=a; repeatable; an empty word removes all",
        (),
        example="ssd",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AddNode(NodeSettings):
    """A new physical node."""

    name: str = positional("what to call the node", example="host-1")


@changes(
    "node",
    "add",
    AddNode,
    form=Form.CREATE,
    examples=(
        "metier node add host-1 --vmm libvirt --url qemu+ssh://root@10.0.0.5/system --address 10.0.0.5",
        "metier node add esx-1 --vmm vsphere --url https://esx-1.example/sdk",
        (
            "metier node add host-2 --vmm libvirt --url qemu:///system --power command "
            "--power-setting on=/etc/metier/on --power-setting off=/etc/metier/off "
            "--power-setting status=/etc/metier/status"
        ),
    ),
)
def add_node(draft: Draft, arguments: AddNode, caller: Caller) -> Outcome:
    """Add a physical node: it is inventoried, and then freed as the pools' settings say."""
    name = physical_node_id(arguments.name)
    if name in _NO_NAMES:
        raise WrongUsage(f"a node cannot be called {name}: that is a verb", remedy="choose another name")
    if name in draft.nodes:
        raise Refusal(
            f"cannot add node {name}: it exists already",
            remedy="choose another name, or see `metier node edit`",
        )
    node = Node(name, NodeKind.PHYSICAL, DISCOVERED, Lifecycle.NEW, since=caller.now)
    node = draft.put_node(_with_settings(node, arguments, caller))
    return Outcome(f"node {name} added", node_row(draft, node), warnings=_gaps(node))


@dataclass(frozen=True, slots=True, kw_only=True)
class EditNode(NodeSettings):
    """Changes to a physical node; what is not given stays."""

    name: str = positional("the node to change", example="host-1")


@changes(
    "node",
    "edit",
    EditNode,
    form=Form.EDIT,
    examples=("metier node edit host-1 --attribute ssd --attribute rack=a",),
)
def edit_node(draft: Draft, arguments: EditNode, caller: Caller) -> Outcome:
    """Change what is recorded of a physical node; what is not given stays as it is."""
    node = expected_node(draft, arguments.name, caller)
    if node.is_virtual:
        raise Refusal(
            f"cannot edit node {node.name}: a virtual node follows its VM and its host",
            remedy=f"edit {node.host}, or the VM itself and then refresh {node.host}: disengage it, "
            "power it off, power it on, engage it",
        )
    edited = _with_settings(node, arguments, caller)
    if edited == node:
        return Outcome(f"node {node.name} is so already", node_row(draft, node))
    if edited.vmm != node.vmm:
        # What the settings say of its VMs, such as which were staged for Metier, takes effect at once.
        edited = replace(edited, staged=False)
    if (edited.vmm, edited.power) != (node.vmm, node.power):
        # What failed with other settings is tried again without a pause.
        edited = replace(edited, retry=None, problem="" if node.lifecycle is Lifecycle.NEW else node.problem)
    edited = draft.put_node(edited)
    return Outcome(f"node {node.name} changed", node_row(draft, edited), warnings=_gaps(edited))


def _with_settings(node: Node, arguments: NodeSettings, caller: Caller) -> Node:
    vmm_settings = pairs(arguments.vmm_setting, "--vmm-setting")
    if arguments.url is not None:
        if "url" in vmm_settings:
            raise WrongUsage("the URL is given twice, as --url and as --vmm-setting url=")
        vmm_settings["url"] = one_line(arguments.url, "--url")
    power_settings = pairs(arguments.power_setting, "--power-setting")
    vmm = _endpoint(node.vmm, arguments.vmm, vmm_settings, "--vmm")
    power = _endpoint(node.power, arguments.power, power_settings, "--power")
    edited = replace(
        node,
        # Sealed here already, so that what is given again as it is recorded is seen to change nothing.
        vmm=None if vmm is None else caller.seal("hypervisor", vmm, node.vmm),
        power=None if power is None else caller.seal("power", power, node.power),
        power_ip=node.power_ip if arguments.address is None else _ip(arguments.address),
    )
    return _with_attributes(edited, arguments.attribute) if arguments.attribute else edited


def _with_attributes(node: Node, given: Iterable[str]) -> Node:
    attributes = words(given, "an attribute")
    # Matching reads the inventoried hardware, so it must not wait for the next inventory.
    hardware = None if node.hardware is None else replace(node.hardware, attributes=attributes)
    return replace(node, attributes=attributes, hardware=hardware)


def _endpoint(
    before: Endpoint | None, driver: str | None, settings: Mapping[str, str], flag: str
) -> Endpoint | None:
    """Return the endpoint as edited: settings are added to those of the same driver; no driver, none."""
    if driver is None:
        if not settings:
            return before
        if before is None:
            raise WrongUsage(f"settings are given for no driver: {', '.join(settings)}", remedy=f"add {flag}")
        return _joined(before.driver, before.settings, settings, flag)
    if not driver:
        return None
    is_same = before is not None and before.driver == driver_name(driver, flag)
    return _joined(driver_name(driver, flag), before.settings if before and is_same else {}, settings, flag)


def _joined(driver: str, before: Mapping[str, str], given: Mapping[str, str], flag: str) -> Endpoint:
    """Return settings over those before; what is given as it is shown, such as `…`, stays as it is."""
    settings = dict(before)
    for key, value in given.items():
        if is_sealed(value):
            raise WrongUsage(f"{key} of {flag} {driver} has the form of a sealed secret, and cannot be one")
        if HIDDEN not in value or value != shown_setting(before.get(key, "")):
            settings[key] = value
        if settings[key] == HIDDEN:
            raise WrongUsage(
                f"{key}={HIDDEN} of {flag} {driver} stands for a secret that is recorded, and none is",
                remedy=f"give the secret itself: {flag}-setting-file {key}=FILE",
            )
    return Endpoint(driver, settings)


def _ip(text: str) -> str | None:
    if not text:
        return None
    try:
        return str(ip_address(text))
    except ValueError as error:
        raise WrongUsage(
            f"--address {text!r} is not an IP address",
            remedy="say for example 10.0.0.5, without prefix length",
        ) from error


def _gaps(node: Node) -> tuple[str, ...]:
    """Say what Metier will not be able to do with a node that is recorded so."""
    gaps = []
    if node.vmm is None:
        gaps.append(f"{node.name} has no VM manager: it cannot be inventoried nor serve in a host tier")
    if node.power is None:
        gaps.append(f"{node.name} has no power controller: Metier cannot switch it on or off")
    return tuple(gaps)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveNode:
    """Which node."""

    name: str = positional("the node to remove", example="host-1")


@changes("node", "remove", RemoveNode, form=Form.DELETE, examples=("metier node remove host-1",))
def remove_node(draft: Draft, arguments: RemoveNode, caller: Caller) -> Outcome:
    """Forget a physical node that is in no tier; nothing on it is touched."""
    node = expected_node(draft, arguments.name, caller)
    _check_removable(draft, node)
    kept = [
        str(slot.id) for slot in draft.slots.values() if slot.instance and slot.instance.store == node.name
    ]
    warnings = [
        f"slot {slot} keeps its data on {node.name}: it starts from its image next time" for slot in kept
    ]
    accept_or_raise(f"removing node {node.name} loses data", sorted(warnings, key=natural), caller)
    draft.remove_node(node.name)
    return Outcome(f"node {node.name} removed")


def _check_removable(fleet: Fleet, node: Node) -> None:
    if node.is_virtual:
        raise Refusal(
            f"cannot remove node {node.name}: a virtual node exists as long as its host offers its VM",
            remedy=f"disengage it to keep automation off it, or take {node.host} out of its tier",
        )
    if node.tier is not None:
        raise Refusal(
            f"cannot remove node {node.name}: it is in tier {node.tier}",
            remedy=f"lower the target with `metier tier edit {node.tier} --target`, "
            f"or `metier tier deallocate {node.tier}`",
        )
    virtual = [other.name for other in fleet.virtual_nodes(node.name)]
    if virtual:
        raise Refusal(
            f"cannot remove node {node.name}: it hosts {', '.join(virtual)}",
            remedy=f"shut it down first: `metier node shutdown {node.name}`",
        )
    waiting = [
        str(slot.id)
        for slot in fleet.slots.values()
        if any(node.name in (f.node, f.host) for f in slot.fences)
    ]
    if waiting:
        raise Refusal(
            f"cannot remove node {node.name}: there is no evidence yet that what ran there for "
            f"slot {', '.join(sorted(waiting, key=natural))} is down",
            remedy=f"switch it off, or vouch for it with `metier node attest-off {node.name}`",
        )

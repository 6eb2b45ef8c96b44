"""Capture: a new version from a virtual node whose guest OS was shut down (R-CAPTURE-1, R-CAPTURE-2)."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from ipaddress import ip_address

from metier.domain.errors import NoSuchThing, Refusal, WrongUsage
from metier.domain.evidence import power_seen
from metier.domain.fleet import Draft, Fleet
from metier.domain.ids import ImageRef, SlotId, natural
from metier.domain.image import Image, ImageType
from metier.domain.lifecycle import Lifecycle
from metier.domain.node import NO_IMAGE, Node
from metier.domain.observation import Power
from metier.domain.tier import TierState
from metier.operations.captures import KIND, capture_at
from metier.operations.host_words import vm_of
from metier.operations.image_fit import doubts, needs_of
from metier.operations.image_settings import ImageOptions, with_settings
from metier.operations.images import new_ref
from metier.operations.job_ends import newest_job, unfinished
from metier.operations.job_row import job_row
from metier.operations.parsing import rfc3339
from metier.operations.records import begin_job, find_node
from metier.operations.registry import Caller, Outcome, View, changes, option, positional
from metier.operations.tier_row import requirements_row

_GUEST_TYPES = (ImageType.LINUX, ImageType.WINDOWS, ImageType.OTHER)

# A guest that ran and was then shut down from inside is left in one of these.
_HAS_RUN = frozenset({Lifecycle.STARTING, Lifecycle.RUNNING, Lifecycle.FAILED})
_STOPPED_BY_METIER = frozenset({Lifecycle.IDLE, Lifecycle.STOPPING})


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureImage(ImageOptions):
    """What to capture, what to call it, and the settings that differ from the version before."""

    name: str = positional("what to call the image; the name it has makes a new version", example="w2k")
    version: str = option("its version; left out, the next number", "", example="2")
    node: str = option("the virtual node to capture", "", example="host-1/VM2")
    host: str = option("instead of --node: its host, by IP address or name", "", example="10.0.0.5")
    vm: int | None = option("with --host: the number of the VM on it, 2 for VM2", None, example="2")
    type: str | None = option(
        "what kind of system it holds; left out, as the version that the node runs",
        None,
        choices=[kind.value for kind in _GUEST_TYPES],
    )


def still_until_captured(view: View, arguments: CaptureImage) -> Sequence[str]:
    """Say how far a capture is; raises Refusal once it failed."""
    return unfinished(newest_job(view.fleet, KIND, f"{arguments.name}@{arguments.version}"))


@changes(
    "image",
    "capture",
    CaptureImage,
    settled=still_until_captured,
    examples=(
        "metier image capture w2k --node host-1/VM2 --wait",
        "metier image capture w2k --version 4 --host 10.0.0.5 --vm 2 --minimum-memory-mib 512 --wait",
    ),
)
def capture_image(draft: Draft, arguments: CaptureImage, caller: Caller) -> Outcome:
    """Make a new image version of a virtual node's disks.

    Disengage the node, and shut its guest OS down from inside, first.  The node, its disks
    and all other versions stay as they are; the VM may be started again once it is done.
    Settings that are not given are those of the version that the node runs.  If its
    power was cut, --accept-warnings captures it all the same.
    """
    node = _named_node(draft, arguments)
    ref = new_ref(draft, arguments.name, arguments.version)
    parent = _parent_of(draft, node, ref)
    image = _as_answered(parent, ref, arguments, caller)
    job = begin_job(draft, KIND, str(ref), _job_arguments(node, parent, image, caller), caller)
    message = f"capture of image {ref} from {node.name} begun as job {job.id}"
    return Outcome(message, job_row(job), (*_notes(node), *doubts(draft, needs_of(image))), job=job.id)


def _as_answered(parent: Image, ref: ImageRef, arguments: CaptureImage, caller: Caller) -> Image:
    kind = parent.type.value if arguments.type is None else arguments.type
    if kind not in _GUEST_TYPES:
        raise WrongUsage(
            f"an image of type {kind} cannot be captured; it can be: {', '.join(_GUEST_TYPES)}",
            remedy="host images are made with `metier image create`",
        )
    return with_settings(replace(parent, ref=ref, type=ImageType(kind), created=caller.now), arguments)


def _job_arguments(node: Node, parent: Image, image: Image, caller: Caller) -> dict[str, object]:
    assert node.instance is not None
    return {
        "name": image.ref.name,
        "version": image.ref.version,
        "node": node.name,
        "instance": node.instance.id,
        "parent": {"name": parent.ref.name, "version": parent.ref.version},
        "accept_unclean": caller.accept_warnings,
        "type": image.type.value,
        "minimum_memory_mib": image.requirements.memory_mib,
        "requirements": requirements_row(image.requirements),
        "startup_s": image.startup_s,
        "collectors": [asdict(spec) for spec in image.collectors],
    }


def _notes(node: Node) -> Iterator[str]:
    until = node.engagement.until
    if until is not None:
        yield f"{node.name} is engaged again at {rfc3339(until)}: a capture that is not done by then fails"


# --- which node ------------------------------------------------------------------------


def _named_node(fleet: Fleet, arguments: CaptureImage) -> Node:
    if bool(arguments.node) == bool(arguments.host):
        raise WrongUsage(
            "name the virtual node to capture once", remedy="say --node host-1/VM2, or --host 10.0.0.5 --vm 2"
        )
    if arguments.host:
        return _on_host(fleet, host_named(fleet, arguments.host), arguments.vm)
    if arguments.vm is not None:
        raise WrongUsage("--vm goes with --host; --node names the VM by itself")
    node = _listed_node(fleet, arguments.node)
    return node if node.is_virtual else _on_host(fleet, node, None)


def _listed_node(fleet: Fleet, name: str) -> Node:
    """Return a node; if it is a VM that its host does not have, say which there are."""
    try:
        return find_node(fleet, name)
    except NoSuchThing:
        hosts = (node for node in fleet.nodes.values() if node.name == name.rpartition("/")[0])
        host = next(hosts, None)
        if host is None:
            raise
        raise NoSuchThing(f"there is no node {name}", remedy=_choices(fleet, host)) from None


def host_named(fleet: Fleet, text: str) -> Node:
    """Return the host that is called so, or has that IP address.

    Raises:
        WrongUsage: It can be neither a name nor an address.
        NoSuchThing: There is no such host.
    """
    address = _normal(text)
    if address is None:
        return find_node(fleet, text)
    found = [
        node
        for node in fleet.nodes.values()
        if not node.is_virtual and address in (_normal(node.power_ip), _normal(fleet.seen(node.name).address))
    ]
    # The address of a chassis may switch many nodes: those that can be hosts are meant.
    found = [node for node in found if node.vmm is not None] or found
    if len(found) != 1:
        problem = f"there is no host with IP address {text}"
        if found:
            problem = f"IP address {text} is that of {', '.join(sorted(node.name for node in found))}"
        raise NoSuchThing(problem, remedy="name the host: `metier node list -o wide` shows both")
    return found[0]


def _normal(text: str | None) -> str | None:
    try:
        return None if text is None else str(ip_address(text))
    except ValueError:
        return None


def _on_host(fleet: Fleet, host: Node, number: int | None) -> Node:
    if host.is_virtual:
        raise WrongUsage(
            f"{host.name} is a virtual node and no host", remedy=f"say --node {host.name} instead"
        )
    if number is None:
        raise WrongUsage(f"{host.name} is not a virtual node", remedy=_choices(fleet, host))
    node = next((node for node in fleet.virtual_nodes(host.name) if node.vm_number == number), None)
    if node is None:
        raise NoSuchThing(f"{host.name} has no VM{number}", remedy=_choices(fleet, host))
    return node


def _choices(fleet: Fleet, host: Node) -> str:
    nodes = sorted(fleet.virtual_nodes(host.name), key=lambda node: natural(node.name))
    if not nodes:
        return "it has no virtual nodes: it must run in an active host tier to have some"
    listed = ", ".join(f"{node.vm_slot} ({_what_runs(node)})" for node in nodes)
    return f"its virtual nodes are: {listed}; say for example --host {host.name} --vm {nodes[0].vm_number}"


def _what_runs(node: Node) -> str:
    if node.instance is None or node.instance.image == NO_IMAGE:
        return "no image"
    return str(node.instance.image)


# --- may it be captured ----------------------------------------------------------------


def _parent_of(fleet: Fleet, node: Node, ref: ImageRef) -> Image:
    """Return the version whose children the node's disks are.

    Raises:
        Refusal: The node cannot be captured as it is; the remedy says how it can be.
    """
    for reason, remedy in _obstacles(fleet, node):
        raise Refusal(f"cannot capture image {ref}: {reason}", remedy=remedy)
    assert node.instance is not None
    parent = fleet.images.get(node.instance.image)
    if parent is None or parent.machine is None:
        raise Refusal(
            f"cannot capture image {ref}: {node.name} runs {_what_runs(node)},"
            " which is not in the image matrix",
            remedy="archive the VM's files on its host and import them: `metier image import`",
        )
    return parent


def _obstacles(fleet: Fleet, node: Node) -> Iterator[tuple[str, str]]:
    """Yield what stands in the way, and the way out, the most telling first."""
    power = power_seen(fleet, node)[0]
    if node.engaged:
        yield (
            f"node {node.name} is engaged, and automation would start or replace it",
            f"disengage it first: `metier node disengage {node.name} --why 'capturing its image'`",
        )
    job = capture_at(fleet, node)
    if job is not None:
        yield (
            f"job {job.id} captures {node.name} already, as {job.subject}",
            f"wait for it, or cancel it: `metier job cancel {job.id}`",
        )
    vm = vm_of(fleet, node)
    if vm is not None and vm.is_aside:
        nowhere = f"{node.vm_slot} on host {node.host} has no configuration file in place"
        yield (
            f"{nowhere}: it was shut down by Metier, which moved its .vmx aside",
            f"{_how_to_run(fleet, node)}; then shut the guest OS down from its console, and capture again",
        )
    if power is Power.ON:
        yield (
            f"node {node.name} is still running",
            "shut its guest OS down from its console, then capture again",
        )
    if node.lifecycle in _STOPPED_BY_METIER and _has_an_instance(fleet, node):
        yield (
            f"node {node.name} was shut down by Metier and not by its guest OS",
            f"{_how_to_run(fleet, node)}; then shut the guest OS down from its console, and capture again",
        )
    if node.instance is None:
        yield f"there is no instance on node {node.name}: it runs no image", _how_to_run(fleet, node)
    if node.lifecycle not in _HAS_RUN:
        yield f"node {node.name} has not run yet: it is {node.lifecycle}", _how_to_run(fleet, node)
    if node.pending is not None or node.request is not None:
        what = node.pending.action if node.pending is not None else node.request
        yield f"Metier is at work on node {node.name}: {what}", "wait until that is done"
    yield from _out_of_reach(fleet, node, power)


def _has_an_instance(fleet: Fleet, node: Node) -> bool:
    """Say whether an instance is on a node's VM, or was taken off it and waits for its slot to run again."""
    if node.instance is not None or node.tier is None or node.placement.slot is None:
        return node.instance is not None
    return fleet.slot(SlotId(node.tier, node.placement.slot)).instance is not None


def _out_of_reach(fleet: Fleet, node: Node, power: Power) -> Iterator[tuple[str, str]]:
    host = fleet.host_of(node)
    if host is None or host.lifecycle is not Lifecycle.RUNNING:
        state = "gone" if host is None else str(host.lifecycle)
        yield f"host {node.host} of {node.name} is {state}", "capture it while its host runs"
    if power is not Power.OFF:
        yield (
            f"whether node {node.name} is off is not known",
            f"see `metier node explain {node.name}`; a paused or saved guest must run and be shut down",
        )


def _how_to_run(fleet: Fleet, node: Node) -> str:
    if node.tier is None:
        return "a tier makes it run: see `metier tier create` and `metier tier activate`"
    if fleet.tiers[node.tier].state is not TierState.ACTIVE:
        return f"start it with its tier: `metier tier activate {node.tier} --wait`"
    return f"start it: `metier node power-on {node.name} --wait`"

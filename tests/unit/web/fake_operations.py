"""A small registry with one operation of every form, for testing what is derived from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from metier.domain.errors import GenerationMismatch, NeedsAcceptance, NoSpace, Refusal
from metier.domain.fleet import Draft
from metier.domain.ids import NodeId, TierId
from metier.domain.job import JobState
from metier.domain.node import Engagement
from metier.domain.tier import Tier, TierState
from metier.operations.registry import (
    OPERATIONS,
    Caller,
    Form,
    Operation,
    Outcome,
    Row,
    View,
    changes,
    option,
    positional,
    reads,
)
from tests.builders import a_job, a_tier

_REGISTERED_BEFORE = dict(OPERATIONS)
OPERATIONS.clear()


@dataclass(frozen=True, slots=True, kw_only=True)
class ListNodes:
    kind: str | None = option("only this kind", None, choices=("physical", "virtual"))
    engaged: bool | None = option("only engaged ones, or only others", None)
    attribute: tuple[str, ...] = option("only those with all of these", ())


@reads("node", "list", ListNodes, form=Form.LIST, columns=("name", "kind", "engaged"))
def list_nodes(view: View, arguments: ListNodes) -> list[Row]:
    """List nodes."""
    return [
        _node_row(view, name)
        for name, node in view.fleet.nodes.items()
        if arguments.kind in (None, node.kind) and arguments.engaged in (None, node.engaged)
    ]


def _node_row(view: View, name: NodeId) -> Row:
    node = view.fleet.nodes[name]
    return {
        "name": name,
        "kind": node.kind.value,
        "engaged": node.engaged,
        "address": None,
        "attributes": sorted(node.attributes),
        "generation": node.generation,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeName:
    name: str = positional("the node", example="host-1/VM3")


@reads("node", "show", NodeName, columns=("name", "kind", "engaged"))
def show_node(view: View, arguments: NodeName) -> Row:
    """Show a node."""
    return _node_row(view, view.fleet.node(NodeId(arguments.name)).name)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainNode(NodeName):
    tier: str | None = option("why it is not in this tier", None)


@reads("node", "explain", ExplainNode, form=Form.VERB)
def explain_node(view: View, arguments: ExplainNode) -> Row:
    """Say why."""
    node = view.fleet.node(NodeId(arguments.name))
    return {"name": node.name, "tier": arguments.tier, "why": ["because"]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Disengage(NodeName):
    why: str = option("why", "")


@changes("node", "disengage", Disengage, examples=("metier node disengage host-1/VM3",))
def disengage(draft: Draft, arguments: Disengage, caller: Caller) -> Outcome:
    """Keep automation's hands off a node.

    It stays where it is.
    """
    node = draft.node(NodeId(arguments.name))
    engagement = Engagement(False, caller.name, caller.now, arguments.why)
    draft.put_node(replace(node, engagement=engagement))
    return Outcome(f"node {node.name} disengaged", {"name": node.name, "engaged": False, "by": caller.name})


@changes("node", "shutdown", NodeName)
def shutdown(draft: Draft, arguments: NodeName, caller: Caller) -> Outcome:
    """Shut a node down."""
    node = draft.node(NodeId(arguments.name))
    if not caller.accept_warnings:
        raise NeedsAcceptance(
            f"shutdown of node {node.name} has consequences", ["web/1 is lost", "web/2 too"]
        )
    draft.put_node(node)
    return Outcome(f"shutdown of node {node.name} ordered", warnings=("it may take a while",))


@dataclass(frozen=True, slots=True, kw_only=True)
class ListTiers:
    pass


@reads("tier", "list", ListTiers, form=Form.LIST, columns=("name", "state"))
def list_tiers(view: View, arguments: ListTiers) -> list[Row]:
    """List tiers."""
    return [_tier_row(tier) for tier in view.fleet.tiers.values()]


def _tier_row(tier: Tier) -> Row:
    return {
        "name": tier.name,
        "state": tier.state.value,
        "target": tier.target,
        "spread": tier.spread.value,
        "waiting_for": [],
        "generation": tier.generation,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class TierName:
    name: str = positional("the tier", example="web")


@reads("tier", "show", TierName, columns=("name", "state"))
def show_tier(view: View, arguments: TierName) -> Row:
    """Show a tier."""
    return _tier_row(view.fleet.tier(TierId(arguments.name)))


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateTier(TierName):
    target: int = option("how many nodes", 1, example="3")
    weight: float | None = option("a number", None)
    harvesting: bool = option("whether nodes may be taken", True)
    keep_instances: bool = option("whether data stays", False)
    spread: str = option("how ties are broken", "spread", choices=("spread", "pack"))
    collector: tuple[str, ...] = option("a health check; repeatable", ())
    slot: tuple[int, ...] = option("a number; repeatable", ())


@changes("tier", "create", CreateTier, form=Form.CREATE)
def create_tier(draft: Draft, arguments: CreateTier, caller: Caller) -> Outcome:
    """Create a tier."""
    if TierId(arguments.name) in draft.tiers:
        raise Refusal(f"cannot create tier {arguments.name}: it exists", remedy="choose another name")
    tier = a_tier(arguments.name, target=arguments.target)
    draft.put_tier(tier)
    row = {
        **_tier_row(tier),
        "harvesting": arguments.harvesting,
        "keep_instances": arguments.keep_instances,
        "collectors": list(arguments.collector),
        "slots": list(arguments.slot),
        "weight": arguments.weight,
    }
    return Outcome(f"tier {tier.name} created", row)


@dataclass(frozen=True, slots=True, kw_only=True)
class EditTier(TierName):
    target: int | None = option("how many nodes", None)
    harvesting: bool | None = option("whether nodes may be taken", None)


@changes("tier", "edit", EditTier, form=Form.EDIT)
def edit_tier(draft: Draft, arguments: EditTier, caller: Caller) -> Outcome:
    """Change a tier."""
    tier = draft.tier(TierId(arguments.name))
    if caller.expects not in (None, tier.generation):
        raise GenerationMismatch(f"tier {tier.name} was changed meanwhile", remedy="look again")
    edited = replace(tier, target=arguments.target or tier.target)
    draft.put_tier(edited)
    return Outcome(f"tier {tier.name} changed", _tier_row(draft.tiers[tier.name]))


@changes("tier", "delete", TierName, form=Form.DELETE)
def delete_tier(draft: Draft, arguments: TierName, caller: Caller) -> Outcome:
    """Delete a tier."""
    tier = draft.tier(TierId(arguments.name))
    draft.remove_tier(tier.name)
    return Outcome(f"tier {tier.name} deleted")


def activation(view: View, arguments: TierName) -> Sequence[str]:
    """Return what an activation waits for: everything that the plan says."""
    return view.waiting_for(arguments.name)


@changes("tier", "activate", TierName, settled=activation)
def activate_tier(draft: Draft, arguments: TierName, caller: Caller) -> Outcome:
    """Activate a tier."""
    tier = replace(draft.tier(TierId(arguments.name)), state=TierState.ACTIVE)
    draft.put_tier(tier)
    return Outcome(f"tier {tier.name} activated", _tier_row(tier))


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportImage:
    name: str = positional("the image", example="w2k")
    file: str = option("the archive", example="filename.tgz")
    version: str | None = option("its version; the next number if left out", None)
    type: str = option("what it holds", "linux", choices=("linux", "windows", "other"))
    minimum_memory_mib: int = option("memory in MiB", 0)
    attribute: tuple[str, ...] = option("a requirement; repeatable", ())
    startup_s: int = option("seconds until it answers", 300)
    collector: tuple[str, ...] = option("a health check; repeatable", ())


@changes("image", "import", ImportImage, form=Form.CREATE)
def import_image(draft: Draft, arguments: ImportImage, caller: Caller) -> Outcome:
    """Import an image."""
    if arguments.file.endswith("huge.tgz"):
        raise NoSpace("cannot import: 10 TB do not fit")
    number = max(draft.jobs, default=0) + 1
    job = a_job(number, subject=f"{arguments.name}@{arguments.version or 1}", state=JobState.RUNNING)
    draft.put_job(replace(job, arguments={"file": arguments.file}))
    return Outcome(f"import of {job.subject} begun", {"file": arguments.file}, job=number)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobId:
    id: int = positional("the job's number", example="7")


@reads("job", "show", JobId)
def show_job(view: View, arguments: JobId) -> Row:
    """Show a job."""
    job = view.fleet.jobs[arguments.id]
    return {
        "id": job.id,
        "kind": job.kind,
        "subject": job.subject,
        "state": job.state.value,
        "step": job.step,
        "done_bytes": job.done_bytes,
        "total_bytes": job.total_bytes,
        "error": job.error,
        "remedy": job.remedy,
        "generation": job.generation,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class ListEvents:
    subject: str | None = option("only about this", None)
    after: int | None = option("only those after this id", None)
    limit: int = option("how many at most", 100)


@reads("event", "list", ListEvents, form=Form.LIST, columns=("id", "subject", "message"))
def list_events(view: View, arguments: ListEvents) -> list[Row]:
    """List events."""
    found = view.services.journal(
        after=arguments.after or 0,
        limit=arguments.limit,
        subject=arguments.subject,
        newest=arguments.after is None,
    )
    return list(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    pass


@reads("", "status", Nothing)
def status(view: View, arguments: Nothing) -> Row:
    """Say how the site is."""
    return {"nodes": len(view.fleet.nodes), "generation": view.fleet.generation}


@dataclass(frozen=True, slots=True, kw_only=True)
class Apply:
    site: Mapping[str, object] = option("the site file's content")
    prune: bool = option("remove what it does not mention", False)


@changes("", "apply", Apply)
def apply(draft: Draft, arguments: Apply, caller: Caller) -> Outcome:
    """Make intent match a site file."""
    tiers = arguments.site.get("tiers")
    names = [str(name) for name in tiers] if isinstance(tiers, list) else []
    for name in names:
        draft.put_tier(a_tier(name))
    return Outcome(f"{len(names)} tiers")


FAKE_OPERATIONS: dict[tuple[str, str], Operation] = dict(OPERATIONS)
OPERATIONS.clear()
OPERATIONS.update(_REGISTERED_BEFORE)

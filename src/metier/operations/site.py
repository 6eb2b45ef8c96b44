"""The site file: intent as a document, applied by the very operations that an operator has."""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from metier.domain.errors import NeedsAcceptance, NoSuchThing, Refusal, WrongUsage
from metier.domain.fleet import Draft
from metier.domain.ids import TierId, image_ref, natural, physical_node_id, tier_id
from metier.domain.image import Image
from metier.domain.node import NodeKind
from metier.domain.tier import Tier, TierState
from metier.operations.image_settings import offered_vms
from metier.operations.images import CreateImage, EditImage, create_image, edit_image
from metier.operations.node_engagement import Disengage, Engage, disengage, engage
from metier.operations.nodes import AddNode, EditNode, RemoveNode, add_node, edit_node, remove_node
from metier.operations.personality_words import personality_from
from metier.operations.pools import SetPool, set_pool
from metier.operations.registry import Caller, Change, Outcome, View, changes, option
from metier.operations.site_changes import changes_between
from metier.operations.site_document import arguments_from, check_keys, entries, mapping, renamed
from metier.operations.tier_personalize import put_personality
from metier.operations.tier_settled import still_until_edited, still_until_empty
from metier.operations.tier_states import WhichTier, activate, allocate, deactivate, deallocate
from metier.operations.tiers import CreateTier, DeleteTier, EditTier, create_tier, delete_tier, edit_tier

SECTIONS = ("pools", "images", "nodes", "tiers")

_RANKS = {TierState.INACTIVE: 0, TierState.ALLOCATED: 1, TierState.ACTIVE: 2}
_DOWN: Mapping[TierState, Change] = {TierState.INACTIVE: deallocate, TierState.ALLOCATED: deactivate}
_UP: Mapping[TierState, Change] = {TierState.ALLOCATED: allocate, TierState.ACTIVE: activate}


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplySite:
    """The document, and what to do with what it does not mention."""

    document: Mapping[str, Any] = option("the site file's content: pools, images, nodes, tiers")
    prune: bool = option("also remove nodes and tiers that the file's own sections do not mention", False)


@dataclass(slots=True)
class _Run:
    """One application of a document to a draft.

    Warnings that need acceptance are gathered, so that an operator sees all of
    them at once; the draft is thrown away if they are not accepted.
    """

    draft: Draft
    caller: Caller
    notes: list[str] = field(default_factory=list)
    to_accept: list[str] = field(default_factory=list)

    def do(self, change: Change, arguments: Any) -> None:
        caller = replace(self.caller, expects=None)
        try:
            outcome = change(self.draft, arguments, caller)
        except NeedsAcceptance as error:
            self.to_accept += error.warnings
            outcome = change(self.draft, arguments, replace(caller, accept_warnings=True))
        self.notes += outcome.warnings


def still_until_applied(view: View, arguments: ApplySite) -> Sequence[str]:
    """Say what is missing until every tier of the document is as the document has it."""
    document = mapping(arguments.document, "the site file")
    found: list[str] = []
    for _, body in entries(document, "tiers"):
        which = WhichTier(name=body["name"])
        found += [*still_until_edited(view, which), *still_until_empty(view, which)]
    return list(dict.fromkeys(found))


@changes("", "apply", ApplySite, settled=still_until_applied, examples=("metier apply -f site.yaml --plan",))
def apply_site(draft: Draft, arguments: ApplySite, caller: Caller) -> Outcome:
    """Make intent match a site file; what it does not mention is left alone.

    With --prune, nodes and tiers that the file's own sections do not mention are
    removed; images never are.  Either all of the file is applied or none.
    """
    document = mapping(arguments.document, "the site file")
    check_keys(document, SECTIONS, "")
    before = draft.freeze()
    run = _Run(draft, caller)
    _apply_pools(run, document)
    _apply_images(run, document)
    _apply_nodes(run, document)
    _apply_tiers(run, document)
    if arguments.prune:
        _prune(run, document)
    if run.to_accept and not caller.accept_warnings:
        raise NeedsAcceptance("applying the site file has consequences", tuple(dict.fromkeys(run.to_accept)))
    found = changes_between(before, draft)
    count = "1 change" if len(found) == 1 else f"{len(found)} changes"
    message = f"site file applied: {count}" if found else "the site is as the file says already"
    return Outcome(message, {"changes": found}, tuple(dict.fromkeys(run.notes)))


def _apply_pools(run: _Run, document: Mapping[str, Any]) -> None:
    if document.get("pools") is not None:
        run.do(set_pool, arguments_from(SetPool, mapping(document["pools"], "pools"), "pools"))


# --- images ------------------------------------------------------------------

_OFFERS = ("vms", "vm_memory", "vm_cpus", "vm_disk", "vm_network", "vm")


def _apply_images(run: _Run, document: Mapping[str, Any]) -> None:
    for path, body in entries(document, "images", "image"):
        body = renamed(body, "images", path)
        ref = image_ref(body.pop("image"))
        image = run.draft.images.get(ref)
        if image is None:
            _create_image(run, path, {**body, "name": ref.name, "version": ref.version})
        else:
            _check_content(image, path, body)
            settings = {key: value for key, value in body.items() if key not in (*_OFFERS, "type")}
            run.do(edit_image, arguments_from(EditImage, {**settings, "name": str(ref)}, path))


def _create_image(run: _Run, path: str, body: Mapping[str, Any]) -> None:
    if not any(key in body for key in _OFFERS):
        raise NoSuchThing(
            f"{path}: there is no image {body['name']}@{body['version']}",
            remedy="import it first: `metier image import`; only host images can be written into a site file",
        )
    run.do(create_image, arguments_from(CreateImage, body, path))


def _check_content(image: Image, path: str, body: Mapping[str, Any]) -> None:
    if "type" in body and body["type"] != image.type:
        raise Refusal(f"{path}: image {image.ref} is of type {image.type}, not {body['type']}")
    offers = {key: body[key] for key in _OFFERS if key in body}
    if not offers:
        return
    wanted = offered_vms(arguments_from(CreateImage, {**offers, "name": image.ref.name}, path))
    if wanted != image.offers:
        raise Refusal(
            f"{path}: image {image.ref} offers other VMs, and a version never changes",
            remedy="write a new version into the file and put the tier on it",
        )


# --- nodes -------------------------------------------------------------------


def _apply_nodes(run: _Run, document: Mapping[str, Any]) -> None:
    for path, body in entries(document, "nodes"):
        body = renamed(body, "nodes", path)
        engaged, why = body.pop("engaged", None), body.pop("why", "")
        name = physical_node_id(body["name"])
        if name in run.draft.nodes:
            run.do(edit_node, arguments_from(EditNode, body, path))
        else:
            run.do(add_node, arguments_from(AddNode, body, path))
        if engaged is not None and not isinstance(engaged, bool):
            raise WrongUsage(f"{path}.engaged: expected true or false, found {engaged!r}")
        if engaged is True:
            run.do(engage, Engage(name=name))
        if engaged is False:
            run.do(disengage, arguments_from(Disengage, {"name": name, "why": why}, path))


# --- tiers -------------------------------------------------------------------


def _apply_tiers(run: _Run, document: Mapping[str, Any]) -> None:
    """Apply tiers in passes, so that their order in the file does not matter.

    States that go down come first, because they permit edits; dependencies come
    once all tiers exist; states that go up come last.
    """
    given = dict(entries(document, "tiers"))
    bodies = {path: _tier_body(body, path) for path, body in given.items()}
    for path, body in bodies.items():
        _move(run, path, body, _DOWN, is_due=operator.gt)
    for path, body in bodies.items():
        _configure(run, path, body)
    for path, body in bodies.items():
        if "depends_on" in body:
            only = {"name": body["name"], "depends_on": body["depends_on"]}
            run.do(edit_tier, arguments_from(EditTier, only, path))
    for path, body in given.items():
        _personalize(run, path, body)
    for path, body in bodies.items():
        _move(run, path, body, _UP, is_due=operator.lt)


def _tier_body(body: dict[str, Any], path: str) -> dict[str, Any]:
    flat = {key: value for key, value in body.items() if key not in ("requirements", "slots", "personality")}
    for key, value in _optional(body, "requirements", path).items():
        if key in flat:
            raise WrongUsage(f"{path}.{key}: the same is given in {path}.requirements")
        flat[key] = value
    flat = renamed(flat, "tiers", path)
    addresses, hostnames = _slot_words(body, path)
    for key, words in (("slot_address", addresses), ("hostname", hostnames)):
        if words:
            if key in flat:
                raise WrongUsage(f"{path}.{key}: the same is given in {path}.slots")
            flat[key] = words
    return flat


def _optional(body: Mapping[str, Any], key: str, path: str) -> Mapping[str, Any]:
    return {} if body.get(key) is None else mapping(body[key], f"{path}.{key}")


def _slot_words(body: Mapping[str, Any], path: str) -> tuple[list[str], list[str]]:
    """Return the slots of a tier's body as the options of a command have them."""
    addresses, hostnames = [], []
    for where, slot in _slots(body, path):
        check_keys(slot, ("slot", "hostname", "address", "gateway", "personality"), where)
        if "slot" not in slot:
            raise WrongUsage(f"{where}: slot is missing")
        if "address" in slot:
            router = f",{slot['gateway']}" if slot.get("gateway") else ""
            addresses.append(f"{slot['slot']}={slot['address'] or ''}{router}")
        elif slot.get("gateway"):
            raise WrongUsage(f"{where}.gateway: a gateway goes with an address")
        if "hostname" in slot:
            hostnames.append(f"{slot['slot']}={slot['hostname'] or ''}")
    return addresses, hostnames


def _slots(body: Mapping[str, Any], path: str) -> list[tuple[str, Mapping[str, Any]]]:
    slots = [] if body.get("slots") is None else body["slots"]
    if not isinstance(slots, list):
        raise WrongUsage(f"{path}.slots: expected a list")
    return [
        (f"{path}.slots[{place}]", mapping(slot, f"{path}.slots[{place}]"))
        for place, slot in enumerate(slots)
    ]


def _personalize(run: _Run, path: str, body: Mapping[str, Any]) -> None:
    """Give a tier and its slots the personalities that the file has for them, each as a whole."""
    name = tier_id(body["name"])
    told: list[tuple[str, int | None, Mapping[str, Any]]] = [(path, None, body)]
    told += [(where, _number(slot, where), slot) for where, slot in _slots(body, path)]
    for where, number, part in told:
        if "personality" in part:
            personality = personality_from(part["personality"], f"{where}.personality")
            put_personality(run.draft, run.draft.tiers[name], number, personality)


def _number(slot: Mapping[str, Any], path: str) -> int:
    number = slot["slot"]
    if not isinstance(number, int) or isinstance(number, bool):
        raise WrongUsage(f"{path}.slot: expected a whole number, found {number!r}")
    return number


def _configure(run: _Run, path: str, body: Mapping[str, Any]) -> None:
    settings = {key: value for key, value in body.items() if key not in ("state", "depends_on")}
    if tier_id(body["name"]) in run.draft.tiers:
        run.do(edit_tier, arguments_from(EditTier, settings, path))
    else:
        run.do(create_tier, arguments_from(CreateTier, settings, path))


def _move(
    run: _Run,
    path: str,
    body: Mapping[str, Any],
    ways: Mapping[TierState, Change],
    *,
    is_due: Callable[[int, int], bool],
) -> None:
    tier: Tier | None = run.draft.tiers.get(TierId(body["name"]))
    if tier is None or body.get("state") is None:
        return
    try:
        goal = TierState(body["state"])
    except ValueError as error:
        raise WrongUsage(
            f"{path}.state: there is no state {body['state']!r}; there are: {', '.join(TierState)}"
        ) from error
    if is_due(_RANKS[tier.state], _RANKS[goal]):
        run.do(ways[goal], WhichTier(name=tier.name))


# --- what the file does not mention ------------------------------------------


def _prune(run: _Run, document: Mapping[str, Any]) -> None:
    if document.get("tiers") is not None:
        kept = {body["name"] for _, body in entries(document, "tiers")}
        for name in sorted(set(run.draft.tiers) - kept, key=natural):
            _prune_tier(run, run.draft.tiers[name])
    if document.get("nodes") is not None:
        kept = {body["name"] for _, body in entries(document, "nodes")}
        physical = {node.name for node in run.draft.nodes.values() if node.kind is NodeKind.PHYSICAL}
        for node_name in sorted(physical - kept, key=natural):
            _prune_node(run, node_name)


def _prune_tier(run: _Run, tier: Tier) -> None:
    if tier.state is not TierState.INACTIVE:
        run.do(deallocate, WhichTier(name=tier.name))
    if run.draft.members(tier.name):
        run.notes.append(f"tier {tier.name} is deallocated first: apply the file again to delete it")
    else:
        run.do(delete_tier, DeleteTier(name=tier.name))


def _prune_node(run: _Run, name: str) -> None:
    try:
        run.do(remove_node, RemoveNode(name=name))
    except Refusal as error:
        run.notes.append(f"{error}: apply the file again then")

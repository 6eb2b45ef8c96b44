"""The guided update of an image: the manual's fourteen steps as one recorded piece of intent."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from metier.domain.errors import Refusal, WrongUsage
from metier.domain.fleet import Draft, Fleet, Kind
from metier.domain.ids import ImageRef, NodeId, TierId, node_id, tier_id
from metier.domain.image import Image
from metier.domain.matching import obstacles
from metier.domain.procedure import Procedure
from metier.domain.tier import Tier, TierKind
from metier.domain.update_place import Spot, free_node, is_fit, new_host, why_none
from metier.operations.addresses import slot_settings
from metier.operations.image_settings import ImageOptions, with_settings
from metier.operations.images import new_ref
from metier.operations.procedure_retry import retried
from metier.operations.procedure_row import newest_procedure, procedure_row, tiers_behind
from metier.operations.records import check_expected, find_image, find_node, find_tier
from metier.operations.registry import Caller, Outcome, View, changes, option, positional
from metier.operations.tier_settings import chosen_image
from metier.operations.tiers import CreateTier, create_tier

KEPT = 20
"""So many procedures that ended are kept for whoever asks how they went."""

_NAME_LENGTH = 40
"""Of an image's name so much goes into the names of its tiers, which have a limit too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateImage(ImageOptions):
    """Which image, where it is changed, and what is to follow."""

    name: str = positional("the image to update: NAME@VERSION, or NAME for the newest", example="w2k")
    version: str = option("the version to make; left out, the next number", "", example="4")
    node: str = option(
        "the free virtual node to change it on; left out, the cheapest", "", example="host-1/VM2"
    )
    host_image: str = option(
        "the host image to start if no virtual node is free; left out, any that fits", "", example="vmm@1"
    )
    hostname: str = option("host name of the guest while it is changed", "", example="w2k-new")
    address: str = option("address of it with prefix length; left out, by DHCP", "", example="10.0.0.9/24")
    gateway: str = option("gateway that goes with --address", "", example="10.0.0.1")
    roll_out: tuple[str, ...] = option(
        "a tier to put on the new version at the end; repeatable", (), example="web"
    )
    roll_out_all: bool = option("put all tiers on older versions on the new one at the end", False)
    retry: bool = option("go on after a problem", False)
    abort: bool = option("give the update up and put everything back", False)


def still_until_updated(view: View, arguments: UpdateImage) -> Sequence[str]:
    """Say what an update waits for; raises Refusal once it needs a person, or was given up by one."""
    procedure = newest_procedure(list(view.fleet.procedures.values()), arguments.name)
    if procedure is None:
        return []
    if procedure.problem:
        raise Refusal(f"{procedure.caller}: {procedure.problem}", remedy=procedure.remedy)
    if procedure.is_live:
        return [f"{procedure.caller}, {procedure.stage}: {procedure.told}"]
    if procedure.aborted_by and not arguments.abort:
        raise Refusal(f"{procedure.caller} was given up by {procedure.aborted_by}")
    return []


@changes(
    "image",
    "update",
    UpdateImage,
    settled=still_until_updated,
    examples=(
        "metier image update w2k",
        "metier image update w2k@3 --node host-1/VM2 --version 4 --roll-out web",
        "metier image update w2k --abort",
    ),
)
def update_image(draft: Draft, arguments: UpdateImage, caller: Caller) -> Outcome:
    """Change an image by hand on a running guest, and make the result its next version.

    A virtual node that is free is taken, or a host is started to offer one; the image runs
    there in a tier of its own, out of automation's hands.  You change the guest and shut it
    down from inside.  Then the new version is captured and all is put back.  It goes on
    if the controller is started anew; the same command shows how far it is.
    """
    procedure = newest_procedure(list(draft.procedures.values()), arguments.name)
    procedure = procedure if procedure is not None and procedure.is_live else None
    if not (arguments.retry or arguments.abort):
        return _begin(draft, arguments, caller) if procedure is None else _again(draft, procedure, arguments)
    if arguments.retry and arguments.abort:
        raise WrongUsage("--retry and --abort exclude each other")
    if procedure is None:
        raise Refusal(
            f"no update of image {arguments.name} is under way", remedy="see `metier procedure list`"
        )
    check_expected(caller, procedure, procedure.caller)
    if arguments.abort:
        return _give_up(draft, procedure, caller)
    version = new_ref(draft, procedure.image.name, arguments.version) if arguments.version else None
    after = retried(draft, procedure, version, caller)
    return _outcome(draft, after, f"{procedure.caller} of {procedure.image} goes on")


def _outcome(draft: Draft, procedure: Procedure, message: str, *warnings: str) -> Outcome:
    if draft.procedures.get(procedure.id) != procedure:
        draft.put_procedure(procedure)
    return Outcome(message, procedure_row(draft, draft.procedures[procedure.id]), warnings)


def _again(draft: Draft, procedure: Procedure, arguments: UpdateImage) -> Outcome:
    """Answer the same command given again; one that wants something else is refused."""
    if arguments != UpdateImage(name=arguments.name) or arguments.name not in (
        procedure.image.name,
        str(procedure.image),
    ):
        raise Refusal(
            f"{procedure.caller} of {procedure.image} is under way: {procedure.told}",
            remedy=f"see it with `metier procedure show {procedure.id}`, "
            f"or give it up: `metier image update {procedure.image} --abort`",
        )
    return _outcome(draft, procedure, f"{procedure.caller} of {procedure.image} is under way already")


def _give_up(draft: Draft, procedure: Procedure, caller: Caller) -> Outcome:
    if procedure.captured:
        raise Refusal(
            f"cannot give {procedure.caller} up: image {procedure.version} is there already",
            remedy=f"delete the version if you do not want it: `metier image deactivate {procedure.version}`",
        )
    if procedure.aborted_by:
        return _outcome(
            draft, procedure, f"{procedure.caller} is given up already, and all is being put back"
        )
    after = replace(procedure, aborted_by=caller.name, problem="", remedy="")
    return _outcome(draft, after, f"{procedure.caller} of {procedure.image} given up; all is put back")


# --- the beginning -------------------------------------------------------------------------


def _begin(draft: Draft, arguments: UpdateImage, caller: Caller) -> Outcome:
    image = chosen_image(draft, arguments.name)
    if image.is_host_image or image.machine is None:
        raise WrongUsage(
            f"image {image.ref} is a host image: it has no guest that could be changed",
            remedy="make its next version with `metier image create`",
        )
    number = max(draft.procedures, default=0) + 1
    procedure = Procedure(
        id=number,
        image=image.ref,
        version=new_ref(draft, image.ref.name, arguments.version),
        created=caller.now,
        tier=_free_name(draft, image),
        by=caller.name,
        wanted=node_id(arguments.node) if arguments.node else None,
        host_image=_host_image(draft, arguments.host_image),
        slot=slot_settings(
            1, arguments.hostname or None, arguments.address or None, arguments.gateway or None
        ),
        capture=_capture_options(image, arguments),
        roll_out=_roll_outs(draft, image, arguments),
        since=caller.now,
    )
    _rehearse(draft, procedure, caller)
    told = _route(procedure, _spot(draft, procedure))
    _forget_oldest(draft)
    return _outcome(draft, procedure, f"{procedure.caller} of {image.ref} begun: {told}")


def _free_name(fleet: Fleet, image: Image) -> TierId:
    """Return a name that neither a tier has, nor the host tier that goes with it."""
    taken = {name.lower() for name in fleet.tiers}
    base = f"update-{image.ref.name[:_NAME_LENGTH].rstrip('._-')}"
    names = (base, *(f"{base}-{number}" for number in range(2, len(taken) + 3)))
    return TierId(next(name for name in names if not {name.lower(), f"{name}-host".lower()} & taken))


def _host_image(fleet: Fleet, text: str) -> ImageRef | None:
    if not text:
        return None
    image = find_image(fleet, text)
    if not image.is_host_image:
        raise WrongUsage(f"image {image.ref} is no host image", remedy="see `metier image list`")
    return image.ref


def _capture_options(image: Image, arguments: UpdateImage) -> dict[str, object]:
    """Return the settings that were given for the new version; raises WrongUsage like the capture would."""
    with_settings(image, arguments)
    given = {part.name: getattr(arguments, part.name) for part in fields(ImageOptions)}
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in given.items()
        if value not in (None, ())
    }


def _roll_outs(fleet: Fleet, image: Image, arguments: UpdateImage) -> tuple[TierId, ...]:
    if arguments.roll_out_all:
        if arguments.roll_out:
            raise WrongUsage("--roll-out and --roll-out-all exclude each other")
        found = tiers_behind(fleet, ImageRef(image.ref.name, ""))
        return tuple(tier.name for tier in found)
    tiers = [find_tier(fleet, name) for name in dict.fromkeys(map(tier_id, arguments.roll_out))]
    for tier in tiers:
        if tier.kind is not TierKind.GUEST or tier.image.name != image.ref.name:
            raise Refusal(
                f"cannot roll the new version of {image.ref.name} out over tier {tier.name}: "
                f"it runs {tier.image}",
                remedy="leave it away, and update that tier by itself: `metier tier update`",
            )
    return tuple(tier.name for tier in tiers)


def _rehearse(draft: Draft, procedure: Procedure, caller: Caller) -> None:
    """Raise what the creation of the tier would, before anything is begun."""
    slot = procedure.slot
    place = f"1={slot.address}" + (f",{slot.gateway}" if slot.gateway else "")
    tier = CreateTier(
        name=procedure.tier,
        image=str(procedure.image),
        hostname=(f"1={slot.hostname}",) if slot.hostname else (),
        slot_address=(place,) if slot.address else (),
    )
    create_tier(draft.edit(), tier, caller)


def _spot(fleet: Fleet, procedure: Procedure) -> Spot:
    """Return where it will run as things are; raises Refusal, with numbers, where that is nowhere."""
    tier = procedure.guest_tier()
    if procedure.wanted is not None:
        return Spot(_wanted(fleet, procedure.wanted, tier))
    node = free_node(fleet, tier)
    spot = new_host(fleet, tier, procedure.host_image) if node is None else Spot(node)
    if spot is None:
        raise Refusal(
            f"cannot update image {procedure.image}: {why_none(fleet, tier)}",
            remedy="free a virtual node, or a physical one that has a VM manager; see `metier node list`",
        )
    return spot


def _wanted(fleet: Fleet, name: NodeId, tier: Tier) -> NodeId:
    node = find_node(fleet, name)
    if is_fit(fleet, node, tier):
        return name
    found = obstacles(fleet, node, tier)
    why = "; ".join(one.sentence for one in found) or "its VM still has something on it"
    cures = "; ".join(one.cure for one in found if one.cure)
    raise Refusal(
        f"cannot update image {tier.image} on {name}: {why}", remedy=cures or "name another node, or none"
    )


def _route(procedure: Procedure, spot: Spot) -> str:
    """Return the whole way in one sentence, for whoever asked what would follow."""
    first = f"{spot.node} runs it in tier {procedure.tier}"
    if spot.host is not None:
        first = f"{spot.host} becomes a host with {spot.host_image} in tier {procedure.tier}-host, {first}"
    last = f", and rolls it out over {', '.join(procedure.roll_out)}" if procedure.roll_out else ""
    return (
        f"{first}; you change the guest and shut it down from inside; "
        f"then Metier captures {procedure.version}, puts all back{last}"
    )


def _forget_oldest(draft: Draft) -> None:
    ended = sorted(one.id for one in draft.procedures.values() if not one.is_live)
    for number in ended[: max(0, len(ended) - KEPT + 1)]:
        draft.put(Kind.PROCEDURE, number, None)

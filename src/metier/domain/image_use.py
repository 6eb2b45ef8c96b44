"""Who needs an image version: what its deletion would break."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from metier.domain.fleet import Fleet
from metier.domain.ids import ImageRef, natural
from metier.domain.image import Image
from metier.domain.job import FINAL, Job

# So many of whom the same is said are named.
_NAMED = 20


@dataclass(frozen=True, slots=True)
class Use:
    """One that needs a version.

    Attributes:
        kind: `tier`, `procedure`, `job`, `slot`, `node`, or `host` that holds it for one of them.
        name: Which one.
        what: A sentence about the version, `it`, with `{}` for the name: `it is assigned to tier {}`.
        remedy: What ends it.
    """

    kind: str
    name: str
    what: str
    remedy: str


def uses(fleet: Fleet, ref: ImageRef) -> list[Use]:
    """Return who needs a version, the most telling first; empty if it can be deleted."""
    return [*_tiers(fleet, ref), *_procedures(fleet, ref), *_jobs(fleet, ref), *_instances(fleet, ref)]


def used_versions(fleet: Fleet) -> set[ImageRef]:
    """Return the versions that anybody needs; in one walk, for those who ask about all."""
    used = {ref for tier in fleet.tiers.values() for ref in tier.versions}
    used |= {slot.instance.image for slot in fleet.slots.values() if slot.instance is not None}
    used |= {node.instance.image for node in fleet.nodes.values() if node.instance is not None}
    used |= {ref for one in fleet.procedures.values() if one.is_live for ref in one.uses}
    return used | {ref for job in fleet.jobs.values() if job.state not in FINAL for ref in named_by(job)}


def host_key(image: Image) -> str:
    """Return what hosts call their copy of a version.

    Its digest is in it: a version that is made anew under a deleted one's name and number never
    runs from the copy that a host kept of that.
    """
    return f"{image.ref}-{image.digest[-12:]}"


def named_by(job: Job) -> set[ImageRef]:
    """Return the versions that a job is on or reads from."""
    tables = [job.arguments, *(value for value in job.arguments.values() if isinstance(value, dict))]
    named = {
        ImageRef(table["name"], table["version"])
        for table in tables
        if isinstance(table.get("name"), str) and isinstance(table.get("version"), str)
    }
    name, at, version = job.subject.partition("@")
    return named | {ImageRef(name, version)} if at else named


def _tiers(fleet: Fleet, ref: ImageRef) -> Iterator[Use]:
    for name, tier in sorted(fleet.tiers.items(), key=lambda item: natural(item[0])):
        if ref not in tier.versions:
            continue
        if tier.rollout is None:
            remedy = "put that tier on another version, or delete the tier"
            yield Use("tier", name, "it is assigned to tier {}", remedy)
            continue
        word = "to" if ref == tier.image else "from"
        remedy = f"let the roll-out end first: `metier tier explain {name}`"
        yield Use("tier", name, f"a roll-out {word} it is under way in tier {{}}", remedy)


def _procedures(fleet: Fleet, ref: ImageRef) -> Iterator[Use]:
    for one in fleet.procedures.values():
        if one.is_live and ref in one.uses:
            remedy = f"wait for it, or give it up: `metier image update {one.image} --abort`"
            what = f"image update {{}} of {one.image} by {one.by} uses it"
            yield Use("procedure", str(one.id), what, remedy)


def _jobs(fleet: Fleet, ref: ImageRef) -> Iterator[Use]:
    for job in fleet.jobs.values():
        if job.state in FINAL or ref not in named_by(job):
            continue
        what = job.kind if job.subject == str(ref) else f"{job.kind} of {job.subject}"
        remedy = f"wait for it, or cancel it: `metier job cancel {job.id}`"
        yield Use("job", str(job.id), f"job {{}} is at work on it ({what})", remedy)


def _instances(fleet: Fleet, ref: ImageRef) -> Iterator[Use]:
    remedy = "wait until that is stopped and discarded, or delete the tier that keeps it"
    held = [
        ("slot", str(slot.id), slot.instance)
        for slot in fleet.slots.values()
        if slot.instance is not None and slot.instance.image == ref
    ]
    held += [
        ("node", str(node.name), node.instance)
        for node in fleet.nodes.values()
        if node.instance is not None and node.instance.image == ref
    ]
    for kind, name, _ in sorted(held, key=lambda one: natural(one[1])):
        yield Use(kind, name, "the data of {} still stands on it", remedy)
    for host in sorted({instance.store for *_, instance in held}, key=natural):
        yield Use("host", host, "{} holds a copy of it for instances there", remedy)


def in_sentences(found: Sequence[Use]) -> list[str]:
    """Return what is said of these, those of whom the same is said together."""
    names: dict[str, list[str]] = {}
    for use in found:
        known = names.setdefault(use.what, [])
        if use.name not in known:
            known.append(use.name)
    return [what.replace("{}", _some(known)) for what, known in names.items()]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more

"""From an image version to its next one: the questions of the manual, in its order.

Every step shows by the Fleet whether it is done.  So any of them may be asked for again,
and a controller that was killed in between goes on where things stand.
"""

from metier.domain.evidence import power_seen
from metier.domain.fleet import Fleet
from metier.domain.job import FINAL, Job, JobState
from metier.domain.lifecycle import Lifecycle
from metier.domain.node import Node, Request
from metier.domain.observation import Health, Power
from metier.domain.procedure import Procedure, Stage
from metier.domain.status import health, status
from metier.domain.tier import Tier, TierState
from metier.planner.updating.ending import put_back
from metier.planner.updating.finding import begin
from metier.planner.updating.step import Order, Step, abort, retry, stuck

_UNTOUCHED = (Stage.FINDING, Stage.STARTING)
"""Stages in which nobody has changed anything in the guest yet."""


def next_step(fleet: Fleet, procedure: Procedure) -> Step:
    """Return what an update procedure does now, or what it waits for."""
    if procedure.is_ending:
        return put_back(fleet, procedure)
    if procedure.image not in fleet.images:
        return stuck(procedure.stage, f"image {procedure.image} is gone", f"give it up: {abort(procedure)}")
    tier = fleet.tiers.get(procedure.tier)
    if tier is None:
        return begin(fleet, procedure)
    return _astray(fleet, procedure, tier) or _on_tier(fleet, procedure, tier)


# --- what others did meanwhile ---------------------------------------------------------------


def _astray(fleet: Fleet, procedure: Procedure, tier: Tier) -> Step | None:
    """Return what a person has to decide after somebody, or a fault, changed what the procedure made."""
    if tier.image != procedure.image:
        problem = f"tier {tier.name} was put on image {tier.image} by somebody"
        return stuck(procedure.stage, problem, f"put it back on {procedure.image}, or {abort(procedure)}")
    if tier.state is not TierState.ACTIVE and procedure.stage is not Stage.FINDING:
        problem = f"tier {tier.name} is {tier.state} by somebody's order: its guest is shut down by Metier"
        remedy = f"activate it: `metier tier activate {tier.name}`; or {abort(procedure)}"
        return stuck(procedure.stage, problem, remedy)
    node = member(fleet, procedure)
    if node is not None and node.name == procedure.node:
        return None
    if procedure.stage not in _UNTOUCHED:
        problem = (
            f"{procedure.node}, on which the guest was changed, left tier {tier.name}: the change is lost"
        )
        return stuck(procedure.stage, problem, f"begin anew with {retry(procedure)}, or {abort(procedure)}")
    if node is None:
        return begin(fleet, procedure)
    return Step(Stage.STARTING, f"goes on with {node.name}", fields={"node": node.name})


def member(fleet: Fleet, procedure: Procedure) -> Node | None:
    """Return the node that fills the only slot of the guest tier."""
    return next(iter(fleet.member_nodes(procedure.tier)), None)


# --- on its node ------------------------------------------------------------------------------


def _on_tier(fleet: Fleet, procedure: Procedure, tier: Tier) -> Step:
    assert procedure.node is not None
    node = fleet.nodes[procedure.node]
    if tier.state is not TierState.ACTIVE:
        activate = Order("tier", "activate", {"name": tier.name})
        return Step(Stage.STARTING, f"starts image {procedure.image} on {node.name}", (activate,))
    if procedure.job is not None:
        return _follow_capture(fleet, procedure)
    if node.name not in procedure.disengaged:
        return _start(fleet, procedure, node)
    return _hand_over(fleet, procedure, node)


def _start(fleet: Fleet, procedure: Procedure, node: Node) -> Step:
    """Wait until the guest runs, then keep automation's hands off it."""
    if node.lifecycle is Lifecycle.FAILED:
        problem = f"image {procedure.image} did not start on {node.name}: {node.problem}"
        return stuck(Stage.STARTING, problem, f"try again with {retry(procedure)}, or {abort(procedure)}")
    if node.lifecycle is not Lifecycle.RUNNING or health(fleet, node) is not Health.NORMAL:
        return Step(
            Stage.STARTING,
            f"waits until {node.name} is normal; it is {status(fleet, node)}{_failing(fleet, node)}",
        )
    why = f"{procedure.image} is changed on it"
    order = Order("node", "disengage", {"name": node.name, "why": why})
    fields = {"disengaged": (*procedure.disengaged, node.name)}
    return Step(Stage.CHANGING, f"keeps automation's hands off {node.name}", (order,), fields)


def _failing(fleet: Fleet, node: Node) -> str:
    """Return what its collectors have against a guest that was started, as the end of a sentence."""
    if node.lifecycle not in (Lifecycle.STARTING, Lifecycle.RUNNING):
        return ""
    failed = [check for check in fleet.seen(node.name).checks if not check.ok]
    return "".join(f"; {check.collector}: {check.message}" for check in failed)


def _hand_over(fleet: Fleet, procedure: Procedure, node: Node) -> Step:
    """Wait, as long as it takes, until the guest has shut itself down."""
    if node.engaged:
        problem = f"{node.name} was engaged by somebody, so automation may touch it"
        remedy = f"`metier node disengage {node.name} --why 'changing its image'`, or {abort(procedure)}"
        return stuck(Stage.CHANGING, problem, remedy)
    if node.lifecycle in (Lifecycle.STOPPING, Lifecycle.IDLE) or _is_ordered_down(node):
        problem = f"{node.name} was shut down by Metier, by somebody's order, and not by its guest OS"
        remedy = (
            f"start it again with `metier node power-on {node.name} --wait`, then shut its guest OS down "
            "from its console"
        )
        return stuck(Stage.CHANGING, problem, remedy)
    host = fleet.host_of(node)
    if host is None or host.lifecycle is not Lifecycle.RUNNING:
        word = "gone" if host is None else status(fleet, host)
        problem = f"{node.host}, the host of {node.name}, is {word}"
        remedy = (
            f"once it runs again, `metier node power-on {node.name}` starts the guest; or {abort(procedure)}"
        )
        return stuck(Stage.CHANGING, problem, remedy)
    power, at = power_seen(fleet, node)
    since = node.started_at or node.since
    has_run = node.lifecycle in (Lifecycle.STARTING, Lifecycle.RUNNING, Lifecycle.FAILED)
    if has_run and power is Power.OFF and at is not None and (since is None or at > since):
        return _capture(procedure, node)
    if power is Power.UNKNOWN:
        return Step(Stage.CHANGING, f"whether {node.name} is on cannot be seen; it waits until it can")
    return Step(Stage.CHANGING, f"change the guest on {node.name}, then shut it down from inside")


def _is_ordered_down(node: Node) -> bool:
    return node.request is not None and node.request is not Request.POWER_ON


def _capture(procedure: Procedure, node: Node) -> Step:
    given = {
        name: tuple(value) if isinstance(value, list) else value for name, value in procedure.capture.items()
    }
    version = procedure.version
    arguments = {"name": version.name, "version": version.version, "node": node.name, **given}
    order = Order("image", "capture", arguments, note_job=True, accept_warnings=procedure.accept_unclean)
    return Step(Stage.CAPTURING, f"captures {version} from {node.name}", (order,))


def _follow_capture(fleet: Fleet, procedure: Procedure) -> Step:
    job = fleet.jobs.get(procedure.job) if procedure.job is not None else None
    if job is None or job.state is JobState.DONE:
        if procedure.version in fleet.images:
            return Step(Stage.PUTTING_BACK, f"image {procedure.version} is there", fields={"captured": True})
        problem = f"image {procedure.version} was captured, and is gone"
        return stuck(Stage.CAPTURING, problem, f"capture it again with {retry(procedure)}")
    if job.state in FINAL:
        return _captured_in_vain(fleet, procedure, job)
    share = f", {100 * job.done_bytes // job.total_bytes} %" if job.total_bytes else ""
    return Step(Stage.CAPTURING, f"job {job.id} captures {procedure.version}: {job.step or job.state}{share}")


def _captured_in_vain(fleet: Fleet, procedure: Procedure, job: Job) -> Step:
    """Go back to the person's turn if the guest runs again; else say how to go on."""
    assert procedure.node is not None
    name = procedure.node
    if power_seen(fleet, fleet.nodes[name])[0] is Power.ON:
        return Step(Stage.CHANGING, f"{name} runs again", fields={"job": None})
    problem = f"job {job.id}: {job.error}" if job.error else f"the capture, job {job.id}, was {job.state}"
    first = f"{job.remedy}. " if job.remedy else ""
    ways = (
        f"{retry(procedure)} captures it again, with --accept-warnings as it is; "
        f"`metier node power-on {name}` starts it again; {abort(procedure)} gives it up"
    )
    return stuck(Stage.CAPTURING, problem, first + ways)

"""What a person's word that an update procedure may go on changes in its record."""

from dataclasses import replace

from metier.domain.errors import Refusal
from metier.domain.fleet import Draft
from metier.domain.ids import ImageRef
from metier.domain.job import FINAL, JobState
from metier.domain.lifecycle import Lifecycle
from metier.domain.procedure import Procedure, Stage
from metier.domain.tier import TierState
from metier.operations.node_power import SwitchNode, power_cycle
from metier.operations.registry import Caller


def retried(draft: Draft, procedure: Procedure, version: ImageRef | None, caller: Caller) -> Procedure:
    """Return a procedure without what keeps it from going on; a guest that did not start is started again.

    Raises:
        Refusal: It is being put back, so there is nothing to go on with.
    """
    if procedure.is_ending:
        raise Refusal(
            f"{procedure.caller} is over: all is being put back", remedy=f"it waits for: {procedure.told}"
        )
    after = replace(procedure, problem="", remedy="", version=version or procedure.version)
    after = replace(after, accept_unclean=after.accept_unclean or caller.accept_warnings)
    after = _without_lost(draft, _without_failed_capture(draft, after))
    _start_again(draft, after, caller)
    return after


def _without_failed_capture(draft: Draft, procedure: Procedure) -> Procedure:
    job = draft.jobs.get(procedure.job) if procedure.job is not None else None
    is_in_vain = job is None or (job.state in FINAL and job.state is not JobState.DONE)
    is_gone = job is not None and job.state is JobState.DONE and procedure.version not in draft.images
    return replace(procedure, job=None) if is_in_vain or is_gone else procedure


def _without_lost(draft: Draft, procedure: Procedure) -> Procedure:
    """Forget tiers and nodes that are gone, or that are no longer in the tier: it begins anew from there."""
    made = tuple(name for name in procedure.made if name in draft.tiers)
    members = set(draft.members(procedure.tier).values())
    mine = tuple(
        name
        for name in procedure.disengaged
        if (node := draft.nodes.get(name)) is not None and not node.engaged
    )
    after = replace(procedure, made=made, disengaged=mine)
    if procedure.host_tier is not None and procedure.host_tier not in made:
        after = replace(after, host_tier=None)
    tier = draft.tiers.get(procedure.tier)
    is_running = tier is not None and tier.state is TierState.ACTIVE
    if procedure.node in members and procedure.node in mine:
        return after if is_running else replace(after, stage=Stage.FINDING)
    where = procedure.node if procedure.node in members else None
    return replace(after, node=where, job=None, stage=Stage.STARTING if is_running else Stage.FINDING)


def _start_again(draft: Draft, procedure: Procedure, caller: Caller) -> None:
    node = draft.nodes.get(procedure.node) if procedure.node is not None else None
    tier = draft.tiers.get(procedure.tier)
    if node is None or tier is None or tier.state is not TierState.ACTIVE or node.tier != tier.name:
        return
    if node.lifecycle is Lifecycle.FAILED and node.engaged and node.request is None:
        power_cycle(draft, SwitchNode(name=node.name), replace(caller, accept_warnings=True, expects=None))

"""Finds out who else has an instance: what is given out or deleted must be on no other VM."""

from metier.domain.errors import Refused
from metier.drivers.hypervisor.vsphere import vms
from metier.drivers.hypervisor.vsphere.session import Session


def other_user(number: int, instance: str, listed: vms.Listed) -> vms.Vm | None:
    """Return another VM on this host that an instance is on: one of its own, or a stray."""
    return next(
        (vm for vm in listed.owned if vm.instance == instance and vm.number != number),
        next((vm for vm in listed.strayed if vm.instance == instance), None),
    )


def refuse_if_elsewhere(session: Session, number: int, instance: str, listed: vms.Listed) -> None:
    """Raise Refused if an instance is on another VM than `number`, be it one that was moved away."""
    other = other_user(number, instance, listed)
    if other is not None:
        assert other.mark is not None
        _refuse(session, number, instance, f"VM{other.number} of {other.mark.node}", "retire it")
    mine = vms.find(listed, number)
    if mine is None or mine.instance != instance:
        away = _moved_away(session, instance, listed)
        if away is not None:
            moved = f"VM{away} of {session.place.node}, which was moved to another host"
            _refuse(session, number, instance, moved, "move it back, or retire it,")


def _refuse(session: Session, number: int, instance: str, where: str, remedy: str) -> None:
    raise Refused(
        f"instance {instance} is on {where}, as well as VM{number} of {session.place.node}",
        remedy=f"{remedy} first",
    )


def _moved_away(session: Session, instance: str, listed: vms.Listed) -> int | None:
    """Return the number of a VM of this node that is on another host with the instance on it.

    Only a vCenter knows other hosts.  Each VM that was prepared has its personality in the store: those
    whose VM is not here are asked after by their identity, and no others.
    """
    if not session.endpoint.is_vcenter:
        return None
    here = {vm.number for vm in listed.owned}
    index = session.endpoint.content.searchIndex
    for number in session.store.seeds():
        if number in here:
            continue
        identity = session.place.vm_id(session.place.node, number)
        ref = index.FindByUuid(None, identity, True, True)
        if ref is not None and vms.read_vm(session.endpoint, ref).instance == instance:
            return number
    return None

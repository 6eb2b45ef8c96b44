"""What the account of a host may not do of all that Metier needs, asked beforehand."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from metier.drivers.hypervisor.vsphere.endpoint import Endpoint
from metier.drivers.hypervisor.vsphere.faults import Unreadable
from metier.drivers.hypervisor.vsphere.host import Host
from metier.drivers.hypervisor.vsphere.privileges import NEEDS, Where, lack
from metier.drivers.hypervisor.vsphere.properties import read
from metier.drivers.hypervisor.vsphere.vmware import identity, vmodl

Granted = Mapping[str, frozenset[str]]
"""By the ids of some objects, which privileges the account has there."""


def lacks(endpoint: Endpoint, host: Host) -> tuple[str, ...]:
    """Return a sentence for every privilege that the account lacks; empty too where nobody can tell."""
    ways: tuple[Callable[[Endpoint, Sequence[Any]], Granted], ...] = (_asked, _by_roles)
    targets = _targets(host)
    for ask in ways:
        try:
            granted = ask(endpoint, list(chain.from_iterable(targets.values())))
            return tuple(_missing(endpoint, targets, granted))
        except (vmodl.MethodFault, Unreadable):
            continue  # an old host, or an account that may not even ask; work will tell
    return ()


def _missing(endpoint: Endpoint, targets: Mapping[Where, Sequence[Any]], granted: Granted) -> Iterator[str]:
    for where, objects in targets.items():
        for target in objects:
            held = granted.get(identity(target), frozenset())
            absent = [need for need in NEEDS if need.where is where and need.privilege not in held]
            if absent:
                name = str(read(endpoint, target, "name").get("name") or identity(target))
                yield from (lack(need, name) for need in absent)


def _targets(host: Host) -> Mapping[Where, Sequence[Any]]:
    wanted = dict.fromkeys(host.networks.values())
    return {
        Where.FOLDER: (host.folder,),
        Where.POOL: (host.pool,),
        Where.DATASTORE: (host.datastore.ref,),
        Where.NETWORK: tuple(host.port_groups[name] for name in wanted if name in host.port_groups),
    }


def _asked(endpoint: Endpoint, targets: Sequence[Any]) -> Granted:
    """Ask VMware itself, about this very session: one question for all."""
    content = endpoint.content
    session = read(endpoint, content.sessionManager, "currentSession.key")["currentSession.key"]
    privileges = sorted({need.privilege for need in NEEDS})
    answers = content.authorizationManager.HasPrivilegeOnEntities(targets, session, privileges)
    return {
        identity(answer.entity): frozenset(one.privId for one in answer.privAvailability if one.isGranted)
        for answer in answers
    }


def _by_roles(endpoint: Endpoint, targets: Sequence[Any]) -> Granted:
    """Find it out from the roles that the account has there."""
    roles = {
        int(role.roleId): frozenset(map(str, role.privilege or ()))
        for role in read(endpoint, endpoint.content.authorizationManager, "roleList")["roleList"]
    }
    granted = {}
    for target in targets:
        held = read(endpoint, target, "effectiveRole")["effectiveRole"]
        granted[identity(target)] = frozenset(
            chain.from_iterable(roles.get(int(role), frozenset()) for role in held)
        )
    return granted

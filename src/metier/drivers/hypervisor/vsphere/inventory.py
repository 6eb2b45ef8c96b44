"""Finds one VM among all that a server has, by what a person calls it."""

from typing import Any, NamedTuple

from metier.domain.errors import Refused
from metier.drivers.hypervisor.vsphere.endpoint import Endpoint
from metier.drivers.hypervisor.vsphere.properties import read, read_all
from metier.drivers.hypervisor.vsphere.upwards import datacenter_in, path_of, upwards, without_root
from metier.drivers.hypervisor.vsphere.vmware import plain, vim

# Of one name there are a few; each costs a question for every folder above it.
_MOST_ALIKE = 200
_SHOWN = 10
_CONFIGURATION = "config.files.vmPathName"


class Placed(NamedTuple):
    """A VM, found.

    Attributes:
        ref: pyVmomi's handle.
        name: As people typed it.
        path: Where it is in the inventory, as VMware writes it: `/DC0/vm/web/My VM`.
        file: Its configuration, as `[datastore] folder/file.vmx`.
        datacenter: Its datacenter; `datacenter_path` is what HTTP calls it.
    """

    ref: Any
    name: str
    path: str
    file: str
    datacenter: Any
    datacenter_path: str


def find_vm(endpoint: Endpoint, given: str) -> Placed:
    """Return the one VM of a name, a path in the inventory or the end of one, or a `.vmx` on a datastore.

    A slash within a name may be written `%2f`, as VMware does.

    Raises:
        Refused: There is none, or there are several; the message lists them.
    """
    listed = read_all(endpoint, vim.VirtualMachine, "name", _CONFIGURATION)
    alike = [
        (one.ref, str(one.values.get("name", "")), str(one.values.get(_CONFIGURATION, "")))
        for one in listed
        if _may_be(str(one.values.get("name", "")), str(one.values.get(_CONFIGURATION, "")), given)
    ]
    placed = [_placed(endpoint, *one) for one in alike[:_MOST_ALIKE]]
    found = [vm for vm in placed if given in (vm.file, vm.name, vm.path.rpartition("/")[2])]
    found += [vm for vm in placed if vm not in found and _ends_with(vm.path, given)]
    exact = [vm for vm in found if given in (vm.path, vm.file)]
    if len(exact or found) == 1:
        return (exact or found)[0]
    raise _refused(endpoint, given, found)


def _may_be(name: str, file: str, given: str) -> bool:
    last = given.rstrip("/").rpartition("/")[2]
    return given in (name, plain(name), file) or ("/" in given and last in (name, plain(name)))


def _ends_with(path: str, given: str) -> bool:
    """Whether a path ends with the parts that were given, or is all of them where they begin with a slash."""
    parts, wanted = path.strip("/").split("/"), given.strip("/").split("/")
    if "/" not in given or len(wanted) > len(parts) or (given[0] == "/" and len(wanted) != len(parts)):
        return False
    return all(want in (part, plain(part)) for part, want in zip(parts[-len(wanted) :], wanted, strict=True))


def _placed(endpoint: Endpoint, ref: Any, name: str, file: str) -> Placed:
    """Return a VM with where it is."""
    values = read(endpoint, ref, "parent", "parentVApp")
    above = list(upwards(endpoint, values.get("parent") or values.get("parentVApp")))
    found = datacenter_in(above)
    if found is None:
        raise Refused(f"{endpoint.url} tells no datacenter of VM {plain(name)}")
    return Placed(ref, plain(name), f"/{path_of(without_root(above))}/{name}", file, *found)


def _refused(endpoint: Endpoint, given: str, found: list[Placed]) -> Refused:
    if not found:
        return Refused(
            f"{endpoint.url} has no VM {given!r} that this account sees",
            remedy=f"see which there are: metier estate list --url {endpoint.url}",
        )
    shown = "; ".join(f"{vm.path} ({vm.file})" for vm in found[:_SHOWN])
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return Refused(
        f"{endpoint.url} has {len(found)} VMs that {given!r} may mean: {shown}{more}",
        remedy="name one by its path in the inventory, or by its .vmx as it stands in brackets",
    )

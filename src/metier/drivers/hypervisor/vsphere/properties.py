"""Reads properties of VMware's objects: always by path, and of many objects in one call."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from metier.drivers.hypervisor.vsphere.attempt import Attempt
from metier.drivers.hypervisor.vsphere.endpoint import Endpoint
from metier.drivers.hypervisor.vsphere.faults import Unreadable
from metier.drivers.hypervisor.vsphere.vmware import vim, vmodl

Collector = vmodl.query.PropertyCollector

# How long the server may keep one question open; the deadline of the call bounds all of them together.
_WAIT_S = 30


class Values(dict[str, Any]):
    """Properties by their paths; to ask for one that the server did not tell raises Unreadable."""

    def __missing__(self, path: str) -> Any:
        """Say what is missing."""
        raise Unreadable(f"the server does not tell {path}")


class Found(NamedTuple):
    """One object, and what it said of itself; a path is missing where the server did not say.

    Attributes:
        ref: pyVmomi's handle.
    """

    ref: Any
    values: Mapping[str, Any]


def read(endpoint: Endpoint, ref: Any, *paths: str) -> Mapping[str, Any]:
    """Return properties of one object; raises ManagedObjectNotFound if it is gone."""
    spec = Collector.FilterSpec(
        propSet=[Collector.PropertySpec(type=type(ref), pathSet=list(paths), all=False)],
        objectSet=[Collector.ObjectSpec(obj=ref, skip=False)],
    )
    found = next(_retrieve(endpoint, spec), None)
    if found is None:
        raise vmodl.fault.ManagedObjectNotFound(obj=ref, msg="it does not exist any more")
    return found.values


def read_listed(endpoint: Endpoint, ref: Any, path: str, kind: Any, *paths: str) -> list[Found]:
    """Return properties of all objects that property `path` of an object lists."""
    step = Collector.TraversalSpec(name="listed", type=type(ref), path=path, skip=False)
    spec = Collector.FilterSpec(
        propSet=[Collector.PropertySpec(type=kind, pathSet=list(paths), all=False)],
        objectSet=[Collector.ObjectSpec(obj=ref, skip=True, selectSet=[step])],
    )
    return list(_retrieve(endpoint, spec))


def read_all(endpoint: Endpoint, kind: Any, *paths: str) -> list[Found]:
    """Return properties of all objects of one kind that the server has."""
    with everything(endpoint, kind) as view:
        return read_listed(endpoint, view, "view", kind, *paths)


@contextmanager
def everything(endpoint: Endpoint, *kinds: Any) -> Iterator[Any]:
    """Have a view of all objects of some kinds, as long as it is needed."""
    content = endpoint.content
    view = content.viewManager.CreateContainerView(content.rootFolder, list(kinds), True)
    try:
        yield view
    finally:
        view.DestroyView()


def identity(ref: Any) -> str:
    """Return the server's own id of an object."""
    return str(ref._GetMoId())  # noqa: SLF001  # pyVmomi offers no other way to it


def _retrieve(endpoint: Endpoint, spec: Any) -> Iterator[Found]:
    collector = endpoint.content.propertyCollector
    answer = collector.RetrievePropertiesEx([spec], Collector.RetrieveOptions())
    while answer is not None:
        for found in answer.objects or ():
            yield Found(found.obj, Values((entry.name, entry.val) for entry in found.propSet or ()))
        answer = collector.ContinueRetrievePropertiesEx(answer.token) if answer.token else None


def finish(endpoint: Endpoint, attempt: Attempt, task: Any) -> Any:
    """Wait for a task and return its result; raises the fault that ended it.

    Read by path: `TaskInfo` as a whole holds what pyVmomi cannot read from every server.
    """
    if not isinstance(task, vim.Task):
        raise Unreadable("it is no task")
    state = read(endpoint, task, "info.state")["info.state"]
    if state in ("queued", "running"):
        _wait(endpoint, attempt, task)
        state = read(endpoint, task, "info.state")["info.state"]
    if state == "success":
        return read(endpoint, task, "info.result").get("info.result")
    fault = read(endpoint, task, "info.error").get("info.error")
    raise fault if isinstance(fault, vmodl.MethodFault) else vmodl.fault.SystemError(msg="its task failed")


def _wait(endpoint: Endpoint, attempt: Attempt, task: Any) -> None:
    """Return when a task has ended; its change is told by the server, it is not asked again and again."""
    collector = endpoint.content.propertyCollector.CreatePropertyCollector()
    try:
        collector.CreateFilter(
            Collector.FilterSpec(
                propSet=[Collector.PropertySpec(type=vim.Task, pathSet=["info.state"], all=False)],
                objectSet=[Collector.ObjectSpec(obj=task, skip=False)],
            ),
            True,
        )
        version = ""
        while True:
            attempt.check()
            options = Collector.WaitOptions(maxWaitSeconds=max(1, min(_WAIT_S, int(attempt.left_s))))
            updates = collector.WaitForUpdatesEx(version, options)
            if updates is not None:
                version = updates.version
                if any(value not in ("queued", "running") for value in _values(updates.filterSet)):
                    return
    finally:
        collector.DestroyPropertyCollector()


def _values(filters: Sequence[Any]) -> Iterator[Any]:
    for update in filters or ():
        for changed in update.objectSet or ():
            for change in changed.changeSet or ():
                yield change.val

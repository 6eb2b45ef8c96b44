"""Reads properties of VMware's objects: always by path, and of many objects in one call."""

import http.client
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from typing import Any, NamedTuple, TypeVar

from metier.drivers.hypervisor.vsphere.attempt import Attempt
from metier.drivers.hypervisor.vsphere.endpoint import Endpoint
from metier.drivers.hypervisor.vsphere.faults import Unreadable
from metier.drivers.hypervisor.vsphere.vmware import identity, vim, vmodl

Collector = vmodl.query.PropertyCollector

T = TypeVar("T")

# What was made for a question and is not tidied up goes with its session: never a reason to fail.
LEFT = (vmodl.MethodFault, OSError, http.client.HTTPException)

RUNNING = ("queued", "running")
"""States of a task that has not ended."""

_TASK_PATHS = ("info.state", "info.result", "info.error")
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
    """Return properties of one object; raises ManagedObjectNotFound, which the server says, if it is gone."""
    spec = Collector.FilterSpec(
        propSet=[Collector.PropertySpec(type=type(ref), pathSet=list(paths), all=False)],
        objectSet=[Collector.ObjectSpec(obj=ref, skip=False)],
    )
    return _own(_retrieve(endpoint, spec), ref).values


def read_objects(endpoint: Endpoint, refs: Sequence[Any], *paths: str) -> list[Found]:
    """Return properties of some objects of one kind; those that are gone are left out."""
    if not refs:
        return []
    spec = Collector.FilterSpec(
        propSet=[Collector.PropertySpec(type=type(refs[0]), pathSet=list(paths), all=False)],
        objectSet=[Collector.ObjectSpec(obj=ref, skip=False) for ref in refs],
        reportMissingObjectsInResults=True,
    )
    return _retrieve(endpoint, spec)


def read_listed(endpoint: Endpoint, ref: Any, path: str, kind: Any, *paths: str) -> list[Found]:
    """Return properties of all objects that property `path` of an object lists."""
    if ref is None:
        raise Unreadable(f"the server does not tell what it lists as {path}")
    step = Collector.TraversalSpec(name="listed", type=type(ref), path=path, skip=False)
    spec = Collector.FilterSpec(
        propSet=[
            Collector.PropertySpec(type=kind, pathSet=list(paths), all=False),
            Collector.PropertySpec(type=type(ref), pathSet=[], all=False),
        ],
        # The object itself is asked for too: an answer without it is none, and not an empty list.
        objectSet=[Collector.ObjectSpec(obj=ref, skip=False, selectSet=[step])],
    )
    found = _retrieve(endpoint, spec)
    _own(found, ref)
    return [one for one in found if not _is(one, ref)]


def _own(found: Iterable[Found], ref: Any) -> Found:
    """Return what was said of an object; raises Unreadable if nothing was."""
    own = next((one for one in found if _is(one, ref)), None)
    if own is None:
        raise Unreadable(f"the server does not tell of {identity(ref)}")
    return own


def _is(found: Found, ref: Any) -> bool:
    return type(found.ref) is type(ref) and identity(found.ref) == identity(ref)


def read_all(endpoint: Endpoint, kind: Any, *paths: str) -> list[Found]:
    """Return properties of all objects of one kind that the server has."""

    def work() -> list[Found]:
        with everything(endpoint, kind) as view:
            return read_listed(endpoint, view, "view", kind, *paths)

    return in_one_session(endpoint, work)


def in_one_session(endpoint: Endpoint, work: Callable[[], T]) -> T:
    """Do what needs things that end with their session: views, collectors; once more in a new session."""
    session = endpoint.instance
    try:
        return work()
    except (vmodl.fault.ManagedObjectNotFound, vmodl.fault.InvalidArgument):
        if endpoint.instance == session:
            raise
    return work()


@contextmanager
def everything(endpoint: Endpoint, *kinds: Any) -> Iterator[Any]:
    """Have a view of all objects of some kinds, as long as it is needed."""
    content = endpoint.content
    view = content.viewManager.CreateContainerView(content.rootFolder, list(kinds), True)
    try:
        yield view
    finally:
        with suppress(*LEFT):
            view.DestroyView()


def _retrieve(endpoint: Endpoint, spec: Any) -> list[Found]:
    return in_one_session(endpoint, lambda: list(_parts(endpoint, spec)))


def _parts(endpoint: Endpoint, spec: Any) -> Iterator[Found]:
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
    told = read(endpoint, task, *_TASK_PATHS)
    if told["info.state"] in RUNNING:
        in_one_session(endpoint, partial(_wait, endpoint, attempt, task))
        told = read(endpoint, task, *_TASK_PATHS)
    if told["info.state"] == "success":
        return told.get("info.result")
    fault = told.get("info.error")
    raise fault if isinstance(fault, vmodl.MethodFault) else vmodl.fault.SystemError(msg="its task failed")


def _wait(endpoint: Endpoint, attempt: Attempt, task: Any) -> None:
    """Return when a task has ended."""
    with closing(changes(endpoint, attempt, {task: "info.state"})) as told:
        for values in told:
            if any(state not in RUNNING for _, state in values):
                return


def changes(
    endpoint: Endpoint, attempt: Attempt, watched: Mapping[Any, str]
) -> Generator[list[tuple[str, Any]], None, None]:
    """Yield what becomes of one property of each of some objects, first what it is, as paths and values.

    The server tells of changes, it is not asked again and again; raises when the attempt is over.
    To be closed, in the thread that reads it.
    """
    spec = Collector.FilterSpec(
        propSet=[
            Collector.PropertySpec(type=type(ref), pathSet=[path], all=False) for ref, path in watched.items()
        ],
        objectSet=[Collector.ObjectSpec(obj=ref, skip=False) for ref in watched],
    )
    collector = endpoint.content.propertyCollector.CreatePropertyCollector()
    try:
        collector.CreateFilter(spec, True)
        version = ""
        while True:
            attempt.check()
            options = Collector.WaitOptions(maxWaitSeconds=max(1, min(_WAIT_S, int(attempt.left_s))))
            updates = collector.WaitForUpdatesEx(version, options)
            if updates is not None:
                version = updates.version
                yield list(_values(updates.filterSet))
    finally:
        with suppress(*LEFT):
            collector.DestroyPropertyCollector()


def _values(filters: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    for update in filters or ():
        for changed in update.objectSet or ():
            for change in changed.changeSet or ():
                yield str(change.name), change.val

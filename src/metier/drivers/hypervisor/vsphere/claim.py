"""Who may change a folder on a datastore, of all controllers that reach it.

FOLDER/copy.N   a folder: who makes the one with the highest number holds the claim

Making a folder either works or finds one there, on every kind of datastore.  A
controller that died leaves its claim; it is taken over, by the next number,
when nothing in the folder was written to for `QUIET_S`.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime

from metier.domain.errors import Unavailable
from metier.drivers.hypervisor.vsphere.files import BROKEN, Files
from metier.drivers.hypervisor.vsphere.vmware import vim

# A copy that has not grown for so long is nobody's any more.  More than the clocks of a host and its
# vCenter should be apart, and less than a person waits.
QUIET_S = 180.0

_CLAIM = re.compile(r"copy\.([1-9][0-9]{0,8})")

# Claims of this process that it perhaps could not give back when work broke off: by datastore and folder.
_left_behind: dict[tuple[str, str], int] = {}


class Claim:
    """The right to change one folder; held within `held`, in one thread of this process at a time."""

    def __init__(self, files: Files, folder: str) -> None:
        self._files, self._folder = files, folder
        self._where = (files.identity, files.file(folder))
        self._number = 0

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the claim, in a folder that is made if it is missing; raises Unavailable if another has it.

        An empty folder that is left at the end goes.
        """
        self._take()
        try:
            yield
        finally:
            with suppress(*BROKEN):
                self._give_back()
                _left_behind.pop(self._where, None)

    def is_held(self) -> bool:
        """Whether nobody has taken it over, from one that was silent for long."""
        return _last(self._files.changes(self._folder) or ()) == self._number

    def require(self) -> None:
        """Go on only while the claim is held; raises Unavailable."""
        if not self.is_held():
            raise self._taken()

    def _taken(self) -> Unavailable:
        return Unavailable(
            f"cannot {self._files.attempt.what}: another controller is at work on {self._folder} of datastore"
            f" {self._files.datastore.name}"
        )

    def _take(self) -> None:
        changes = self._files.changes(self._folder)
        if changes is None:
            self._files.make_folder(self._folder)
            changes = {}
        last = _last(changes)
        if last and last != _left_behind.get(self._where) and not self._is_quiet(changes):
            raise self._taken()
        self._number = last + 1
        # Noted before it is known: an answer that is lost must not shut this process out.
        _left_behind[self._where] = self._number
        if not self._files.make_first(f"{self._folder}/copy.{self._number}"):
            del _left_behind[self._where]
            raise self._taken()

    def _is_quiet(self, changes: Mapping[str, datetime | None]) -> bool:
        """Whether nothing in the folder was written to for long, by the server's own clock."""
        newest = max((changed for changed in changes.values() if changed is not None), default=None)
        if newest is None:
            return True
        now = vim.ServiceInstance("ServiceInstance", self._files.endpoint.stub).CurrentTime()
        return bool((now - newest).total_seconds() > QUIET_S)

    def _give_back(self) -> None:
        names = self._files.changes(self._folder)
        if names is None or _last(names) != self._number:
            return
        claims = claims_in(names)
        if len(claims) == len(names):
            self._files.delete(self._folder)
            return
        # The newest goes last: until then nobody else may begin.
        for name in claims:
            self._files.delete(f"{self._folder}/{name}")


def claims_in(names: Collection[str]) -> list[str]:
    """Return those of a folder's names that are claims, in order."""
    return sorted((name for name in names if _CLAIM.fullmatch(name)), key=_number)


def _number(name: str) -> int:
    return int(name.partition(".")[2])


def _last(names: Collection[str]) -> int:
    return max((_number(name) for name in claims_in(names)), default=0)

"""Seals what drivers declare to be secret, right after the order that brought it.

Nothing else of the controller has it in clear but `DriverBook`, when it opens a driver.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from metier.domain.errors import Refusal
from metier.domain.fleet import Draft, Fleet, Kind
from metier.domain.job import Job
from metier.domain.node import Endpoint, Node
from metier.domain.secret import Vault, as_sealed, is_sealed
from metier.operations.registry import Caller, Operation, Outcome

DeclaredSecrets = Callable[[str, str], frozenset[str]]
"""Names of the secret settings of a driver, by its family and name."""

LOGIN = "login"
"""The argument of a job that is a driver and its settings: `{"driver": …, "settings": {…}}`."""


class NoVault:
    """Keeps no secret: what is sealed is gone.  For sites whose drivers need none, such as simulated ones."""

    def seal(self, text: str) -> str:
        """Return a sealed nothing; see `Vault`."""
        return text if is_sealed(text) else as_sealed("")

    def open(self, sealed: str) -> str:
        """Refuse what is sealed; see `Vault`.

        Raises:
            Refusal: It is sealed.
        """
        if is_sealed(sealed):
            raise Refusal("this controller keeps no secrets", remedy="ask one that serves a real site")
        return sealed


NO_VAULT = NoVault()


def nothing_declared(_family: str, _driver: str) -> frozenset[str]:
    """Return nothing: no driver has secrets."""
    return frozenset()


class Sealer:
    """Seals what changes would record."""

    def __init__(self, vault: Vault, declared: DeclaredSecrets) -> None:
        self._vault, self._declared = vault, declared

    def sealing(self, operation: Operation) -> Operation:
        """Return an operation that records no secret in clear."""
        change = operation.change
        assert change is not None

        def sealed(draft: Draft, arguments: Any, caller: Caller) -> Outcome:
            before = draft.freeze()
            outcome = change(draft, arguments, replace(caller, seal=self.endpoint))
            self.draft(before, draft)
            return outcome

        return replace(operation, change=sealed)

    def endpoint(self, family: str, wanted: Endpoint, before: Endpoint | None) -> Endpoint:
        """Return an endpoint with its secrets sealed; one that is the same as before keeps its seal."""
        secret = [key for key in wanted.settings if not is_sealed(wanted.settings[key])]
        secret = [key for key in secret if key in self._declared(family, wanted.driver)] if secret else []
        if not secret:
            return wanted
        known = before.settings if before is not None and before.driver == wanted.driver else {}
        sealed = {key: self._sealed(wanted.settings[key], known.get(key, "")) for key in secret}
        return replace(wanted, settings={**wanted.settings, **sealed})

    def draft(self, before: Fleet, draft: Draft) -> None:
        """Seal what a draft has in clear: of the nodes it changes, and of new jobs that log in somewhere."""
        for name, node in list(draft.changes.get(Kind.NODE, {}).items()):
            if node is not None:
                self._node(draft, before.nodes.get(name), node)
        for number, job in list(draft.changes.get(Kind.JOB, {}).items()):
            if job is not None and before.jobs.get(number) != job:
                self._job(draft, job)

    def _sealed(self, text: str, known: str) -> str:
        if is_sealed(known):
            try:
                if self._vault.open(known) == text:
                    return known
            except Refusal:
                pass  # its key is gone: that it is given again is the remedy
        return self._vault.seal(text)

    def _node(self, draft: Draft, before: Node | None, node: Node) -> None:
        vmm = None if before is None else before.vmm
        power = None if before is None else before.power
        sealed = replace(
            node,
            vmm=None if node.vmm is None else self.endpoint("hypervisor", node.vmm, vmm),
            power=None if node.power is None else self.endpoint("power", node.power, power),
        )
        if sealed != node:
            draft.put_node(sealed)

    def _job(self, draft: Draft, job: Job) -> None:
        login = login_of(job.arguments)
        if login is None:
            return
        sealed = self.endpoint("hypervisor", login, None)
        if sealed != login:
            as_argument = {"driver": sealed.driver, "settings": dict(sealed.settings)}
            draft.put_job(replace(job, arguments={**job.arguments, LOGIN: as_argument}))


def login_of(arguments: Mapping[str, object]) -> Endpoint | None:
    """Return where a job logs in, from its arguments; None if it does not."""
    match arguments.get(LOGIN):
        case {"driver": str(driver), "settings": Mapping() as settings}:
            return Endpoint(driver, {str(key): str(value) for key, value in settings.items()})
        case _:
            return None

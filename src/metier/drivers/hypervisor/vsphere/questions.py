"""Waits for a VM to start, and answers the one question that Metier's own moving of VMs can raise."""

from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any, NoReturn

from metier.domain.errors import Refused
from metier.drivers.hypervisor.vsphere.attempt import Attempt
from metier.drivers.hypervisor.vsphere.endpoint import Endpoint
from metier.drivers.hypervisor.vsphere.properties import RUNNING, changes, finish, in_one_session, read

_LONGEST_WORDS = 300
_MOVED_OR_COPIED = "msg.uuid.altered"
_MOVED = "button.uuid.movedTheVM"


def finish_start(
    endpoint: Endpoint, attempt: Attempt, vm: Any, task: Any, may_answer: Callable[[], bool]
) -> None:
    """Wait for the task that starts a VM; raises Refused if the VM asks what only a person can answer.

    `may_answer` says whether the VM is Metier's as Metier registered it, and no copy: should the host
    ask, it was then moved.
    """
    if read(endpoint, task, "info.state")["info.state"] in RUNNING:
        in_one_session(endpoint, partial(_wait, endpoint, attempt, vm, task, may_answer))
    finish(endpoint, attempt, task)


def _wait(endpoint: Endpoint, attempt: Attempt, vm: Any, task: Any, may_answer: Callable[[], bool]) -> None:
    answered: set[str] = set()
    with closing(changes(endpoint, attempt, {task: "info.state", vm: "runtime.question"})) as told:
        for values in told:
            if any(path == "info.state" and value not in RUNNING for path, value in values):
                return
            for path, question in values:
                if path == "runtime.question" and question is not None and question.id not in answered:
                    answered.add(question.id)
                    _answer(attempt, vm, question, may_answer)


def _answer(attempt: Attempt, vm: Any, question: Any, may_answer: Callable[[], bool]) -> None:
    ids = [str(message.id) for message in question.message or ()]
    is_about_moving = _MOVED_OR_COPIED in ids or _MOVED_OR_COPIED in str(question.text)
    moved = next((choice for choice in _choices(question) if _MOVED in (choice.label, choice.summary)), None)
    if not is_about_moving or moved is None or not may_answer():
        _refuse(attempt, question)
    attempt.begin()
    vm.AnswerVM(str(question.id), str(moved.key))


def _choices(question: Any) -> list[Any]:
    return list(question.choice.choiceInfo or ()) if question.choice is not None else []


def _refuse(attempt: Attempt, question: Any) -> NoReturn:
    words = " ".join(str(question.text or "").split())[:_LONGEST_WORDS]
    raise Refused(
        f"cannot {attempt.what}: the VM waits for an answer: {words}",
        remedy="answer it with VMware's own tools",
    )

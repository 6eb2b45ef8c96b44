"""What was said of a VM stands while nothing is heard of it, and not for ever."""

from typing import Any

from metier.drivers.hypervisor.libvirt.events import Line
from metier.drivers.hypervisor.libvirt.recall import Recall

LONG_S = 1000.0
STARTED = 2


class Connection:
    """Stands in for libvirt's: it takes registrations and lets a test tell of events."""

    def __init__(self, *, tells: bool = True) -> None:
        self._tells = tells
        self._callback: Any = None

    def registerCloseCallback(self, callback: Any, opaque: Any) -> None:  # noqa: N802 - libvirt's name
        pass

    def domainEventRegisterAny(self, _domain: Any, _event: int, callback: Any, _opaque: Any) -> int | None:  # noqa: N802 - libvirt's name
        self._callback = callback
        return 1 if self._tells else None

    def tell(self, guest: str) -> None:
        self._callback(self, Domain(guest), STARTED, 0, None)


class Domain:
    """Stands in for libvirt's handle of a VM."""

    def __init__(self, uuid: str) -> None:
        self._uuid = uuid

    def UUIDString(self) -> str:  # noqa: N802 - libvirt's name
        return self._uuid


class Asked:
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> int:
        self.times += 1
        return self.times


def a_line(connection: Connection) -> Line:
    return Line(connection, lambda: None)


def test_an_answer_stands_until_something_is_heard_of_that_vm() -> None:
    connection, asked = Connection(), Asked()
    recall: Recall[int] = Recall(a_line(connection), LONG_S)
    assert [recall.get("a", asked), recall.get("a", asked)] == [1, 1]
    connection.tell("b")
    assert recall.get("a", asked) == 1
    connection.tell("a")
    assert [recall.get("a", asked), recall.get("a", asked)] == [2, 2]


def test_what_is_heard_while_asking_makes_the_answer_old() -> None:
    connection, asked = Connection(), Asked()
    recall: Recall[int] = Recall(a_line(connection), LONG_S)

    def ask() -> int:
        connection.tell("a")
        return asked()

    assert [recall.get("a", ask), recall.get("a", asked)] == [1, 2]


def test_an_answer_is_forgotten_after_a_while_and_on_demand() -> None:
    asked = Asked()
    short: Recall[int] = Recall(a_line(Connection()), 0.0)
    assert [short.get("a", asked), short.get("a", asked)] == [1, 2]
    recall: Recall[int] = Recall(a_line(Connection()), LONG_S)
    recall.get("a", asked)
    recall.forget("a")
    assert recall.get("a", asked) == 4


def test_nothing_is_kept_where_changes_are_not_told() -> None:
    asked = Asked()
    recall: Recall[int] = Recall(a_line(Connection(tells=False)), LONG_S)
    assert [recall.get("a", asked), recall.get("a", asked)] == [1, 2]

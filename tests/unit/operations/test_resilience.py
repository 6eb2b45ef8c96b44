"""`metier status --resilience [--by LABEL]`."""

from dataclasses import replace

import pytest

from metier.domain.errors import WrongUsage
from metier.domain.fleet import Fleet
from tests.builders import VM_HARDWARE, a_fleet, a_host, a_host_tier, a_node, a_virtual_node
from tests.unit.operations.asking import ask, change

RACKED = a_fleet(
    a_host_tier(),
    a_host(attributes=frozenset({"rack=a3", "ssd"})),
    a_node("metal", hardware=replace(VM_HARDWARE, attributes=frozenset({"room=1", "row=7"}))),
    a_virtual_node(attributes=frozenset({"virtual=only"})),
)


def test_the_answer_comes_with_its_time() -> None:
    assert ask(RACKED, "", "status", resilience=True) == {
        "time": "2026-03-01T12:00:00Z",
        "generation": RACKED.generation,
        "answer": "3 nodes at 12:00 by host",
    }
    assert ask(RACKED, "", "status", resilience=True, by="rack")["answer"] == "3 nodes at 12:00 by rack"
    assert ask(RACKED, "", "status", resilience=True, by="row")["answer"] == "3 nodes at 12:00 by row"


def test_without_the_option_the_status_is_as_ever() -> None:
    assert "answer" not in ask(RACKED, "", "status")


@pytest.mark.parametrize(
    ("fleet", "by", "remedy"),
    [
        (RACKED, "pdu", "labels there are: rack, room, row"),
        (RACKED, "virtual", "labels there are: rack, room, row"),
        (RACKED, "rack=a3", "labels there are: rack, room, row"),
        (RACKED, "ssd", "labels there are: rack, room, row"),
        (RACKED, "\x1b[2J", "labels there are: rack, room, row"),
        (a_fleet(a_node()), "rack", "give hosts one, such as `metier node edit NAME --attribute rack=a3`"),
    ],
)
def test_a_label_that_no_host_carries_is_refused(fleet: Fleet, by: str, remedy: str) -> None:
    with pytest.raises(WrongUsage) as refusal:
        ask(fleet, "", "status", resilience=True, by=by)
    assert str(refusal.value) == f"no host carries the label {by!r}"
    assert refusal.value.remedy == remedy


def test_a_label_without_the_question_is_refused() -> None:
    with pytest.raises(WrongUsage, match="which only --resilience asks"):
        ask(RACKED, "", "status", by="rack")


def test_labels_are_given_with_the_attributes_of_a_node() -> None:
    fleet, _ = change(a_fleet(a_node("n1")), "node", "edit", name="n1", attribute=("rack=a3", "ssd"))
    assert ask(fleet, "", "status", resilience=True, by="rack")

"""How the demonstration tells that a killed guest was replaced."""

from metier.lab.demo import GUESTS, is_replaced

VICTIM = {"name": "host-1/VM1", "since": "2026-01-01T00:00:00Z"}


def _members(*names: str, status: str = "normal") -> list[dict[str, str]]:
    return [{"name": name, "status": status} for name in names]


def test_another_vm_in_the_slot_is_a_replacement() -> None:
    members = _members("host-2/VM1", "host-1/VM2", "host-2/VM2")
    assert len(members) == GUESTS
    assert is_replaced(VICTIM, members, VICTIM)


def test_the_same_vm_counts_only_once_it_was_started_anew() -> None:
    """A list of nodes does not say since when they run: that is asked of the node itself."""
    members = _members("host-1/VM1", "host-1/VM2", "host-2/VM2")
    assert not is_replaced(VICTIM, members, VICTIM)
    assert is_replaced(VICTIM, members, VICTIM | {"since": "2026-01-01T00:01:00Z"})


def test_a_tier_that_is_not_whole_is_not_replaced() -> None:
    members = [*_members("host-2/VM1", "host-1/VM2"), *_members("host-2/VM2", status="booting")]
    assert not is_replaced(VICTIM, members, VICTIM)

"""Which virtual nodes a host may not lose without a word (R-SHRINK, R-FORCE-1)."""

import pytest

from metier.domain.guests import active_guests, is_active_guest
from metier.domain.ids import NodeId
from metier.domain.lifecycle import Lifecycle
from metier.domain.tier import TierState
from tests.builders import a_fleet, a_host, a_host_tier, a_tier, a_virtual_node

HOST = NodeId("host-1")


@pytest.mark.parametrize("lifecycle", Lifecycle)
@pytest.mark.parametrize("state", TierState)
def test_a_member_is_active_with_its_tier_or_while_it_is_not_at_rest(
    state: TierState, lifecycle: Lifecycle
) -> None:
    guest = a_virtual_node(tier="web", lifecycle=lifecycle)
    fleet = a_fleet(a_host(), a_host_tier(), guest, a_tier(state=state))
    assert is_active_guest(fleet, guest) == (state is TierState.ACTIVE or lifecycle is not Lifecycle.IDLE)


def test_free_virtual_nodes_and_hosts_are_never_active_guests() -> None:
    host, free = a_host(), a_virtual_node(lifecycle=Lifecycle.STOPPING)
    fleet = a_fleet(host, a_host_tier(state=TierState.ACTIVE), free)
    assert not is_active_guest(fleet, host)
    assert not is_active_guest(fleet, free)


def test_active_guests_come_in_the_order_of_their_vms() -> None:
    """S14."""
    guests = [a_virtual_node(number=number, tier="web", slot=number) for number in (10, 2, 1)]
    fleet = a_fleet(
        a_host(), a_host_tier(), *guests, a_virtual_node(number=3), a_tier(target=10, state=TierState.ACTIVE)
    )
    assert [guest.vm_number for guest in active_guests(fleet, HOST)] == [1, 2, 10]
    assert active_guests(fleet, NodeId("nowhere")) == []

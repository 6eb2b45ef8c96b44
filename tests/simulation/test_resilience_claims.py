"""What `status --resilience` claims is what happens: each claim is tried on a site in memory.

The host dies for good: it is seen off, and no order brings it back.  Then the loop goes round
until it rests, and every tier must have what was claimed it would have.
"""

from typing import Any, NamedTuple

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from metier.domain.fleet import Draft, Fleet
from metier.domain.hardware import Requirements
from metier.domain.ids import NodeId, TierId
from metier.domain.image import OfferedVm
from metier.domain.lifecycle import Lifecycle
from metier.domain.node import Engagement
from metier.domain.observation import Health
from metier.domain.status import health
from metier.domain.tier import Spread, Trouble
from metier.planner.losses import Resilience
from metier.planner.resilience import assess, failure_domains
from metier.sim.machines import BmcFault
from tests.builders import NOW
from tests.unit.planner.stories import Story

Sizes = st.lists(st.sampled_from((512, 1024)), min_size=2, max_size=3)
Priorities = st.permutations((20, 40, 60))


class Wanted(NamedTuple):
    """What a guest tier is to be; its target lies `more` above its minimum."""

    minimum: int
    more: int
    memory_mib: int
    harvesting: bool
    harvest_to_target: bool
    pack: bool
    braked: bool

    def fields(self, priority: int) -> dict[str, Any]:
        target = self.minimum + self.more
        return {
            "priority": priority,
            "minimum": self.minimum,
            "target": target,
            "maximum": max(1, target),
            "requirements": Requirements(memory_mib=self.memory_mib),
            "harvesting": self.harvesting,
            "harvest_to_target": self.harvest_to_target,
            "spread": Spread.PACK if self.pack else Spread.SPREAD,
        }


rarely = st.sampled_from((False,) * 7 + (True,))
wanted = st.builds(
    Wanted,
    minimum=st.integers(0, 4),
    more=st.integers(0, 4),
    memory_mib=st.sampled_from((256, 256, 1024)),
    harvesting=st.booleans() | st.just(True),
    harvest_to_target=rarely,
    pack=st.booleans(),
    braked=rarely,
)


class Setting(NamedTuple):
    """A site: hosts that offer VMs of these sizes, spare hosts, tiers, and who is disengaged."""

    hosts: int
    spare: int
    sizes: list[int]
    tiers: list[Wanted]
    priorities: list[int]
    disengaged: list[int]
    share_a_rack: bool


setting = st.builds(
    Setting,
    st.integers(2, 4),
    st.integers(0, 1),
    Sizes,
    st.lists(wanted, min_size=2, max_size=3),
    Priorities,
    st.just([]) | st.lists(st.integers(0, 20), max_size=2),
    st.booleans(),
)

ONE = Wanted(1, 0, 256, harvesting=True, harvest_to_target=False, pack=True, braked=False)
TAKEN = Setting(
    hosts=2,
    spare=0,
    sizes=[512, 512],
    tiers=[
        ONE._replace(minimum=2),
        ONE._replace(minimum=0, more=1, harvest_to_target=True),
        ONE._replace(minimum=0, more=1),
    ],
    priorities=[60, 40, 20],
    disengaged=[],
    share_a_rack=False,
)
"""The first tier shares one host, and takes what it loses there from the two others."""


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(setting)
@example(TAKEN)
@example(TAKEN._replace(hosts=3))
def test_what_is_claimed_to_be_restorable_is_restored(given_setting: Setting) -> None:
    story = built(given_setting)
    fleet, now = story.fleet, story.rounds.now
    domains = failure_domains(fleet, "rack")
    claims = assess(fleet, now, domains)
    for claim in claims.domains:
        after = outcome_of(given_setting, claim.hosts)
        claimed = {loss.tier: loss.after for loss in claim.tiers}
        really = {tier: at_work(after, tier, but=claim.hosts) for tier in fleet.tiers}
        expected = {tier: claimed.get(tier, at_work(fleet, tier)) for tier in fleet.tiers}
        assert really == expected, (claim, given_setting)
    assert below(claims) == {
        name for name, tier in fleet.tiers.items() if at_work(fleet, name) < tier.minimum
    }


def built(given_setting: Setting) -> Story:
    """Return a site at rest."""
    offers = [OfferedVm(n, memory_mib=size) for n, size in enumerate(given_setting.sizes, 1)]
    total = given_setting.hosts + given_setting.spare
    story = Story(total, offers=offers, host_target=given_setting.hosts)
    story.tier("hosts", reboot_on_failure=False)
    for number, one in enumerate(given_setting.tiers):
        story.tier(f"tier-{number}", **one.fields(given_setting.priorities[number]))
    if given_setting.share_a_rack:
        for name in ("host-1", "host-2"):
            if story.exists(name):
                story.change(name, attributes=frozenset({"rack=a"}))
    story.rest()
    story.rounds.edit(lambda draft: disturb(draft, given_setting))
    story.rest()
    return story


def disturb(draft: Draft, given_setting: Setting) -> None:
    names = list(draft.nodes)
    for number in given_setting.disengaged:
        draft.change_node(names[number % len(names)], engagement=Engagement(False, "ann", NOW))
    for number, one in enumerate(given_setting.tiers):
        if one.braked:
            draft.put_trouble(Trouble(TierId(f"tier-{number}"), braked_since=NOW))


def outcome_of(given_setting: Setting, hosts: tuple[NodeId, ...]) -> Fleet:
    """Return the fleet at rest after these hosts died for good on such a site."""
    story = built(given_setting)
    # Nothing is switched on any more: neither the dead, nor a spare host, whose VMs are not promised.
    for machine in story.datacentre.machines.values():
        machine.bmc.fault = BmcFault.REFUSES
    for host in hosts:
        story.datacentre.switch(host, on=False)
        story.rounds.sick.add(host)
    story.rest()
    return story.fleet


def at_work(fleet: Fleet, tier: TierId, *, but: tuple[NodeId, ...] = ()) -> int:
    """Count members that run normally or are on their way to it; the loop may take a dead spare host in."""
    return sum(
        health(fleet, node) is Health.NORMAL
        or (node.engaged and node.lifecycle not in (Lifecycle.RUNNING, Lifecycle.FAILED))
        for node in fleet.member_nodes(tier)
        if node.name not in but
    )


def below(claims: Resilience) -> set[TierId]:
    return {tier.tier for tier in claims.below_minimum}

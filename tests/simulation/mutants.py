"""Deliberate mistakes, each of which the checks of CI must find: the proof that they have teeth.

    python -m tests.simulation.mutants [NAME ...]

plants one after another (`mutated.py` does it, in a process of its own, and no file changes) and prints
which check caught it; exit status 1 if one was not.  A mutant that no check can see does not go from
this list: it gets a story in `directed.py`, or a law that is missing.
"""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tests.simulation.mutant import Edit, Mutant, one, pair

if TYPE_CHECKING:
    from tests.simulation.mutated import Verdict


CUT_OFF = "story: a host without power controller is cut off"
MOVED = "story: a guest is moved to another host"
OUT_OF_SIGHT = "story: a guest is moved, nobody reaches the host it is on, and the one it left goes off"
OVERLOOKED = "story: a host is cut off before anybody saw its guest on"
FEWER_HOSTS = "story: hosts are to go from under their guests"
OTHERS = "story: a host is idle but for VMs of others"
CRASHES = (
    "tests/simulation/test_crash_points.py"
    "::test_wherever_the_controller_dies_the_story_ends_the_same[before a round is stored]"
)
INCREMENTAL = (
    "tests/simulation/test_incremental_is_full.py"
    "::test_every_round_decides_and_says_what_a_plan_of_everything_would[20]"
)

OF_EVIDENCE = (
    *pair(
        "fence lifted without evidence",
        "A slot is started elsewhere while nobody knows whether its last node is down.",
        "planner/steps/fences.py",
        "evidence = proof_of_down(work.fleet, fence) or _is_itself(slot, fence)",
        'evidence = proof_of_down(work.fleet, fence) or "it will be down by now"',
        "law 5",
        CUT_OFF,
    ),
    *pair(
        "evidence older than the start",
        "A VM counts as down that was seen off before it was started.",
        "domain/evidence.py",
        "    if seen.vms is None or seen.vms_at is None or seen.vms_at <= since:",
        "    if seen.vms is None or seen.vms_at is None:",
        "law 5",
        OVERLOOKED,
    ),
    *pair(
        "lost VMs taken for down",
        "The host that a VM was moved away from goes off, and that passes for evidence.",
        "domain/evidence.py",
        "    if fence.is_lost:\n        return _nowhere(fleet, fence)\n",
        "",
        "law 5",
        OUT_OF_SIGHT,
    ),
    one(
        "loss forgotten when the slot is left",
        "The fence does not say that its VM was gone already.",
        "planner/effects.py",
        "replace(fence_for(node, now), is_lost=is_lost(draft, node))",
        "fence_for(node, now)",
        "checker, law 5",
        OUT_OF_SIGHT,
    ),
    *pair(
        "moved VMs not looked for",
        "A VM that runs on another host than Metier's is taken for gone.",
        "domain/evidence.py",
        "one.power is not Power.OFF for one in seen.strays",
        "one.power is Power.OFF for one in seen.strays",
        "law 5",
        MOVED,
    ),
    one(
        "hosts not asked anew for a lost VM",
        "What hosts said before the VM was missed counts as their having looked for it.",
        "domain/evidence.py",
        "return bool(seen.vmm_reachable) and seen.vms_at is not None and seen.vms_at > since",
        "return bool(seen.vmm_reachable) and seen.vms_at is not None",
        "checker, law 5",
        MOVED,
    ),
    Mutant(
        "only members of host tiers asked for a lost VM",
        "A host that was taken out of its tier is not looked at, though the VM may be there.",
        (
            Edit("domain/evidence.py", ".values()} | set(fleet.vms_of)\n", ".values()}\n"),
            Edit("domain/evidence.py", "return hosts | {node.name for", "return hosts or {node.name for"),
        ),
        ("checker", "law 5"),
        "story: a guest is moved to a host that then leaves its tier",
    ),
    one(
        "power controller believed against the VM manager",
        "A host that answers is taken for off because its BMC says so.",
        "control/observe.py",
        "if power is Power.OFF and seen.vmm_reachable and",
        "if power is Power.ON and seen.vmm_reachable and",
        "checker, law 5",
        "story: a power controller says off and is wrong",
    ),
    one(
        "sights dated after they were made",
        "What was seen counts as seen later than it was, up to a second.",
        "control/observe.py",
        "    now = clock.now()\n    try:\n        match question.probe:",
        ("    now = clock.now().replace(microsecond=999_999)\n    try:\n        match question.probe:"),
        "checker, law 5",
        MOVED,
    ),
)

OF_THE_PLANNER = (
    *pair(
        "started in spite of a fence",
        "A slot runs on its new node before its old one is known to be down.",
        "planner/steps/drive_guests.py",
        "if slot.fences or _is_blocked(work, node):",
        "if _is_blocked(work, node):",
        "law 5",
        CUT_OFF,
    ),
    *pair(
        "no fence for what is out of sight",
        "A node that leaves its slot is fenced only if its host answers: when it is needed least.",
        "planner/effects.py",
        "if not is_proved_down(draft, node):",
        "if draft.seen(node.host or node.name).vmm_reachable and not is_proved_down(draft, node):",
        "law 5",
        CUT_OFF,
    ),
    one(
        "an earlier fence is forgotten",
        "A slot that is left twice remembers only the second node that may run it.",
        "planner/effects.py",
        "fences = (*fences, replace(",
        "fences = (*fences[:0], replace(",
        "checker, law 5",
        "story: a slot is given away twice before its first node is known to be down",
    ),
    *pair(
        "hosts released under their guests",
        "A lowered target takes a host away whose guests serve.",
        "domain/release.py",
        "return _hold_by_guests(fleet, node) if tier.kind is TierKind.HOST else None",
        "return None",
        "law 3",
        FEWER_HOSTS,
    ),
    one(
        "disengaged members not counted",
        "A tier is filled beyond its maximum when members are disengaged.",
        "domain/allocation.py",
        "min(goal, tier.maximum) - len(fleet.members(tier.name))",
        "min(goal, tier.maximum) - sum(node.engaged for node in fleet.member_nodes(tier.name))",
        "checker, law 4, no rest",
        "story: a disengaged member counts",
    ),
    *pair(
        "disengaged nodes rebooted",
        "A failed member is rebooted although somebody took it in hand.",
        "planner/steps/failures.py",
        "may_act = node.engaged and node.pending is None",
        "may_act = node.pending is None",
        "law 2",
        "story: a failed guest is disengaged before it may be rebooted again",
    ),
    *pair(
        "disengaged nodes released",
        "A lowered target takes a member away although somebody took it in hand.",
        "domain/release.py",
        "    if not node.engaged:\n        return Hold(",
        "    if None:\n        return Hold(",
        "law 2",
        "story: a disengaged guest is above the target",
    ),
    *pair(
        "disengaged nodes started",
        "A member is prepared and started although somebody took it in hand.",
        "planner/steps/drive.py",
        "return node.engaged and node.placement.place not in _WITHHELD",
        "return node.placement.place not in _WITHHELD",
        "law 2",
        "story: a tier is activated whose members are disengaged",
    ),
    *pair(
        "disengaged guests taken off a failed host",
        "What somebody took in hand is replaced because its host failed.",
        "planner/steps/deactivate.py",
        "may_touch = guest.engaged or was_brought_down(work, host)",
        "may_touch = True",
        "law 2",
        "story: the host of a disengaged guest goes off",
    ),
    *pair(
        "VMs of others cut off",
        "The power of a host that leaves its tier is cut under VMs that are not Metier's.",
        "planner/steps/advance.py",
        "return node.request is not None or work.fleet.seen(node.name).foreign_running == 0",
        "return True",
        "law 7",
        OTHERS,
    ),
    *pair(
        "VMs of others count as idleness",
        "A free host is switched off under VMs that are not Metier's.",
        "planner/steps/pools.py",
        " and not seen.foreign_running",
        "",
        "law 7",
        OTHERS,
    ),
    one(
        "nodes allocated whatever their host does",
        "Slots are filled with VMs of hosts that are stopping.",
        "domain/choice.py",
        "self._usable[node.host] = host_obstacle(self._fleet, node) is None",
        "self._usable[node.host] = self._fleet.host_of(node) is not None",
        "checker, no rest",
        "check: a dead guest on a host that hangs is replaced",
    ),
    one(
        "a left slot still names its node",
        "Two records disagree about who fills a slot.",
        "planner/effects.py",
        "draft.put_slot(replace(slot, node=None, fences=fences))",
        "draft.put_slot(replace(slot, fences=fences))",
        "checker, law 1",
        CUT_OFF,
    ),
    one(
        "an instance taken while another VM has it",
        "A replacement does not wait for its slot's data, and fails over it.",
        "planner/steps/drive_guests.py",
        "    if holder is not None:\n        why =",
        "    if holder is node:\n        why =",
        "check, law 5",
        "check: only what failed counts as failed",
    ),
    one(
        "instances left behind",
        "The data of a slot that keeps none stays on its host for ever.",
        "planner/steps/drive_guests.py",
        "discard = None if is_kept else spent",
        "discard = None",
        "check",
        "check: data is kept as each tier says",
    ),
    one(
        "instances always thrown away",
        "The data of a slot that keeps it is lost when its tier is deactivated.",
        "planner/steps/drive_guests.py",
        "discard = None if is_kept else spent",
        "discard = spent",
        "check",
        "check: data is kept as each tier says",
    ),
    one(
        "a short tier says nothing",
        "A tier stays below its target and nobody is told what it waits for.",
        "planner/steps/allocate.py",
        '    work.wait(about_tier(tier), message, "R-ALLOC-5")\n',
        "",
        "law 9",
        MOVED,
    ),
    one(
        "a tier that cannot shrink says nothing",
        "A tier stays above its target and nobody is told who holds it there.",
        "planner/steps/shrink.py",
        "            work.wait(about_tier(tier), hold.why, hold.rule)",
        "            pass",
        "law 9",
        FEWER_HOSTS,
    ),
    one(
        "a storm does not stop anything",
        "However many nodes fail at once, all are replaced.",
        "planner/steps/failures.py",
        "    if storm:\n",
        "    if not storm:\n",
        "suite",
        "tests/scenarios/test_scenarios.py::test_story[a-storm-of-failures-stops-replacement]",
    ),
    one(
        "hungry tiers not fed",
        "What became free is not offered to the tiers that lack nodes.",
        "planner/reach.py",
        "            self.tiers.update(self.hungry)\n",
        "            pass\n",
        "suite, check",
        INCREMENTAL,
    ),
    one(
        "guests of a host do not concern its tier",
        "A host may leave, and its tier is not looked at again.",
        "planner/reach.py",
        "                self.tiers.add(host.tier)\n",
        "                pass\n",
        "suite, check",
        INCREMENTAL,
    ),
)

OF_THE_EXECUTOR = (
    one(
        "a start of unknown outcome taken for failed",
        "A VM that may yet come up counts as down at once.",
        "planner/effects.py",
        "return now + timedelta(seconds=UNSURE_START_S) if outcome.unsure else now",
        "return now",
        "law 5",
        "check: a start whose answer is lost comes true late",
    ),
    one(
        "an unknown outcome taken for a refusal",
        "The executor passes on that something failed, and not that it may have been done.",
        "control/execute.py",
        "        return Failed(told(error), unsure=True)\n    except Exception",
        "        return Failed(chain(error))\n    except Exception",
        "law 5",
        "check: a start whose answer is lost comes true late",
    ),
    one(
        "a start in flight at a kill counts as not made",
        "The next controller is sure too early that what it finds off stays off.",
        "planner/effects.py",
        "        started_at = now + timedelta(seconds=UNSURE_START_S)\n",
        "        started_at = now\n",
        "law 5, suite",
        "check: a start comes true after its controller died",
    ),
    one(
        "a start that hangs on is forgotten",
        "A start that was given up counts as not made soon after, though its call is still at work.",
        "control/crew.py",
        "        return [UnderWay(action) for action in self._lost_starts]\n",
        "        return []\n",
        "law 5",
        "check: a start that was given up comes true much later",
    ),
    one(
        "looks never given up",
        "A host that hangs is never found out.",
        "control/crew.py",
        "for task in self._eyes.give_up(now)]",
        "for task in self._eyes.give_up(now)[:0]]",
        "law 8, no rest",
        "check: a dead guest on a host that hangs is replaced",
    ),
    one(
        "no pauses between tries",
        "What fails is tried again at once, and for ever.",
        "planner/effects.py",
        "pause_s = _BACKOFF_S[min(attempts, len(_BACKOFF_S)) - 1]",
        "pause_s = 0",
        "check, no end",
        "check: what fails is not tried all the time",
    ),
    one(
        "pending work outlives its controller",
        "What an earlier run had in flight is waited for for ever.",
        "control/recovery.py",
        "            recover(draft, node, now)",
        "            recover(draft, node, now)\n            draft.put_node(node)",
        "no rest, law 8",
        "story: the controller dies while work is in flight",
    ),
    one(
        "questions forgotten once answered",
        "A question that came back is never put again.",
        "control/observe.py",
        "        self._asked.discard(question)\n        self._again.discard(question)\n",
        "        self._again.discard(question)\n",
        "no rest, law 8",
        MOVED,
    ),
    one(
        "messages lost with a failed save",
        "What arrived while nothing could be stored is thrown away.",
        "control/engine.py",
        "self._kept = [] if finished else [",
        "self._kept = [] if messages else [",
        "no rest, law 8",
        "story: what work came to is told while nothing can be stored",
    ),
    one(
        "a failed save is passed over",
        "The controller goes on with what it decided, and the store does not know it.",
        "control/engine.py",
        (
            "            except MetierError as error:\n"
            "                self._not_stored(messages, error)\n"
            "                return None\n"
        ),
        ("            except MetierError as error:\n                self._not_stored(messages, error)\n"),
        "crash, law 9",
        "story: an order meets a full disk",
    ),
    one(
        "arrivals not stored",
        "What drivers reported is known, and not stored with what follows from it.",
        "control/round.py",
        "result.changes = _joined(changes, planned.work.fleet.changes)",
        "result.changes = dict(planned.work.fleet.changes)",
        "law 9",
        MOVED,
    ),
)

OF_THE_STORE = (
    Mutant(
        "two controllers may write",
        "The store takes what a controller says that another one has replaced.",
        (
            Edit(
                "store/memory.py",
                "        if epoch == self.records.epoch:\n",
                "        if epoch is not None:\n",
            ),
            Edit(
                "store/memory.py",
                "            if generation < self.generation:",
                "            if generation < 0:",
            ),
        ),
        ("law 9", "law 5", "crash"),
        "story: two controllers at once",
    ),
    one(
        "removed records stay",
        "What was removed is there again after a restart.",
        "store/memory.py",
        "                    self.texts.pop(place, None)\n",
        "                    pass\n",
        "law 9, suite",
        "story: the controller dies while work is in flight",
    ),
    one(
        "SQL: an overtaken controller may write",
        "A controller that lost its hold goes on writing what it believes.",
        "store/hold.py",
        'SITE.c.epoch == sa.bindparam("held"), SITE.c.generation <=',
        'SITE.c.epoch >= sa.bindparam("held"), SITE.c.generation <=',
        "suite",
        "tests/contract/test_store.py::TestSqlite::test_an_overtaken_holder_writes_nothing",
    ),
    one(
        "SQL: removed records stay",
        "What was removed is there again after a restart.",
        "store/sql.py",
        "return work + [(self._deletes[table], rows) for table, rows in removed.items() if rows]",
        "return work",
        "suite",
        "tests/contract/test_store.py::TestSqlite::test_changes_and_removals_add_up",
    ),
    one(
        "an image is listed and not published",
        "The image matrix says that a version is there before it is.",
        "matrix/importing.py",
        "        self.folders.publish(ready, wanted.ref)\n",
        "",
        "suite",
        "tests/contract/test_matrix.py::TestFolderMatrix::test_a_version_is_seen_whole_or_not_at_all",
    ),
    one(
        "the image matrix is not swept at a start",
        "What a killed import left behind stays.",
        "control/engine.py",
        "tools.matrix.sweep(fleet.images, awaited_images(fleet))",
        "()",
        "suite, law 6",
        CRASHES,
    ),
)

OF_ROLL_OUTS = (
    *pair(
        "a roll-out does not wait",
        "The next slot is stopped before the last one is normal.",
        "planner/steps/roll_out.py",
        "tier.max_unavailable - max(progress.unwell, len(progress.coming)),",
        "tier.max_unavailable,",
        "law 11",
        "story: a version rolls out and is taken back halfway",
    ),
    *pair(
        "a roll-out stops disengaged members",
        "A member is given another version although somebody took it in hand.",
        "domain/rollout.py",
        "    elif not node.engaged:\n        found.aside.append(node)\n",
        "",
        "law 2",
        "story: a version rolls out over a disengaged member",
    ),
    one(
        "a slot that fails does not pause its roll-out",
        "Nobody is told that a version fails.",
        "planner/steps/failures.py",
        "    if not rollout.paused:\n",
        "    if not rollout:\n",
        "check",
        "check: a version that fails stops at the first slot",
    ),
    one(
        "nodes added for a roll-out stay",
        "A tier keeps more nodes than its target after its roll-out.",
        "domain/tier.py",
        "        if self.rollout is None:\n            return self.target\n",
        "        if self.rollout is None and not self.surge:\n            return self.target\n",
        "law 8, law 9, no rest",
        "story: a version rolls out while its controller dies and a host goes off",
    ),
)

MUTANTS = (*OF_EVIDENCE, *OF_THE_PLANNER, *OF_ROLL_OUTS, *OF_THE_EXECUTOR, *OF_THE_STORE)


def find_mutant(name: str) -> Mutant:
    """Return the mutant of a name; raises KeyError."""
    return {mutant.name: mutant for mutant in MUTANTS}[name]


def main(names: Sequence[str]) -> int:
    """Plant the mutants of these names, or all, and print what caught them; returns the exit status."""
    from tests.simulation.mutated import Outdated, judge  # here because that module needs the list

    unknown = set(names) - {mutant.name for mutant in MUTANTS}
    if unknown:
        sys.stderr.write(f"error: no mutant is called {min(unknown)!r}; run it without names to see all\n")
        return 2
    missed = 0
    sys.stdout.write(HEAD)
    for name in names or [mutant.name for mutant in MUTANTS]:
        try:
            verdict = judge(name)
        except Outdated as error:
            sys.stdout.write(f"{error}\n")
            missed += 1
            continue
        missed += verdict.kind not in find_mutant(name).caught_by
        sys.stdout.write(row(name, verdict))
        sys.stdout.flush()
    return 1 if missed else 0


HEAD = f"{'mutant':60}{'caught by':12}{'CPU s':>5}  check\n"


def row(name: str, verdict: "Verdict") -> str:
    """Return a mutant's line of the table."""
    return f"{name:60}{verdict.kind or 'NOT CAUGHT':12}{verdict.seconds:5.1f}  {verdict.check}\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

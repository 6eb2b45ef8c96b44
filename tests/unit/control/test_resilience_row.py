"""The standing guarantee as readers get it."""

import io
import json

from metier.cli.output import row_text
from metier.control.resilience_row import resilience_row
from metier.domain.ids import NodeId, TierId
from metier.domain.tier import TierKind
from metier.planner.losses import BelowMinimum, FailureDomain, Resilience, TierLoss

WEB, DB, BATCH, HOSTS = TierId("web"), TierId("db"), TierId("batch"), TierId("hosts")
NODE = "virtual node of 512 MiB"

SAFE = FailureDomain("host-3", (NodeId("host-3"),), (TierLoss(WEB, TierKind.GUEST, 1, 3, 3, 1, 1),))
RESTORED = FailureDomain(
    "host-2",
    (NodeId("host-2"),),
    (
        TierLoss(HOSTS, TierKind.HOST, 2, 3, 3, 1, 1),
        TierLoss(DB, TierKind.GUEST, 1, 1, 1, 1, harvested=((BATCH, 1),)),
        TierLoss(BATCH, TierKind.GUEST, 1, 2, 2, 0, given=1, missing=1, node=NODE),
    ),
)
FATAL = FailureDomain(
    "host-1",
    (NodeId("host-1"),),
    (
        TierLoss(DB, TierKind.GUEST, 2, 3, 2, 1, missing=1, node=NODE),
        TierLoss(
            WEB,
            TierKind.GUEST,
            3,
            3,
            3,
            3,
            missing=2,
            node=NODE,
            obstacle="1 of its slots held by host-1/VM1",
        ),
    ),
    unproved=(NodeId("host-1"),),
)
BELOW = (BelowMinimum(BATCH, 1, 2),)


def test_the_worst_comes_first_and_only_what_goes_wrong_is_told_tier_by_tier() -> None:
    row = resilience_row(Resilience((SAFE, RESTORED, FATAL), BELOW), "")
    assert row["answer"] == "1 of 3 hosts cannot be lost, for want of room to restore: host-1 (db, web)"
    assert (row["survived"], row["restored"], row["not_survived"]) == (1, 1, 1)
    assert [domain["domain"] for domain in row["domains"]] == ["host-1", "host-2", "host-3"]
    assert [(tier["domain"], tier["tier"]) for tier in row["tiers"]] == [
        ("host-1", "db"),
        ("host-1", "web"),
        ("host-2", "db"),
        ("host-2", "batch"),
    ]
    json.dumps(row, allow_nan=False)


def test_the_row_of_a_domain_adds_up_what_is_missing() -> None:
    row = resilience_row(Resilience((FATAL,), ()), "")
    assert row["domains"] == [
        {
            "domain": "host-1",
            "verdict": "not survived",
            "lost": 4,
            "restorable": 0,
            "below_minimum": ["db", "web"],
            "not_restored": ["db", "web"],
            "below_target": ["db", "web"],
            "missing": ["3 more virtual nodes of 512 MiB", "web: 1 of its slots held by host-1/VM1"],
        }
    ]


def test_the_row_of_a_tier_says_how_much_and_what_is_missing() -> None:
    row = resilience_row(Resilience((FATAL, RESTORED), ()), "")
    missing = {(tier["domain"], tier["tier"]): tier["missing"] for tier in row["tiers"]}
    assert missing["host-1", "web"] == (
        "2 more virtual nodes of 512 MiB outside host-1; 1 of its slots held by host-1/VM1"
    )
    assert missing["host-2", "batch"] == "1 more virtual node of 512 MiB outside host-2"
    db = next(tier for tier in row["tiers"] if tier["domain"] == "host-2" and tier["tier"] == "db")
    assert db == {
        "domain": "host-2",
        "tier": "db",
        "now": 1,
        "lost": 1,
        "left": 0,
        "minimum": 1,
        "target": 1,
        "restorable": 1,
        "taken": ["1 from batch"],
        "given": 0,
        "after": 1,
        "short_of_minimum": 0,
        "missing": "",
    }


def test_what_the_answer_rests_on_is_noted() -> None:
    row = resilience_row(Resilience((RESTORED, FATAL), BELOW), "")
    assert row["below_minimum_now"] == ["batch has 1 of its minimum of 2, whatever dies"]
    assert row["notes"] == [
        (
            "no power controller can prove host-1 down: what ran there is restored only once "
            "an operator vouches for it with `metier node attest-off`"
        ),
        "a replacement host has to boot first: the virtual nodes it will offer are not counted",
    ]
    assert resilience_row(Resilience((SAFE,), ()), "")["notes"] == []


def test_the_answer_in_one_sentence() -> None:
    restored = resilience_row(Resilience((SAFE, RESTORED), ()), "")
    assert restored["answer"] == (
        "any one host can be lost; with 1 of 2 a tier is below its minimum until it is restored: host-2"
    )
    safe = resilience_row(Resilience((SAFE,), ()), "")
    assert safe["answer"] == "any one host can be lost, and no tier falls below its minimum"
    assert resilience_row(Resilience((), ()), "")["answer"] == "no host is in use"
    many = tuple(FailureDomain(f"rack={n}", (), FATAL.tiers) for n in range(5))
    racks = resilience_row(Resilience(many, ()), "rack")
    assert racks["by"] == "rack"
    assert racks["answer"] == (
        "5 of 5 failure domains cannot be lost, for want of room to restore: "
        "rack=0 (db, web), rack=1 (db, web), rack=2 (db, web) and 2 more"
    )
    assert racks["domains"][0]["hosts"] == []


def test_it_reads_well_on_a_terminal() -> None:
    row = resilience_row(Resilience((RESTORED,), ()), "")
    text = row_text(row, "table", io.StringIO())
    assert [" ".join(line.split()) for line in text.splitlines()[-3:]] == [
        "DOMAIN TIER NOW LOST LEFT MINIMUM TARGET RESTORABLE TAKEN GIVEN AFTER SHORT OF MINIMUM MISSING",
        "host-2 db 1 1 0 1 1 1 1 from batch 0 1 0 -",
        "host-2 batch 2 0 2 1 2 0 - 1 1 0 1 more virtual node of 512 MiB outside host-2",
    ]

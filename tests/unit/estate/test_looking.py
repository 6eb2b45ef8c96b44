"""An estate as a whole: names, sizes, waves, where the VMs would fit, and the sums."""

import re
import shlex
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from metier.domain.ids import plain_name
from metier.estate.fit import Nodes
from metier.estate.inventory import Estate, EstateNic, EstateVm, Power
from metier.estate.judging import Verdict
from metier.estate.looking import image_names, import_line, looked_at
from metier.estate.rows import by_name, summary_row, vm_row
from metier.estate.sizes import sizes_of
from metier.estate.waves import Looked, risk
from tests.unit.estate.test_judging import DISK, GIB, READY, VMS, a_disk, a_vm


def looked(*vms: EstateVm) -> tuple[Looked, ...]:
    return looked_at(Estate("here", vms))


def numbered(count: int, **own: Any) -> list[EstateVm]:
    return [a_vm(name=f"vm-{number}", **own) for number in range(count)]


def test_a_growing_disk_holds_no_more_than_its_file() -> None:
    sizes = sizes_of(a_vm(used_bytes=10 * GIB))
    assert (sizes.capacity, sizes.copied) == (40 * GIB, 10 * GIB)
    assert sizes.matrix is not None
    assert 10 * GIB < sizes.matrix < 10.1 * GIB


def test_of_any_other_disk_all_may_have_to_be_copied() -> None:
    for vm in (a_disk(thin=False), a_disk(thin=None), a_vm(used_bytes=None), a_vm(used_bytes=90 * GIB)):
        assert sizes_of(replace(vm, used_bytes=vm.used_bytes and 90 * GIB)).copied == 40 * GIB
    mixed = a_vm(disks=(DISK, replace(DISK, thin=False)), used_bytes=50 * GIB)
    assert sizes_of(mixed).copied == 80 * GIB
    assert sizes_of(a_vm(disks=None)) == (None, None, None)
    assert sizes_of(a_disk(capacity_bytes=None)) == (None, None, None)


@given(VMS)
def test_bounds_are_in_order(vm: EstateVm) -> None:
    sizes = sizes_of(vm)
    if sizes.capacity is not None and sizes.copied is not None and sizes.matrix is not None:
        assert 0 <= sizes.copied <= sizes.capacity, "no more is copied than there is"
        assert sizes.copied <= sizes.matrix, "what is copied has its room in the matrix"


@given(st.lists(st.text(max_size=90), max_size=20))
def test_every_vm_gets_a_name_that_an_image_can_have_and_no_other_has(names: list[str]) -> None:
    found = image_names(names)
    assert len(set(found)) == len(names)
    assert all(plain_name(name, "image") == name for name in found)


def test_names_stay_close_to_what_they_were() -> None:
    assert image_names(["Web 1", "web-1", "WEB_1", "büro/äß", "---", ""]) == [
        *("web-1", "web-1-2", "web_1", "b-ro", "vm", "vm-2"),
    ]


def test_the_first_wave_is_a_third_of_all_and_risks_least() -> None:
    safe, risky = numbered(5), numbered(5, snapshots=1)
    rows = looked(*risky, *safe, a_vm(disks=()))
    first = [one for one in rows if one.wave == 1]
    assert len(first) == 3
    assert all(one.judgement.verdict is Verdict.READY for one in first)
    assert rows[-1].wave == 0
    assert [sum(one.wave == wave for one in rows) for wave in (1, 2, 3)] == [3, 4, 3]


@given(st.lists(VMS, max_size=40))
def test_waves_are_in_order_and_hold_all_that_can_be_moved(vms: list[EstateVm]) -> None:
    rows = looked(*vms)
    for one in rows:
        assert (one.wave == 0) == (one.judgement.verdict is Verdict.NOT_POSSIBLE)
    movable = [one for one in rows if one.wave]
    for one in movable:
        for other in movable:
            assert one.wave >= other.wave or risk(one) <= risk(other), "no wave risks more than a later one"
    if len(movable) >= 4:
        share = sum(one.wave == 1 for one in movable) / len(movable)
        assert 0.2 <= share <= 0.4, "the first wave is 20 to 40 %"


def test_a_handful_is_one_wave() -> None:
    assert {one.wave for one in looked(*numbered(3))} == {1}
    assert looked() == ()


def a_node(name: str, memory_mib: int | None, disk_gib: int = 100, **own: Any) -> dict[str, Any]:
    return {"name": name, "kind": "virtual", "memory_mib": memory_mib, "cpus": 4, "disk_gib": disk_gib, **own}


def test_a_vm_fits_on_virtual_nodes_with_enough_of_all() -> None:
    nodes = Nodes(
        [
            a_node("h/VM1", 1024),
            a_node("h/VM2", 4096),
            a_node("h/VM3", 8192),
            a_node("h/VM4", 4096),
            a_node("h/VM5", None),
            a_node("h", 1 << 20, kind="physical"),
        ]
    )
    fit = nodes.fit_of(READY)
    assert (fit.count, fit.node, fit.why_none) == (3, "h/VM2", "")
    large = nodes.fit_of(a_vm(memory_mib=10_000, cpus=6))
    assert large.count == 0
    assert large.why_none == "the largest virtual node, h/VM3, would need 1808 MiB more memory, 2 more CPUs"
    assert nodes.fit_of(a_disk(capacity_bytes=200 * GIB)).count == 0
    assert Nodes([]).fit_of(READY).why_none == "there is no virtual node yet"


def test_the_row_says_all_and_the_import_line_is_to_be_pasted() -> None:
    (one,) = looked(
        a_vm(name="Web 1", power=Power.ON, nics=(EstateNic("E1000", "a"), EstateNic("E1000", "b")))
    )
    row = vm_row(one, Nodes([a_node("h/VM1", 4096)]))
    assert row["import"] == "metier image import --name web-1 --type linux --file web-1.ova --wait"
    assert (row["fits"], row["fits_on"]) == (1, "h/VM1")
    assert (row["nics"], row["networks"]) == (["E1000", "E1000"], ["a", "b"])
    assert row["what"] == "shut its guest OS down from inside"
    (never,) = looked(a_vm(disks=(), snapshots=2))
    row = vm_row(never, None)
    assert (row["import"], row["wave"], row["fits"], row["at_the_move"]) == (None, None, None, [])
    assert row["what"].startswith("it has no hard disk")


@given(st.text(max_size=40), st.text(max_size=40))
def test_the_import_line_holds_nothing_that_a_shell_acts_on(name: str, guest_os: str) -> None:
    (one,) = looked(a_vm(name=name, guest_os=guest_os))
    assert re.fullmatch(r"[a-z0-9 ._-]+", import_line(one))


FLAT = replace(DISK, form="flat")


@given(st.text(min_size=1, max_size=40), st.text(min_size=1, max_size=40))
def test_a_vm_on_a_server_is_imported_straight_from_there(called: str, user: str) -> None:
    (one,) = looked(a_vm(disks=(FLAT,), url="https://esx-1/sdk", user=user, called=called))
    words = shlex.split(import_line(one))
    assert words[words.index("--url") + 1] == "https://esx-1/sdk"
    assert (words[words.index("--user") + 1], words[words.index("--vm") + 1]) == (user, called)
    assert "--file" not in words


def test_what_cannot_be_read_as_it_lies_is_exported_first() -> None:
    for form in ("vsan", "sesparse", ""):
        (one,) = looked(a_vm(disks=(FLAT, replace(DISK, form=form)), url="https://esx-1/sdk", called="a"))
        assert "--file" in import_line(one)
    (one,) = looked(a_vm(disks=(replace(FLAT, is_child=True),)))
    assert any("linked clone" in work for work in one.judgement.work)
    (one,) = looked(a_vm(disks=(replace(DISK, form="vvol"),)))
    assert any("ovftool" in note for note in one.judgement.notes)


def test_the_sums_are_of_what_can_be_moved() -> None:
    vms = [
        *numbered(8, used_bytes=GIB),
        a_vm(name="db", snapshots=1, disks=(DISK,) * 3),
        a_vm(name="x", disks=()),
    ]
    estate = Estate("here", tuple(vms), hosts=3, remarks=("one",))
    found = summary_row(estate, looked_at(estate))
    assert (found["ready"], found["needs_work"], found["not_possible"]) == (8, 1, 1)
    assert found["capacity_bytes"] == (8 + 3) * 40 * GIB
    assert found["copied_bytes"] == 8 * GIB + 3 * 40 * GIB
    assert found["largest"][0]["name"] == "db"
    assert [row["vms"] for row in found["waves"]] == [3, 3, 3]
    assert found["waves"][2]["need_work"] == 1
    assert {row["what"] for row in found["commonest_work"]} == {
        "delete them all, so that its disks are whole",
        "it starts from the network or a CD",
    }
    assert summary_row(Estate("nothing", ()), ())["waves"] == []


def test_a_vm_is_found_by_its_name_and_else_whatever_its_case() -> None:
    rows = looked(a_vm(name="Web"), a_vm(name="web"), a_vm(name="DB"))
    assert [one.vm.name for one in by_name(rows, "web")] == ["web"]
    assert [one.vm.name for one in by_name(rows, "WEB")] == ["Web", "web"]
    assert [one.vm.name for one in by_name(rows, "db")] == ["DB"]
    assert by_name(rows, "none") == []

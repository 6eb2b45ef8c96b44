"""`metier estate`: from a command line to what is printed."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from metier.cli.estate import estate
from metier.cli.failure import Failure
from metier.cli.main import run
from metier.cli.session import Session
from tests.unit.estate.exports import SAMPLE, disk, nic, snapshot, tabs, vm, write_workbook

Metier = Callable[..., "Result"]


class Result(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture
def metier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Metier:
    """Run `metier estate` where no controller is."""
    monkeypatch.setenv("METIER_STATE", str(tmp_path / "state"))
    for name in ("METIER_URL", "METIER_VSPHERE_PASSWORD"):
        monkeypatch.delenv(name, raising=False)

    def metier(*arguments: str) -> Result:
        status = run(estate, "metier estate", arguments)
        return Result(status, *capsys.readouterr())

    return metier


@pytest.fixture
def export(tmp_path: Path) -> str:
    return str(write_workbook(tmp_path / "export.xlsx", SAMPLE))


def test_the_list_has_a_line_for_each_vm(metier: Metier, export: str) -> None:
    done = metier("list", "--file", export)
    assert done.status == 0
    lines = {line.split("  ")[0]: line for line in done.out.splitlines()}
    assert list(lines) == ["NAME", "web-1", "web 2 (old)", "db", "cluster-a", "mac"]
    assert "ready" in lines["web-1"]
    assert "shut its guest OS down" in lines["web 2 (old)"]
    assert "2 snapshots" in lines["db"]
    assert "not possible" in lines["mac"]
    assert done.err == (
        "5 VMs: 2 ready, 1 need work, 2 not possible; no controller said where they would fit; "
        "see `metier estate summary`\n"
    )


def test_the_list_is_data_as_every_list(metier: Metier, export: str) -> None:
    rows = json.loads(metier("list", "-f", export, "-o", "json").out)
    assert [row["verdict"] for row in rows] == [
        "ready",
        "ready",
        "needs work",
        "not possible",
        "not possible",
    ]
    assert yaml.safe_load(metier("list", "-f", export, "-o", "yaml").out) == rows
    assert metier("list", "-f", export, "-o", "name").out.splitlines()[0] == "web-1"
    assert "metier image import --name web-1" in metier("list", "-f", export, "-o", "wide").out
    assert metier("list", "-f", export, "-o", "json").err == ""


def test_the_list_can_be_cut_down(metier: Metier, export: str) -> None:
    def names(*arguments: str) -> list[str]:
        return metier("list", "-f", export, "-o", "name", *arguments).out.splitlines()

    assert names("--verdict", "needs-work") == ["db"]
    assert names("--wave", "1") == ["web-1", "web 2 (old)", "db"]
    assert names("--verdict", "ready", "--wave", "2") == []


def test_one_vm_is_shown_with_all_that_is_to_be_done(metier: Metier, export: str) -> None:
    shown = metier("show", "-f", export, "DB").out
    assert "Hard disk 1 is a raw device mapping in physical mode" in shown
    assert "Hard disk 2 is independent" in shown
    missing = metier("show", "-f", export, "none")
    assert (missing.status, "no VM 'none'" in missing.err) == (3, True)


def test_the_summary_has_the_sums(metier: Metier, export: str) -> None:
    summed = json.loads(metier("summary", "-f", export, "-o", "json").out)
    assert (summed["vms"], summed["ready"], summed["hosts"]) == (5, 2, 2)
    assert "look in vCenter" in metier("summary", "-f", export).out


def test_wrong_usage_is_named(metier: Metier, export: str) -> None:
    for arguments in (
        ("list",),
        ("list", "--file", export, "--url", "https://esx-1/sdk"),
        ("list", "--url", "https://esx-1/sdk"),
        ("list", "--url", "https://esx-1/sdk", "--user", "ann"),
        ("show", "--file", export),
    ):
        assert metier(*arguments).status == 2, arguments
    assert metier("list", "--file", f"{export}.none").status == 3


@pytest.mark.parametrize(
    "url", ["http://esx-1/sdk", "https://u:p@esx-1/sdk", "https://esx-1/ui", "https://esx-1:x/sdk", "esx-1"]
)
def test_a_url_that_is_none_of_vsphere_is_refused(
    metier: Metier, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("METIER_VSPHERE_PASSWORD", "secret")
    done = metier("list", "--url", url, "--user", "ann")
    assert (done.status, "secret" in done.err) == (2, False)
    assert metier("list", "--url", "https://esx-1", "--user", "ann", "--thumbprint", "12").status == 2


class FakeClient:
    def rows(self, path: str, query: Mapping[str, Any]) -> list[dict[str, Any]]:
        assert path == "/api/v1/nodes"
        return [{"name": "host-1/VM1", "kind": "virtual", "memory_mib": 8192, "cpus": 4, "disk_gib": 80}]


class SessionWithController(Session):
    def client(self) -> Any:
        return FakeClient()


def test_a_controller_says_where_each_vm_fits(export: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["list", "-f", export, "-o", "json"]
    estate.main(arguments, obj=SessionWithController(), standalone_mode=False)
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert (rows["web-1"]["fits"], rows["web-1"]["fits_on"]) == (1, "host-1/VM1")
    assert rows["db"]["fits_not"] == "the largest virtual node, host-1/VM1, would need 984 GiB more disk"
    estate.main([*arguments, "--no-controller"], obj=SessionWithController(), standalone_mode=False)
    assert json.loads(capsys.readouterr().out)[0]["fits"] is None


def test_a_controller_that_refuses_is_as_good_as_none(
    export: str, capsys: pytest.CaptureFixture[str]
) -> None:
    class Refusing(Session):
        def client(self) -> Any:
            raise Failure("the token is not known")

    estate.main(["list", "-f", export], obj=Refusing(), standalone_mode=False)
    assert "no controller said" in capsys.readouterr().err


def test_an_estate_of_ten_thousand_vms_is_within_bounds(metier: Metier, tmp_path: Path) -> None:
    names = [f"vm-{number:05}" for number in range(10_000)]
    contents = tabs(
        [vm(name, Powerstate="poweredOn") for name in names],
        [disk(name, Disk=f"Hard disk {number}") for name in names for number in (1, 2)],
        [nic(name) for name in names],
        [snapshot(name) for name in names[::10]],
    )
    path = write_workbook(tmp_path / "large.xlsx", contents)
    summed = json.loads(metier("summary", "-f", str(path), "-o", "json").out)
    assert (summed["vms"], summed["ready"], summed["needs_work"]) == (10_000, 9_000, 1_000)
    assert [wave["vms"] for wave in summed["waves"]] == [3_000, 3_500, 3_500]
    assert summed["waves"][2]["need_work"] == 1_000

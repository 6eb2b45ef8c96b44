"""`metier simulate`: files in, a timeline, a verdict and an exit status out."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from metier.cli import simulate as command
from metier.cli.client import Client, Reply, Request
from metier.cli.failure import Failure
from metier.cli.main import run
from metier.cli.root import Root, registered
from metier.cli.timeline_text import report_lines
from metier.sim.faults import FAULTS, befall
from metier.sim.laws import Breach
from metier.sim.report_row import report_row
from metier.sim.timeline import Report
from tests.unit.cli.conftest import Result
from tests.unit.sim.small_site import MORNING, a_running_site, host_of, journal_of, play, site_text

HOST = host_of("web")
LUNCH = f"""\
# A host dies at lunch
site site.json
start 2026-03-02 11:55
seed 7

12:00  {HOST} loses power
12:01  target of web 3
12:10  end
"""

Simulate = Callable[..., Result]


@pytest.fixture
def simulate(capsys: pytest.CaptureFixture[str]) -> Simulate:
    """Run `metier simulate`."""

    def simulate(*words: object) -> Result:
        status = run(Root(registered), "metier", ["simulate", *map(str, words)])
        out, err = capsys.readouterr()
        return Result(status, out, err)

    return simulate


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a site and a scenario for it."""
    (tmp_path / "site.json").write_text(site_text())
    (tmp_path / "lunch.txt").write_text(LUNCH)
    return tmp_path


def scenario(folder: Path, *lines: str) -> Path:
    path = folder / "other.txt"
    path.write_text("\n".join(["site site.json", "start 2026-03-02 10:00", *lines]))
    return path


# --- running ------------------------------------------------------------------------------


def test_a_timeline_is_printed(folder: Path, simulate: Simulate) -> None:
    result = simulate(folder / "lunch.txt")
    assert (result.status, result.err) == (0, "")
    lines = result.out.splitlines()
    assert lines[:2] == [
        "A host dies at lunch",
        "2026-03-02 11:55:00 to 12:10:00 UTC, seed 7; 3 physical nodes, 9 virtual nodes, 4 tiers",
    ]
    assert f"12:00:00  >  {HOST} loses power" in lines
    assert "12:01:00  $  metier tier edit web --target 3" in lines
    assert "             tier web changed" in lines
    assert any("FailNode: it is off without having been told to (R-FAIL-1)" in line for line in lines)
    assert any(line.startswith("web was below its minimum of 2 from 12:00:00 to 12:00:") for line in lines)
    assert lines[-2] == "no law was broken"
    assert lines[-1].startswith("trace ")
    assert lines[-1].endswith(", seed 7")


def test_nothing_that_is_kept_depends_on_where_the_files_are(folder: Path, simulate: Simulate) -> None:
    simulate(scenario(folder, "10:01 guest web-3 dies", "10:02 end"), "--bless")
    text = (folder / "other.txt.expected").read_text()
    assert str(folder) not in text
    assert text.startswith("other.txt\n")


def test_everything_is_printed_on_demand(folder: Path, simulate: Simulate) -> None:
    brief, whole = simulate(folder / "lunch.txt").out, simulate(folder / "lunch.txt", "--verbose").out
    assert "observation: " in whole
    assert "outcome: " in whole
    assert "observation: " not in brief
    assert len(whole.splitlines()) > 1.5 * len(brief.splitlines())


def test_it_is_printed_as_json(folder: Path, simulate: Simulate) -> None:
    row = json.loads(simulate(folder / "lunch.txt", "-o", "json").out)
    assert (row["title"], row["seed"], row["good"], row["broken"]) == ("A host dies at lunch", 7, True, [])
    assert row["start"] == "2026-03-02T11:55:00Z"
    (fault,) = [event for event in row["events"] if event["kind"] == "fault"]
    assert (fault["at"], fault["subject"], fault["line"]) == (
        "2026-03-02T12:00:00Z",
        f"{HOST} loses power",
        6,
    )
    web = next(tier for tier in row["tiers"] if tier["name"] == "web")
    assert web["below_minimum"][0].keys() == {"from", "to", "seconds", "wanted", "lowest"}
    assert len(json.loads(simulate(*[folder / "lunch.txt"] * 2, "-o", "json").out)) == 2


def test_another_seed_may_be_given(folder: Path, simulate: Simulate) -> None:
    assert simulate(folder / "lunch.txt", "--seed", "12").out.rstrip().endswith("seed 12")


def test_the_same_seed_gives_the_same_trace(folder: Path, simulate: Simulate) -> None:
    assert simulate(folder / "lunch.txt") == simulate(folder / "lunch.txt")


def test_what_comes_again_is_told_once(folder: Path, simulate: Simulate) -> None:
    out = simulate(scenario(folder, "10:01 host-1 dies", "10:20 end")).out
    tried = [line for line in out.splitlines() if "PowerOff: " in line]
    assert len(tried) == 1
    assert "; again 10:01:" in tried[0]
    assert " more times until 10:" in tried[0]


def test_a_line_that_cannot_happen_ends_with_1(folder: Path, simulate: Simulate) -> None:
    result = simulate(scenario(folder, "10:01 guest web-3 dies", "10:02 end"))
    assert result.status == 1
    assert "10:01:00  x  guest web-3 dies\n             line 3: there is no guest web-3;" in result.out
    assert result.err.startswith("error: ")
    assert "what line 3 says could not happen" in result.err


def test_a_broken_law_ends_with_1(folder: Path, simulate: Simulate, monkeypatch: pytest.MonkeyPatch) -> None:
    from metier.sim.director import Director

    honest = Director.run

    def broken(self: Director, *arguments: object) -> Report:
        report = honest(self, *arguments)  # type: ignore[arg-type]  # passed on as it came
        return replace(report, breaches=(Breach(MORNING, 5, "slot web/1 runs twice"),))

    monkeypatch.setattr(Director, "run", broken)
    result = simulate(folder / "lunch.txt")
    assert result.status == 1
    assert "law 5: slot web/1 runs twice" in result.out
    assert "what must always hold did not: law 5" in result.err
    assert "no law was broken" not in result.out


def test_names_from_outside_cannot_steer_a_terminal() -> None:
    report = play("10:05 guest web-1 dies", "until quiet")
    hostile = tuple(replace(fact, subject="\x1b[2J", message="a\x1b]0;x") for fact in report.facts)
    row = report_row(replace(report, facts=hostile, title="\x1b[31m"))
    lines = report_lines(row, verbose=True) + report_lines(row, verbose=False)
    assert not any("\x1b" in line for line in lines)


# --- what is wrong ----------------------------------------------------------------------------


def test_all_that_is_wrong_is_told_and_nothing_is_run(folder: Path, simulate: Simulate) -> None:
    path = scenario(folder, "10:05 host-9 dies", "10:04 host-1 dies", "metier status")
    result = simulate(path)
    assert (result.status, result.out) == (2, "")
    assert [line.split(": ")[1] for line in result.err.splitlines() if line.startswith("error")] == [
        f"{path}:{line}" for line in (3, 4, 5)
    ]


def test_what_is_wrong_is_told_as_json(folder: Path, simulate: Simulate) -> None:
    result = simulate(scenario(folder, "10:05 host-9 dies"), "-o", "json")
    error = json.loads(result.err)["error"]
    assert error["code"] == "bad-scenario"
    assert error["message"].endswith(":3: there is no machine host-9")
    assert error["remedy"] == "name a physical node of the site: host-1, host-2, host-3"


def test_a_good_scenario_is_run_though_another_is_bad(folder: Path, simulate: Simulate) -> None:
    result = simulate(scenario(folder, "nonsense"), folder / "lunch.txt")
    assert result.status == 2
    assert "A host dies at lunch" in result.out


@pytest.mark.parametrize(
    ("words", "status", "why"),
    [
        ((), 2, "no scenario is named"),
        (("x.txt",), 1, "cannot read x.txt: no such file or directory"),
        ((".",), 1, "cannot read .: is a directory"),
        (("x.txt", "--check", "--bless"), 2, "--check and --bless do not go together"),
        (("--write-scenario", "x"), 2, "--write-scenario needs a journal"),
        (("--from-journal", "x"), 2, "the site as it was before the journal is missing"),
        (("y", "--from-journal", "x", "--site", "z"), 2, "takes no scenario"),
        (("--from-journal", "x", "--site", "z"), 1, "cannot read z: no such file"),
        (("--seed", "-1", "x.txt"), 2, "invalid value for '--seed'"),
    ],
)
def test_wrong_usage(
    words: tuple[str, ...],
    status: int,
    why: str,
    simulate: Simulate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    result = simulate(*words)
    assert result.status == status
    assert why in result.err


def test_a_site_that_is_not_there_is_told_with_its_line(folder: Path, simulate: Simulate) -> None:
    (folder / "site.json").unlink()
    result = simulate(folder / "lunch.txt")
    assert result.status == 2
    assert result.err.startswith(f"error: {folder}/lunch.txt:2: cannot read {folder}/site.json: no such file")


def test_a_scenario_that_is_no_text(folder: Path, simulate: Simulate) -> None:
    (folder / "lunch.txt").write_bytes(b"# lunch\n\xff\xfe")
    result = simulate(folder / "lunch.txt")
    assert (result.status, "lunch.txt:2: it is not UTF-8 text" in result.err) == (2, True)


# --- expected output ----------------------------------------------------------------------------


def test_expected_output_is_kept_beside_and_compared(folder: Path, simulate: Simulate) -> None:
    path = folder / "lunch.txt"
    missing = simulate(path, "--check")
    assert (missing.status, f"there is no {path}.expected" in missing.err) == (1, True)
    assert simulate(path, "--bless").status == 0
    assert simulate(path, "--check") == Result(0, f"{path}.expected: as expected\n", "")
    path.write_text(LUNCH.replace("target of web 3", "target of web 4"))
    changed = simulate(path, "--check")
    assert changed.status == 1
    assert "-12:01:00  $  metier tier edit web --target 3" in changed.out
    assert "+12:01:00  $  metier tier edit web --target 4" in changed.out
    assert "it went otherwise" in changed.err


def test_expected_output_has_nothing_that_any_change_of_metier_changes(
    folder: Path, simulate: Simulate
) -> None:
    simulate(folder / "lunch.txt", "--bless")
    assert "trace " not in (folder / "lunch.txt.expected").read_text()


# --- the site -----------------------------------------------------------------------------------


def test_the_site_may_be_named_on_the_command_line(folder: Path, simulate: Simulate) -> None:
    path = folder / "other.txt"
    path.write_text("+1m host-1 loses power\nuntil quiet\n")
    assert simulate(path, "--site", folder / "site.json").status == 0


def test_without_one_the_running_controller_is_asked(
    folder: Path, simulate: Simulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(_: Client, request: Request) -> Reply:
        assert (request.path, request.query) == ("/api/v1/export-site", {"journal": 0})
        return Reply(200, json.loads(site_text()), "", "")

    monkeypatch.setattr(Client, "ask", ask)
    path = folder / "other.txt"
    path.write_text("+1m host-1 loses power\nuntil quiet\n")
    assert simulate(path).status == 0


def test_without_any_site_it_is_told_whom_to_start(folder: Path, simulate: Simulate) -> None:
    path = folder / "other.txt"
    path.write_text("+1m host-1 loses power\n")
    result = simulate("--state", folder, path)
    assert result.status == 5
    assert "cannot reach the controller" in result.err


# --- journals -----------------------------------------------------------------------------------


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Return the journal of a controller, and write the site before it to `before.json`."""
    simulation, text = a_running_site()
    last = simulation.records.last_id
    befall(simulation, "host-1 loses power")
    simulation.pass_s(200)
    simulation.order("", "apply", document={"tiers": [{"name": "web", "target": 3}]})
    simulation.pass_s(100)
    (tmp_path / "before.json").write_text(text)
    path = tmp_path / "journal.json"
    path.write_text(journal_of(simulation, last))
    return path


def test_a_journal_is_replayed(journal: Path, simulate: Simulate) -> None:
    result = simulate("--from-journal", journal, "--site", journal.parent / "before.json")
    assert result.status == 0
    assert "  >  host-1 loses power" in result.out
    assert "decisions: " in result.out
    row = json.loads(
        simulate("--from-journal", journal, "--site", journal.parent / "before.json", "-o", "json").out
    )
    assert row["comparison"]["same"] > 10
    assert row["left_out"] == []


def test_a_journal_becomes_a_scenario(journal: Path, simulate: Simulate) -> None:
    folder = journal.parent
    words = (
        "--from-journal",
        journal,
        "--site",
        folder / "before.json",
        "--write-scenario",
        folder / "again.txt",
    )
    done = simulate(*words)
    assert (done.status, done.out) == (0, "")
    text = (folder / "again.txt").read_text()
    assert "site before.json\n" in text
    assert "  host-1 loses power\n" in text
    assert list(folder.glob("document-*.json"))
    again = simulate(folder / "again.txt")
    assert again.status == 0
    assert "site file applied: 1 change" in again.out


def test_a_journal_from_before_the_site_is_refused(journal: Path, simulate: Simulate) -> None:
    simulation, text = a_running_site()
    (journal.parent / "later.json").write_text(text)
    journal.write_text(journal_of(simulation, 0))
    result = simulate("--from-journal", journal, "--site", journal.parent / "later.json")
    assert result.status == 2
    assert "has nothing newer than the site" in result.err


# --- what can happen ----------------------------------------------------------------------------


def test_faults_are_listed(simulate: Simulate) -> None:
    out = simulate("--faults").out
    assert all(fault.sentence in out and fault.help in out for fault in FAULTS)
    assert "target of TIER N" in out
    assert len(json.loads(simulate("--faults", "-o", "json").out)) > len(FAULTS)


def test_a_full_disk_leaves_the_old_output(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "lunch.txt.expected"
    path.write_text("old")
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(Failure, match="cannot write"):
        command.keep("new\n", path)
    assert path.read_text() == "old"

"""`metier simulate`: scenarios that happen to an exported site, in memory and virtual time."""

import difflib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from metier.cli.commands import output_option, state_option
from metier.cli.failure import FAILED, Failure, in_json, in_words, wrong_usage
from metier.cli.output import Row, emit, table
from metier.cli.session import Session, session_of, tell

_FORMS = ("text", "json")
_LONGEST_FILE = 512 * 1000 * 1000
EXPECTED = ".expected"
"""What a scenario's name ends with in the file that holds its expected output."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the command line says."""

    session: Session
    form: str
    site: str | None
    seed: int | None
    verbose: bool
    check: bool
    bless: bool
    faults: bool
    from_journal: str | None
    write_scenario: str | None

    def check_usage(self, files: Sequence[str]) -> None:
        """Raise Failure for what does not go together."""
        if self.check and self.bless:
            raise wrong_usage("--check and --bless do not go together", "give one of them")
        if self.write_scenario is not None and self.from_journal is None:
            raise wrong_usage("--write-scenario needs a journal", "name it with --from-journal")
        if self.from_journal is not None and (files or self.check or self.bless):
            raise wrong_usage(
                "--from-journal takes no scenario, --check or --bless", "give the journal and --site alone"
            )
        if self.from_journal is not None and self.site is None:
            raise wrong_usage(
                "the site as it was before the journal is missing",
                "name it with --site; see `metier export-site`",
            )
        if not files and not self.faults and self.from_journal is None:
            raise wrong_usage(
                "no scenario is named", "name a file; see `metier simulate --faults` for its words"
            )


@click.command(params=[output_option(_FORMS), state_option()])
@click.argument("files", nargs=-1, metavar="[FILE]…")
@click.option(
    "--site", metavar="FILE", help="Exported site, where a scenario names none  [default: the controller's]"
)
@click.option(
    "--seed", type=click.IntRange(0, 10**18 - 1), metavar="NUMBER", help="Instead of the scenario's"
)
@click.option("--verbose", is_flag=True, help="Print everything that was seen and done, to the millisecond")
@click.option("--check", is_flag=True, help="Compare with FILE.expected, and fail if it differs")
@click.option("--bless", is_flag=True, help="Write the output to FILE.expected")
@click.option("--faults", is_flag=True, help="List what can happen in a scenario")
@click.option("--from-journal", metavar="FILE", help="Let happen again what a controller's journal recorded")
@click.option(
    "--write-scenario", metavar="FILE", help="Make a scenario of that journal instead of running it"
)
@click.pass_context
def simulate(ctx: click.Context, /, common_output: str, files: tuple[str, ...], **options: Any) -> None:
    """Let what a scenario says happen to a simulated copy of a site; nothing real is touched.

    A scenario is a plain text: what happens, and when.  Printed are what befell the site,
    what was decided and why, which tiers fell below their minimum and for how long, what
    is still waited for, and whether anything happened that never may.

    With --from-journal the journal of a real controller is the scenario, for the site as it
    was exported before, and its decisions are compared with those of the simulation.
    """
    wish = Wish(session_of(ctx), form=common_output, **options)
    wish.check_usage(files)
    if wish.faults:
        emit(_what_can_happen(common_output))
        return
    if wish.from_journal is not None:
        from metier.cli import replaying

        status = replaying.replay(wish.from_journal, wish)
    else:
        rows: list[Any] = []
        found = [_one(name, wish, rows) for name in files]
        if rows:
            emit(json.dumps(rows if len(files) > 1 else rows[0], indent=2, ensure_ascii=False))
        status = next((status for status in found if status), 0)
    if status:
        raise click.exceptions.Exit(status)


def _one(name: str, wish: Wish, rows: list[Row]) -> int:
    """Run one scenario and print what it came to; returns its exit status."""
    from metier.sim.scenario import BadScenario

    try:
        report = _simulated(name, wish)
        _tell(report, Path(name), wish, rows)
    except BadScenario as error:
        complain_of(error.troubles, error, wish)
        return error.exit_status
    except Failure as failure:
        complain(failure, wish)
        return failure.exit_status
    return FAILED if verdict(report, wish) else 0


def _simulated(name: str, wish: Wish) -> Row:
    """Run one scenario; raises BadScenario and Failure."""
    from metier.sim.report_row import report_row
    from metier.sim.scenario import BadScenario, parse

    scenario, troubles = parse(text_of(name), name)
    if wish.seed is not None:
        scenario = replace(scenario, seed=wish.seed)
    path = str(Path(name).parent / scenario.site) if scenario.site else wish.site
    try:
        rehearsal = rehearsal_of(path, wish.session)
    except Failure as failure:
        if not troubles and not scenario.site:
            raise
        told = scenario.trouble(scenario.site_line, failure.message, failure.remedy)
        raise BadScenario([*troubles, told]) from failure
    return report_row(rehearsal.simulate(scenario, Path(name).parent, troubles))


def rehearsal_of(path: str | None, session: Session) -> Any:
    """Return the `sim.rehearsal` of the site in a file, or of the running controller's; raises Failure."""
    from metier import app

    parts: Any = app
    text = _exported(session) if path is None else text_of(path)
    return parts.rehearsal(text, path or "the controller's site")


def _exported(session: Session) -> str:
    """Return the running controller's site; raises Failure."""
    from metier.cli.client import Request
    from metier.operations.export import document_lines
    from metier.operations.paths import ROOT

    document = session.client().ask(Request("GET", f"{ROOT}/export-site", {"journal": 0})).value
    return "\n".join(document_lines(document))


def text_of(name: str) -> str:
    """Return the text of a file; raises Failure."""
    try:
        with Path(name).open("rb") as file:
            data = file.read(_LONGEST_FILE + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise Failure(
            f"cannot read {name}: {why[:1].lower()}{why[1:]}", remedy="name another file"
        ) from error
    if len(data) > _LONGEST_FILE:
        raise Failure(
            f"cannot read {name}: it has more than {_LONGEST_FILE} bytes", remedy="name another file"
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise wrong_usage(f"{name}:{line}: it is not UTF-8 text", "write it as UTF-8") from error


# --- telling ------------------------------------------------------------------------------


def _tell(report: Row, path: Path, wish: Wish, rows: list[Row]) -> None:
    """Print, compare or keep what a scenario came to; raises Failure."""
    from metier.cli.timeline_text import report_lines, trace_line

    text = "\n".join(report_lines(report, verbose=False)) + "\n"
    expected = path.with_name(path.name + EXPECTED)
    if wish.bless:
        keep(text, expected)
        emit(f"{expected} written")
    elif wish.check:
        _compare(text, expected)
    elif wish.form == "json":
        rows.append(report)
    else:
        lines = report_lines(report, verbose=True) if wish.verbose else text.splitlines()
        emit("\n".join([*lines, trace_line(report)]))


def keep(text: str, path: Path) -> None:
    """Write a file, all of it or nothing; raises Failure."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            beside.write_text(text, encoding="utf-8")
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise Failure(f"cannot write {path}: {error.strerror}", remedy="make room for it there") from error


def _compare(text: str, expected: Path) -> None:
    before = text_of(str(expected)) if expected.exists() else ""
    if not before:
        raise Failure(f"there is no {expected}", remedy="look at the output, and keep it with --bless")
    if before == text:
        emit(f"{expected}: as expected")
        return
    names = str(expected), "this time"
    emit("\n".join(difflib.unified_diff(before.splitlines(), text.splitlines(), *names, lineterm="", n=2)))
    raise Failure(
        f"it went otherwise than {expected} says",
        code="not-as-expected",
        remedy="if that is as it should be, keep it with --bless",
    )


def verdict(report: Row, wish: Wish) -> bool:
    """Say what is wrong with how a scenario went; returns whether anything is."""
    name = report["scenario"]
    if report["broken"]:
        laws = ", ".join(sorted({str(one["law"]) for one in report["broken"]}))
        why, remedy = (
            f"{name}: what must always hold did not: law {laws}",
            "report it, with site and scenario",
        )
        complain(Failure(why, code="broken-law", remedy=remedy), wish)
    missed = [str(event.get("line", "?")) for event in report["events"] if event["kind"] == "failed"]
    if missed:
        why = f"{name}: what line {', '.join(missed)} says could not happen"
        complain(Failure(why, code="missed", remedy="see the lines marked with x"), wish)
    return not report["good"]


def complain_of(troubles: Sequence[Any], error: Any, wish: Wish) -> None:
    """Print all that is wrong with a scenario, each by itself."""
    for trouble in troubles:
        complain(Failure(str(trouble), code=error.code, remedy=trouble.remedy), wish)


def complain(failure: Failure, wish: Wish) -> None:
    """Print what is wrong, as it is wanted."""
    tell(in_json(failure) if wish.form == "json" else in_words(failure))


def _what_can_happen(form: str) -> str:
    """Return every sentence and short form with what it means."""
    from metier.sim.faults import FAULTS
    from metier.sim.scenario import SHORT_FORMS

    rows = [{"sentence": fault.sentence, "meaning": fault.help} for fault in FAULTS]
    rows += [{"sentence": sentence, "meaning": f"short for `{command}`"} for sentence, command in SHORT_FORMS]
    if form == "json":
        return json.dumps(rows, indent=2, ensure_ascii=False)
    return table(rows, ("sentence", "meaning"), None)

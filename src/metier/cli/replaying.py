"""`metier simulate --from-journal`: what a controller recorded, once more in memory, and how it went then."""

import json
import os
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from metier.cli.failure import FAILED
from metier.cli.output import Row, emit, printable
from metier.cli.session import tell, warn
from metier.cli.simulate import Wish, complain_of, keep, rehearsal_of, text_of, verdict
from metier.cli.timeline_text import comparison_lines, report_lines, trace_line

_MOST_SHOWN = 20


def replay(journal: str, wish: Wish) -> int:
    """Replay a journal, or make a scenario of it; returns the exit status.

    Raises:
        Failure: A file cannot be read or written.
    """
    from metier.sim.report_row import replayed_row
    from metier.sim.scenario import BadScenario

    assert wish.site is not None
    rehearsal = rehearsal_of(wish.site, wish.session)
    if wish.write_scenario is not None:
        _write(rehearsal, journal, wish.site, Path(wish.write_scenario))
        return 0
    with TemporaryDirectory(prefix="metier-replay-") as folder:
        try:
            row = replayed_row(rehearsal.replay(text_of(journal), journal, Path(folder)))
        except BadScenario as error:
            complain_of(error.troubles, error, wish)
            return error.exit_status
    _tell(row, wish)
    return FAILED if verdict(row, wish) else 0


def _write(rehearsal: Any, journal: str, site: str, path: Path) -> None:
    """Write a scenario, and beside it the documents that its commands name; raises Failure."""
    from metier.sim.scenario import render

    found = rehearsal.read(text_of(journal), journal)
    text = render(replace(found.scenario, site=os.path.relpath(site, path.parent)))
    notes = [f"# left out: {printable(one)}\n" for one in found.left_out]
    for name, document in found.documents.items():
        keep(document, path.parent / name)
    keep(text + "".join(notes), path)
    warn(found.left_out)
    tell(f"{len(found.scenario.steps)} lines written to {path}; run it with `metier simulate {path}`")


def _tell(row: Row, wish: Wish) -> None:
    warn(row["left_out"])
    if wish.form == "json":
        emit(json.dumps(row, indent=2, ensure_ascii=False))
        return
    lines = [*report_lines(row, verbose=wish.verbose), trace_line(row), ""]
    emit("\n".join([*lines, *comparison_lines(row["comparison"], None if wish.verbose else _MOST_SHOWN)]))

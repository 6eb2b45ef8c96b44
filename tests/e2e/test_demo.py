"""The demonstration, as `make demo` runs it: the README's first promise."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.e2e.demo_typed import TYPED, typed

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces and bridges need root"),
]


def test_the_demonstration_does_the_main_job_and_leaves_nothing() -> None:
    """S20 S24 S34 S37 S45 S47 S52 S55: an archive goes in, an update round; a kill, a shrink, the force."""
    before = _namespaces()
    folder = Path(tempfile.mkdtemp(prefix="md-"))  # paths of sockets are short
    done = subprocess.run(
        [sys.executable, "-m", "metier", "demo", "-o", "json"],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
        env=os.environ | {"TMPDIR": str(folder)},
    )
    assert done.returncode == 0, done.stderr
    steps = json.loads(done.stdout)["steps"]
    assert len(steps) == 10
    assert all(step["seconds"] > 0 for step in steps)
    assert typed(line for step in steps for line in step["commands"]) == TYPED
    by_title = {step["title"]: step for step in steps}
    update = by_title["The new version goes round the tier while it answers"]
    assert any("rounds in which no slot answered: 0" in sentence for sentence in update["said"])
    assert sum("note: changed" in sentence for sentence in update["said"]) == 3
    shrink = by_title["The host tier is told to shrink: it waits for its guests"]
    assert any("still hosts active guests" in sentence for sentence in shrink["waiting_for"])
    forced = by_title["The forced way: one warning per guest, then replacement"]
    assert any(sentence.startswith("warning:") for sentence in forced["said"])
    assert sum("<h1>web-" in sentence for sentence in forced["said"]) == 3
    assert _namespaces() == before
    folder.rmdir()


def _namespaces() -> str:
    return subprocess.run(
        ["ip", "netns", "list"], capture_output=True, text=True, check=True, timeout=30
    ).stdout

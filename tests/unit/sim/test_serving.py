"""`metier serve --simulated` as a process of its own: without root, without any system package."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from metier.lab.waiting import wait_until
from metier.sim.folder import simulated_folder
from metier.sim.opening import begin_site
from metier.store.open import open_store

METIER = (sys.executable, "-m", "metier")
PATIENCE_S = 60.0


class Trial:
    """A controller of a simulated site, and an operator who types commands to it."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.folder, self._words = folder, words
        kept = {name: value for name, value in os.environ.items() if not name.startswith("METIER_")}
        self._environment = {**kept, "TMPDIR": str(folder), "COLUMNS": "200"}
        self.log = folder.parent / "controller.log"

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run the controller; it is told to stop at the end, and has to."""
        with self.log.open("wb") as log:
            command = [*METIER, "serve", "--simulated", *self._words]
            process = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)
        try:
            assert wait_until(lambda: process.poll() is not None or self._is_up(), PATIENCE_S), self.said()
            yield
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_S) == 0, self.said()
        finally:
            process.kill()
            process.wait(PATIENCE_S)

    def said(self) -> str:
        """Return what the controller printed."""
        return self.log.read_text()

    def type(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [*METIER, *words],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    def ask(self, *words: str) -> Any:
        """Run a command that must succeed, and return its answer."""
        done = self.type(*words, "-o", "json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def is_normal(self) -> bool:
        """Say whether every tier has as many normal nodes as its target."""
        return all(row["normal"] >= row["target"] for row in self.ask("tier", "list"))

    def has_seen(self, node: str, words: str) -> bool:
        """Say whether the journal tells something of a node: it stays true, however fast time passes."""
        return any(words in row["message"] for row in self.ask("event", "list", "--subject", node))

    def _is_up(self) -> bool:
        found = re.search(r"METIER_STATE=(\S+)", self.said())
        if found is None:
            return False
        self._environment["METIER_STATE"] = found[1]
        return self.type("status").returncode == 0


def test_the_whole_product_runs_on_a_simulated_site_and_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    trial = Trial(folder, "--speed", "120")
    with trial.running():
        assert "nothing real is touched" in trial.said()
        assert wait_until(trial.is_normal, PATIENCE_S)
        host = next(row["host"] for row in trial.ask("node", "list", "--tier", "web"))
        assert trial.type("befall", f"{host} loses power").stdout.startswith(
            f"{host} loses power: it goes off"
        )
        assert wait_until(lambda: trial.has_seen(host, "power is off"), PATIENCE_S)
        assert trial.ask("tier", "explain", "hosts")["why"]
        assert "actions" in trial.ask("plan")
        assert wait_until(trial.is_normal, PATIENCE_S)
        refused = trial.type("befall", "controller", "dies")
        assert (refused.returncode, "runs for real" in refused.stderr) == (1, True)
    assert not list(folder.iterdir())


def test_a_named_folder_goes_on_with_the_site_that_it_remembers(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with simulated_folder(state):
        store = open_store(state)
        begin_site(store, state, None, hosts=2)
        store.close()
    trial = Trial(tmp_path / "temporary", "--state", str(state))
    with trial.running():
        rows = trial.ask("node", "list", "--kind", "physical")
        assert {row["name"] for row in rows} == {"host-1", "host-2"}
    assert "metier.db" in {path.name for path in state.iterdir()}

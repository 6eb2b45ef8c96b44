"""Types Metier's own commands, as an operator would, against one controller."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metier.lab.errors import LabError

COMMAND_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command printed, and how it ended."""

    command: str
    status: int
    output: str
    errors: str


class Console:
    """A shell of one operator: every command goes to the controller on one state folder."""

    def __init__(self, state: Path) -> None:
        self._environment = os.environ | {"METIER_STATE": str(state), "NO_COLOR": "1"}
        self._environment.pop("METIER_URL", None)

    def type(
        self, *words: str, program: str = "metier", expect: Sequence[int] = (0,), reads: Path | str = ""
    ) -> Answer:
        """Run a command and return its answer; `reads` is a file, or the text, on its standard input.

        Raises:
            LabError: It ended with another status than expected, or not in time.
        """
        argv = [sys.executable, "-c", f"from metier.cli.main import {_ENTRY[program]} as run; run()", *words]
        try:
            done = subprocess.run(
                argv,
                capture_output=True,
                timeout=COMMAND_TIMEOUT_S,
                check=False,
                env=self._environment,
                input=reads.read_bytes() if isinstance(reads, Path) else reads.encode(),
            )
        except subprocess.TimeoutExpired as error:
            raise LabError(
                f"{program} {' '.join(words)} did not end within {COMMAND_TIMEOUT_S:.0f} s"
            ) from error
        said, errors = done.stdout.decode(), done.stderr.decode()
        answer = Answer(" ".join([program, *words]), done.returncode, said, errors)
        if answer.status not in expect:
            raise LabError(f"{answer.command} ended with status {answer.status}: {answer.errors.strip()}")
        return answer

    def ask(self, *words: str) -> Any:
        """Run a command with `-o json` and return what it says."""
        return json.loads(self.type(*words, "-o", "json").output)


_ENTRY = {"metier": "main", "ccimport": "ccimport", "cccapture": "cccapture", "ccexport": "ccexport"}

"""Runs a controller inside a lab, as its own process, reachable from outside on loopback."""

import socket
import subprocess
import sys
from pathlib import Path
from typing import Self

from metier.lab.datacentre import LabDatacentre
from metier.lab.errors import LabError
from metier.lab.identity import ProcessIdentity, end_process, identify
from metier.lab.waiting import wait_until

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0

# By systemd's protocol the socket is file 3, and who takes it over finds its own number beside it.
_HAND_OVER = """\
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
os.execvp(sys.argv[2], sys.argv[2:])
"""


class LabController:
    """`metier serve` in the site's network namespace, where guests and hosts can be reached.

    Its API also listens on a loopback port of the machine: the socket is opened here,
    outside the namespace, and handed over as systemd does.
    """

    def __init__(self, lab: LabDatacentre, state: Path) -> None:
        self._lab, self.state = lab, state
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Where the API is, for callers with a token."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """What the controller says of itself."""
        return self.state.parent / "controller.log"

    @property
    def identity(self) -> ProcessIdentity:
        """The controller's process, for accidents on purpose."""
        assert self._process is not None
        found = identify(self._process.pid)
        if found is None:
            raise LabError("the controller has ended", remedy=f"see {self.log}")
        return found

    def start(self) -> None:
        """Start the controller and return once it answers.

        Raises:
            LabError: It ended or did not answer; the message has its last words.
        """
        self.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        with socket.create_server(("127.0.0.1", self.port)) as listener, self.log.open("ab") as log:
            self.port = listener.getsockname()[1]
            serve = [sys.executable, "-m", "metier", "serve", "--state", str(self.state)]
            hand_over = [sys.executable, "-c", _HAND_OVER, str(listener.fileno())]
            self._process = subprocess.Popen(
                [*hand_over, *self._lab.command_in_site(serve)],
                pass_fds=(listener.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(lambda: self._ended() or self._answers(), START_TIMEOUT_S, every_s=0.1)
        if not self._answers():
            raise LabError(f"the controller did not start: {self._last_words()}", remedy=f"see {self.log}")

    def stop(self) -> None:
        """Stop the controller in order; by force if it does not end."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End the controller at once, whatever it is doing."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_TIMEOUT_S)

    def _ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1.0)
            try:
                probe.connect(str(self.state / "metier.sock"))
                probe.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")
                return probe.recv(64).split(b" ", 2)[1:2] == [b"200"]
            except OSError:
                return False

    def _last_words(self) -> str:
        return self.log.read_text(errors="replace")[-2000:] if self.log.exists() else ""


def stop_process(identity: ProcessIdentity) -> None:
    """Stop a controller that an earlier process started."""
    end_process(identity, timeout_s=STOP_TIMEOUT_S)

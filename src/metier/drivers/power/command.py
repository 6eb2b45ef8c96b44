"""Switches a node by the operator's own commands: whatever can be called from this machine."""

import os
import selectors
import shlex
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

from metier.domain.errors import OutcomeUnknown, Refused, Unavailable
from metier.domain.observation import Power
from metier.drivers.power.api import Capability
from metier.drivers.settings import parse_settings, seconds, setting

# How much of a command's output is read; the rest is thrown away, so that it neither waits nor fills memory.
MAX_OUTPUT_BYTES = 64 * 1024
# The end of its complaint that a message shows.
MAX_SAID = 500
_PIECE_BYTES = 16 * 1024
_WORDS = {"on": Power.ON, "off": Power.OFF}


def _command(text: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise ValueError(f"the quotes do not match: {error}") from None
    if not words or not words[0] or "\0" in text:
        raise ValueError("must be a program and its arguments")
    return words


@dataclass(frozen=True, slots=True)
class Settings:
    """The operator's commands; no shell reads them."""

    on: tuple[str, ...] = setting(
        "Command that switches the node on; on already must be fine. It is split into words; no shell runs.",
        parse=_command,
        example="ipmitool -I lanplus -H bmc-1 -f /etc/metier/bmc-1 chassis power on",
    )
    off: tuple[str, ...] = setting(
        "Command that cuts the node's power; off already must be fine.", parse=_command
    )
    status: tuple[str, ...] = setting(
        "Command whose first word of output is `on` or `off`; any other word means unknown.", parse=_command
    )
    timeout_s: float = setting(
        "How long one command may take, in seconds, 0.1 to 600; then it is killed.",
        parse=seconds(0.1, 600),
        default="60",
    )


class _Ended(NamedTuple):
    """How a command ended; `status` is None when it was killed at its deadline."""

    status: int | None
    output: str
    said: str


class CommandPower:
    """The power controller of one node, made of three commands; objects hold no state."""

    CAPABILITIES: ClassVar[frozenset[Capability]] = frozenset()
    SETTINGS: ClassVar[type[Settings]] = Settings

    def __init__(self, node: str, settings: Settings) -> None:
        self._node = node
        self._settings = settings

    @classmethod
    def open(cls, node: str, settings: Mapping[str, str]) -> "CommandPower":
        """Return the controller of one node; runs nothing."""
        return cls(node, parse_settings(Settings, "command", settings))

    @classmethod
    def check_settings(cls, settings: Mapping[str, str]) -> None:
        """Raise WrongUsage if a setting is missing, unknown or malformed; runs nothing."""
        parse_settings(Settings, "command", settings)

    def on(self, *, timeout_s: float) -> None:
        self._switch("switch on", self._settings.on, timeout_s)

    def off(self, *, timeout_s: float) -> None:
        self._switch("switch off", self._settings.off, timeout_s)

    def status(self, *, timeout_s: float) -> Power:
        argv, limit_s = self._settings.status, self._limit_s(timeout_s)
        what = f"cannot ask for the power of {self._node}: {Path(argv[0]).name}"
        ended = self._run(argv, limit_s)
        if ended.status is None:
            raise Unavailable(f"{what} gave no answer within {limit_s:g} s{_quoted(ended.said)}")
        if ended.status != 0:
            raise Unavailable(f"{what} ended with exit status {ended.status}{_quoted(ended.said)}")
        words = ended.output.split(maxsplit=1)
        return _WORDS.get(words[0].lower(), Power.UNKNOWN) if words else Power.UNKNOWN

    def _switch(self, verb: str, argv: tuple[str, ...], timeout_s: float) -> None:
        limit_s = self._limit_s(timeout_s)
        name = Path(argv[0]).name
        ended = self._run(argv, limit_s)
        if ended.status is None:
            raise OutcomeUnknown(
                f"cannot tell whether to {verb} {self._node} worked: {name} did not end within {limit_s:g} s"
                f" and was killed{_quoted(ended.said)}"
            )
        if ended.status != 0:
            raise Refused(
                f"cannot {verb} {self._node}: {name} ended with exit status {ended.status}"
                f"{_quoted(ended.said)}",
                remedy="run the command by hand, mend it, and set it with the node's power settings",
            )

    def _limit_s(self, timeout_s: float) -> float:
        return min(timeout_s, self._settings.timeout_s)

    def _run(self, argv: tuple[str, ...], limit_s: float) -> _Ended:
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                # Its own session and group: what it starts can be ended with it.
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise Refused(
                f"cannot run {argv[0]} for {self._node}: {reason}",
                remedy="install it on the controller, or set another command",
            ) from None
        with process:
            return _watch(process, limit_s)


def _watch(process: "subprocess.Popen[bytes]", limit_s: float) -> _Ended:
    """Read what a command prints until it ends; kill it and what it started if its time is up before."""
    assert process.stdout is not None
    assert process.stderr is not None
    kept = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
    status: int | None = None
    try:
        if _read_until_ended(process.pid, kept, time.monotonic() + limit_s):
            status = process.wait()
    finally:
        if process.returncode is None:
            # Nobody has waited for it, so the number and the group are still its own.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    output, said = (text.decode(errors="replace") for text in kept.values())
    return _Ended(status, output, said)


def _read_until_ended(pid: int, kept: dict[int, bytearray], until: float) -> bool:
    """Collect output until the process ends, and return whether it did; its children may outlive it.

    The end of the output is not waited for: a service that the command started may hold it open for ever.
    """
    ending = os.pidfd_open(pid)
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(ending, selectors.EVENT_READ)
            for output in kept:
                os.set_blocking(output, False)
                selector.register(output, selectors.EVENT_READ)
            while (left_s := until - time.monotonic()) > 0:
                ready = {key.fd for key, _ in selector.select(left_s)}
                for output in ready & kept.keys():
                    if not _read_some(output, kept[output]):
                        selector.unregister(output)
                if ending in ready:
                    for output, text in kept.items():
                        _read_rest(output, text)
                    return True
    finally:
        os.close(ending)
    return False


def _read_some(output: int, text: bytearray) -> bool:
    """Read what is there now and keep it while there is room; return False at the end of the output."""
    try:
        piece = os.read(output, _PIECE_BYTES)
    except BlockingIOError:
        return True
    text += piece[: MAX_OUTPUT_BYTES - len(text)]
    return bool(piece)


def _read_rest(output: int, text: bytearray) -> None:
    """Read what an ended command left in the pipe; never more than a pipe holds."""
    for _ in range(MAX_OUTPUT_BYTES // _PIECE_BYTES + 1):
        before = len(text)
        if not _read_some(output, text) or len(text) == before:
            return


def _quoted(said: str) -> str:
    """Return the end of a command's complaint, on one line, for the end of a message."""
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in said).split())
    if not text:
        return ""
    return f": {text}" if len(text) <= MAX_SAID else f": …{text[-MAX_SAID:]}"

"""Runs qemu-img on checked files in our own folder, within limits, and never longer than we live."""

import contextlib
import json
import os
import re
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from metier.domain.errors import NoSpace, Refusal

_PERCENT = re.compile(rb"\(([0-9]{1,3}\.[0-9]{2})/100%\)")

# How often a caller hears of progress, and may cancel.
_LOOK_S = 0.1

# A conversion holds some 16 buffers of 2 MiB; the rest is for tables of large disks.
_MEMORY_BYTES = 2 << 30

# Extents of a split disk are all open at once.
_FILES = 8192

# Slower than this is no conversion but a loop: 2 MiB of processor time per second, and ten minutes for start.
_CPU_BYTES_PER_S = 2 << 20
_CPU_LEAST_S = 600


@dataclass(frozen=True, slots=True)
class QemuImg:
    """The program `qemu-img`, by name or path."""

    program: str = "qemu-img"

    def convert(self, descriptor: Path, target: Path, needed: int, alive: Callable[[float], None]) -> None:
        """Write the content of a VMDK into a new qcow2 disk; holes stay holes.

        Args:
            descriptor: Of our own writing, next to its extents; see `VmdkDisk.descriptor_for_qemu`.
            target: Does not exist yet.
            needed: The most bytes that the target can take.
            alive: Called several times a second with the part that is done, from 0 to 1; what it
                raises ends the conversion.

        Raises:
            Refusal: QEMU cannot read the disk.
            NoSpace: The disk became full.
        """
        # -W: in any order, which means nothing to a new file and keeps more requests in flight.
        arguments = ["convert", "-p", "-O", "qcow2", "-o", "lazy_refcounts=off,compat=1.1"]
        arguments += ["-W", "-m", "8", _source(descriptor), _plain(target)]
        self._run(arguments, descriptor.parent, needed, alive)

    def _run(self, arguments: Sequence[str], folder: Path, size: int, alive: Callable[[float], None]) -> None:
        with _in_memory("errors") as errors, _in_memory("answers") as answers:
            with self._started(
                [*_guard(), self._path(), *arguments], folder, size, answers, errors
            ) as process:
                while True:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(_LOOK_S)
                        break
                    alive(_part_done(answers.fileno()))
            status = process.returncode
            errors.seek(0)
            if status != 0:
                raise _failure(arguments[0], status, errors.read(4096).decode("utf-8", "replace"), folder)

    def _path(self) -> str:
        path = shutil.which(self.program)
        if path is None:
            raise Refusal(
                f"cannot run {self.program}: it is not installed",
                remedy="install the package qemu-utils, then import again",
            )
        return path

    @contextlib.contextmanager
    def _started(
        self, command: Sequence[str], folder: Path, size: int, answers: BinaryIO, errors: BinaryIO
    ) -> Iterator["subprocess.Popen[bytes]"]:
        environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=answers, stderr=errors
        )
        try:
            # From outside: code between fork and exec is not safe in a program with threads.
            _limit(process.pid, size)
            yield process
        finally:
            process.kill()
            process.wait()


def _part_done(answers: int) -> float:
    """Return the last of the percentages that qemu-img prints, as a part of one."""
    tail = os.pread(answers, 64, max(os.fstat(answers).st_size - 64, 0))
    told = _PERCENT.findall(tail)
    return min(float(told[-1]) / 100, 1.0) if told else 0.0


def _in_memory(name: str) -> BinaryIO:
    # Not on disk: its being full is one of the errors to be told.
    return os.fdopen(os.memfd_create(name), "w+b")


def _source(descriptor: Path) -> str:
    """Name a VMDK so that nothing is guessed: its driver is given, and no parent is looked for."""
    file = {"driver": "file", "filename": str(descriptor)}
    return "json:" + json.dumps({"driver": "vmdk", "read-only": True, "backing": None, "file": file})


def _plain(path: Path) -> str:
    # A name with a colon would be taken for a protocol.
    return f"file:{path}"


def _guard() -> list[str]:
    """Return the words before a command that end it when we are killed, where the system has them."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--no-new-privs", "--"] if setpriv else []


def _limit(process: int, size: int) -> None:
    cpu_s = _CPU_LEAST_S + size // _CPU_BYTES_PER_S
    file_bytes = 2 * size + (64 << 20)
    with contextlib.suppress(ProcessLookupError):
        for kind, most in (
            (resource.RLIMIT_AS, _MEMORY_BYTES),
            (resource.RLIMIT_CPU, cpu_s),
            (resource.RLIMIT_FSIZE, file_bytes),
            (resource.RLIMIT_CORE, 0),
        ):
            resource.prlimit(process, kind, (most, most))
        hard = resource.prlimit(process, resource.RLIMIT_NOFILE)[1]
        files = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
        resource.prlimit(process, resource.RLIMIT_NOFILE, (files, files))


def _failure(verb: str, status: int, errors: str, folder: Path) -> Exception:
    said = " ".join(errors.replace(str(folder), "").split())[:300] or f"it ended with status {status}"
    if "No space left" in said or "quota exceeded" in said:
        return NoSpace("cannot convert the disk: the disk of the image matrix became full")
    return Refusal(f"cannot convert the disk: qemu-img {verb} says: {said}", remedy="copy or export it again")

"""Runs qemu-img on checked files, within limits, and never longer than we live."""

import contextlib
import json
import os
import re
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from metier.domain.errors import NoSpace, Refusal
from metier.drivers.formats.api import QemuView

_PERCENT = re.compile(rb"\(([0-9]{1,3}\.[0-9]{2})/100%\)")

# How often a caller hears of progress, and may cancel.
_LOOK_S = 0.1

# A conversion holds some 16 buffers of 2 MiB; the rest is for tables of large disks.
_MEMORY_BYTES = 2 << 30

# Extents of a split disk are all open at once.
_FILES = 8192

# Slower than this is no work but a loop: 2 MiB of processor time per second, and ten minutes for start.
_CPU_BYTES_PER_S = 2 << 20
_CPU_LEAST_S = 600

# Parts that a disk is compared in: small enough to keep all cores busy to the end, large enough to be
# worth a process.
_SLICES_PER_CORE = 4
_LEAST_SLICE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class QemuImg:
    """The program `qemu-img`, by name or path."""

    program: str = "qemu-img"

    def is_same(
        self, one: QemuView, other: QemuView, capacity_bytes: int, reach: Callable[[int], None]
    ) -> bool:
        """Say whether two disks of `capacity_bytes` hold the same, by QEMU's own reading of both.

        As many processes as there are cores compare a slice each.  `reach` is called several
        times a second with guest bytes done; what it raises ends the work.

        A disk that stands on another is compared in one piece: QEMU takes what it has from below
        for zeros where it is told to look at a slice (seen with 7.2).

        Raises:
            Refusal: QEMU cannot read one of them.
        """
        views = (one, other)
        if any(view.node.get("backing") is not None for view in views):
            slices = [(0, capacity_bytes)]
            named = [[in_json(view.node) for view in views]]
        else:
            slices = _slices(capacity_bytes)
            named = [[_slice(view, at, size) for view in views] for at, size in slices]
        commands = [[*_guard(), self._path(), "compare", "-p", *names] for names in named]
        descriptors = (*one.descriptors, *other.descriptors)
        total_done = 0
        with contextlib.ExitStack() as stack:
            waiting = [(command, size) for command, (_, size) in zip(commands, slices, strict=True)]
            running: list[tuple[_Run, int]] = []
            while waiting or running:
                while waiting and len(running) < len(os.sched_getaffinity(0)):
                    command, size = waiting.pop(0)
                    running.append((stack.enter_context(_started(command, size, descriptors)), size))
                running[0][0].wait(_LOOK_S)
                for run, size in [item for item in running if item[0].is_over]:
                    running.remove((run, size))
                    if run.status == 1:
                        return False
                    run.check("compare")
                    total_done += size
                reach(total_done + int(sum(run.part_done * size for run, size in running)))
        return True

    def convert(
        self,
        source: QemuView,
        target: Path,
        form: str,
        needed: int,
        alive: Callable[[float], None],
        options: Sequence[str] = (),
    ) -> None:
        """Write the content of a disk into a new file; holes stay holes.

        Args:
            source: The disk.
            target: Does not exist yet.
            form: As QEMU calls it: `vmdk`, `vpc`, `raw`.
            needed: The most bytes that the target can take.
            alive: Called several times a second with the part that is done, from 0 to 1; what it
                raises ends the conversion.
            options: For the new file, as in `subformat=streamOptimized`.

        Raises:
            Refusal: QEMU cannot read the disk.
            NoSpace: The disk became full.
        """
        extra = ["-o", ",".join(options)] if options else []
        command = [*_guard(), self._path(), "convert", "-p", "-O", form, *extra]
        # A bare name with a colon would be taken for a protocol.
        command += [in_json(source.node), f"file:{target}"]
        with _started(command, needed, source.descriptors) as run:
            while not run.is_over:
                run.wait(_LOOK_S)
                alive(run.part_done)
            run.check("convert")

    def measure(self, source: QemuView, form: str, options: Sequence[str] = ()) -> int:
        """Return the most bytes that a disk can take in another form.

        Raises:
            Refusal: QEMU cannot tell.
        """
        extra = ["-o", ",".join(options)] if options else []
        command = [*_guard(), self._path(), "measure", "--output=json", "-O", form, *extra]
        with _started([*command, in_json(source.node)], 1 << 30, source.descriptors) as run:
            while not run.is_over:
                run.wait(_LOOK_S)
            run.check("measure")
            return int(json.loads(run.answer)["required"])

    def _path(self) -> str:
        path = shutil.which(self.program)
        if path is None:
            raise Refusal(
                f"cannot run {self.program}: it is not installed",
                remedy="install the package qemu-utils, then try again",
            )
        return path


def in_json(node: Mapping[str, object]) -> str:
    """Return QEMU's name for a disk that is described word by word, so that nothing is guessed."""
    return "json:" + json.dumps(node)


def _slices(capacity_bytes: int) -> list[tuple[int, int]]:
    """Return begin and size of the parts of a disk."""
    count = _SLICES_PER_CORE * len(os.sched_getaffinity(0))
    size = max(-(-capacity_bytes // count), _LEAST_SLICE_BYTES)
    size = -(-size // _LEAST_SLICE_BYTES) * _LEAST_SLICE_BYTES
    return [(at, min(size, capacity_bytes - at)) for at in range(0, capacity_bytes, size)]


def _slice(view: QemuView, at: int, size: int) -> str:
    return in_json({"driver": "raw", "offset": at, "size": size, "read-only": True, "file": dict(view.node)})


class _Run:
    """One process at work."""

    def __init__(self, process: "subprocess.Popen[bytes]", answers: BinaryIO, errors: BinaryIO) -> None:
        self._process, self._answers, self._errors = process, answers, errors

    @property
    def is_over(self) -> bool:
        """Whether it ended."""
        return self._process.poll() is not None

    @property
    def status(self) -> int:
        """How it ended, once it has."""
        return self._process.returncode

    @property
    def part_done(self) -> float:
        """The last of the percentages that qemu-img prints, as a part of one."""
        answers = self._answers.fileno()
        tail = os.pread(answers, 64, max(os.fstat(answers).st_size - 64, 0))
        told = _PERCENT.findall(tail)
        return min(float(told[-1]) / 100, 1.0) if told else 0.0

    @property
    def answer(self) -> bytes:
        """What it printed, within reason."""
        return os.pread(self._answers.fileno(), 1 << 20, 0)

    def wait(self, seconds: float) -> None:
        """Wait until it ends, or so long."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)

    def check(self, verb: str) -> None:
        """Raise what its failure means, if it failed."""
        if self.status != 0:
            said = os.pread(self._errors.fileno(), 4096, 0).decode("utf-8", "replace")
            raise _failure(verb, self.status, said)


@contextlib.contextmanager
def _started(command: Sequence[str], size: int, descriptors: Sequence[int]) -> Iterator[_Run]:
    """Run a command that goes through `size` bytes; it is over when the block is left."""
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
    with _in_memory("errors") as errors, _in_memory("answers") as answers:
        process = subprocess.Popen(
            command,
            cwd="/",
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=answers,
            stderr=errors,
            pass_fds=tuple(set(descriptors)),
        )
        try:
            # From outside: code between fork and exec is not safe in a program with threads.
            _limit(process.pid, size)
            yield _Run(process, answers, errors)
        finally:
            process.kill()
            process.wait()


def _in_memory(name: str) -> BinaryIO:
    # Not on disk: its being full is one of the errors to be told.
    return os.fdopen(os.memfd_create(name), "w+b")


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


def _failure(verb: str, status: int, errors: str) -> Exception:
    # What QEMU was told as JSON means nothing to a reader.
    said = re.sub(r"'?json:\{.*\}'?", "the disk", " ".join(errors.split()))
    said = said[:300] or f"it ended with status {status}"
    if "No space left" in said or "quota exceeded" in said:
        return NoSpace(f"cannot {verb} the disk: the file system became full")
    return Refusal(f"cannot {verb} the disk: qemu-img says: {said}", remedy="copy or export it again")

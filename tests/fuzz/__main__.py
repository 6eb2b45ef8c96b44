"""Fuzz the readers: `python -m tests.fuzz [TARGET…] [--seconds N]`, or feed a file that was found again.

With atheris, which `make fuzz` installs where it can, coverage guides the search and what was
learned is kept in `.cache/fuzz` for the next time.  Without it inputs are made by chance.
"""

import argparse
import importlib.util
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CACHE = Path(".cache/fuzz")

# Beyond these an input is a finding too.
_SLOWEST_S, _MEMORY_MIB = 10, 1024
_LONGEST_BYTES = 1 << 20


def say(text: str) -> None:
    """Tell the person."""
    sys.stdout.write(f"fuzz: {text}\n")
    sys.stdout.flush()


def main() -> int:
    """Fuzz one target after the other; the exit status is how many had findings."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("targets", nargs="*", help="which readers; all if none is named")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--input", type=Path, help="feed this file to the one target")
    parser.add_argument("--guided", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.guided:
        _guided(options.targets[0], options.seconds)
    from tests.fuzz.targets import TARGETS

    unknown = [name for name in options.targets if name not in TARGETS]
    if unknown or (options.input and len(options.targets) != 1):
        parser.error(f"targets are: {', '.join(TARGETS)}; --input wants exactly one")
    if options.input:
        with tempfile.TemporaryDirectory() as folder:
            TARGETS[options.targets[0]].run(options.input.read_bytes(), Path(folder))
        say("refused or read, as it should be")
        return 0
    has_atheris = importlib.util.find_spec("atheris") is not None
    if not has_atheris:
        say("atheris is not installed; inputs are made by chance, without looking at coverage")
    fuzz = _by_guidance if has_atheris else _by_chance
    return sum(not fuzz(name, options.seconds) for name in options.targets or TARGETS)


def _by_guidance(name: str, seconds: int) -> bool:
    """Fuzz a target in a process of its own, which never returns; tell whether all went well."""
    say(f"{name} for {seconds} s")
    command = [sys.executable, "-m", "tests.fuzz", name, "--seconds", str(seconds), "--guided"]
    status = subprocess.run(command, check=False).returncode
    if status:
        say(f"{name}: a finding; its input is {CACHE}/found-{name}-*, and is fed again by")
        say(f"    python -m tests.fuzz {name} --input FILE")
    return status == 0


def _guided(name: str, seconds: int) -> None:
    import atheris

    with atheris.instrument_imports(include=["metier.drivers.formats"]):
        from tests.fuzz.targets import TARGETS

    target = TARGETS[name]
    corpus = CACHE / f"corpus-{name}"
    corpus.mkdir(parents=True, exist_ok=True)
    words = CACHE / f"words-{name}"
    escaped = ("".join(f"\\x{byte:02x}" for byte in word) for word in target.words)
    words.write_text("".join(f'"{word}"\n' for word in escaped))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for number, seed in enumerate(target.seeds(folder)):
            (corpus / f"seed-{number}").write_bytes(seed)
        arguments = [
            f"-max_total_time={seconds}",
            f"-max_len={_LONGEST_BYTES}",
            f"-timeout={_SLOWEST_S}",
            f"-rss_limit_mb={_MEMORY_MIB}",
            f"-dict={words}",
            f"-artifact_prefix={CACHE}/found-{name}-",
            "-print_final_stats=1",
            "-verbosity=0",
        ]
        atheris.Setup([sys.argv[0], *arguments, str(corpus)], lambda data: target.run(data, folder))
        atheris.Fuzz()


def _by_chance(name: str, seconds: int) -> bool:
    from tests.fuzz.mutate import Mutator
    from tests.fuzz.targets import TARGETS

    target, count, end = TARGETS[name], 0, time.monotonic() + seconds
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        mutator = Mutator(target.seeds(folder), target.words, random.Random())
        while time.monotonic() < end:
            data = mutator.next()
            try:
                target.run(data, folder)
            except Exception:  # whatever it is, the input is kept
                found = CACHE / f"found-{name}-by-chance"
                found.write_bytes(data)
                say(f"{name}: a finding after {count} inputs, kept as {found}")
                return False
            count += 1
    say(f"{name}: {count} inputs in {seconds} s, no finding")
    return True


if __name__ == "__main__":
    sys.exit(main())

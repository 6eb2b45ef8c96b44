"""Tells random stories until one ends badly: `make sim`, or one again: `make sim SEED=42 STEPS=40`.

A bad story prints its seed, the commit, and the shortest story that ends the same way; exit status 1.
"""

import argparse
import hashlib
import logging
import os
import subprocess
import sys
from itertools import count
from pathlib import Path

import structlog

from tests.simulation.shrink import shortest
from tests.simulation.stories import Told, draw, tell

STEPS = 40
REGRESSIONS = Path(__file__).parent / "regressions"


def main() -> int:
    """Tell stories; returns the exit status."""
    parser = argparse.ArgumentParser(prog="make sim", description=__doc__)
    parser.add_argument("--seed", type=int, help="tell this story, and no other")
    parser.add_argument("--first", type=int, default=0, help="begin with this seed")
    parser.add_argument("--stories", type=int, help="tell so many; without it, go on until interrupted")
    parser.add_argument("--steps", type=int, default=STEPS, help="lines of a story")
    parser.add_argument("--story", help="tell the story of this name in tests/simulation/regressions")
    asked = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    if asked.story is not None:
        return _report(read_story(asked.story), asked.seed or 0, f"STORY={asked.story}")
    if asked.seed is not None:
        return _report(draw(asked.seed, asked.steps), asked.seed, f"SEED={asked.seed} STEPS={asked.steps}")
    seeds = count(asked.first) if asked.stories is None else range(asked.first, asked.first + asked.stories)
    for seed in seeds:
        if tell(draw(seed, asked.steps), seed).fault:
            return _report(draw(seed, asked.steps), seed, f"SEED={seed} STEPS={asked.steps}")
        if seed % 25 == 24:
            print(f"{seed + 1 - asked.first} stories, all well", flush=True)
    return 0


def read_story(name: str) -> list[str]:
    """Return the lines of a kept story, by its name or the path of its file."""
    kept = REGRESSIONS / f"{name.removesuffix('.txt')}.txt"
    text = (kept if kept.exists() else Path(name)).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and line[0] != "#"]


def _report(story: list[str], seed: int, label: str) -> int:
    told = tell(story, seed)
    if not told.fault:
        print(f"{label}: all well; trace {trace_hash(told)}")
        return 0
    print(f"{label} at commit {_commit()} ends badly; trace {trace_hash(told)}\n{told.fault}\n")
    short = shortest(story, lambda lines: kind_of(tell(lines, seed)) == kind_of(told))
    again = tell(short, seed)
    print(f"the shortest story that ends so ({len(short)} of {len(story)} lines):")
    print("\n".join(f"    {line}" for line in short))
    print("\nand how it went:")
    print("\n".join(f"    {line}" for line in again.trace))
    print(f"\n{again.fault}\ntell it again: make sim {label}")
    return 1


def kind_of(told: Told) -> str:
    """Return how a story ended: its law, or what crashed; empty if it ended well."""
    return told.fault.partition(":")[0]


def trace_hash(told: Told) -> str:
    """Return what two tellings of one story have in common, on every machine."""
    return hashlib.sha256("\n".join(told.trace).encode()).hexdigest()[:16]


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False, env=os.environ
    )
    return done.stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(main())

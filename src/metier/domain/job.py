"""Jobs: long work, recorded as intent, with its progress."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class JobState(StrEnum):
    """Where the work stands; the last three are final."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


FINAL = frozenset({JobState.DONE, JobState.FAILED, JobState.CANCELLED})


@dataclass(frozen=True, slots=True)
class Job:
    """One piece of long work.

    Attributes:
        kind: What is done, such as `image-import`.
        subject: What it is done to, such as `web@1`.
        arguments: Everything needed to begin it again.
        step: What it is doing, in words.
        done_bytes: Progress within the step; `total_bytes` is None when unknown.
        error: Why it failed, with `remedy`.
        attempts: How many runs of the controller have begun it.
        result: What it found or made, JSON-ready; empty until it is done, and for kinds that find nothing.
    """

    id: int
    kind: str
    subject: str
    created: datetime
    by: str = ""
    state: JobState = JobState.QUEUED
    arguments: Mapping[str, object] = field(default_factory=dict)
    step: str = ""
    done_bytes: int = 0
    total_bytes: int | None = None
    started: datetime | None = None
    finished: datetime | None = None
    error: str = ""
    remedy: str = ""
    cancel_requested: bool = False
    attempts: int = 0
    result: Mapping[str, object] = field(default_factory=dict)
    generation: int = 0

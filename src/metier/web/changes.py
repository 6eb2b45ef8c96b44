"""Waiting for the Fleet to change without holding a thread for every caller who waits."""

import asyncio
import contextlib

from metier.operations.registry import Controller

# How long the one thread waits before it looks whether anybody still does; also what a stop may take.
_LOOK_AGAIN_S = 0.5


class Changes:
    """Tells any number of callers that the Fleet has changed; one thread waits for them all."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._condition = asyncio.Condition()
        self._generation = -1
        self._waiting = 0
        self._pump: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def stopping(self) -> bool:
        """Whether the server is about to end, so that nobody should wait any longer."""
        return self._stopping

    async def stop(self) -> None:
        """Wake everybody for good."""
        self._stopping = True
        async with self._condition:
            self._condition.notify_all()

    async def wait(self, generation: int, timeout_s: float) -> bool:
        """Return once the Fleet's generation is above `generation`, or False at the end of the time."""
        self._waiting += 1
        try:
            if self._pump is None or self._pump.done():
                self._generation = max(self._generation, generation)
                self._pump = asyncio.create_task(self._watch())
            async with self._condition:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(timeout_s):
                        await self._condition.wait_for(
                            lambda: self._stopping or self._generation > generation
                        )
            return self._generation > generation
        finally:
            self._waiting -= 1

    async def _watch(self) -> None:
        while self._waiting and not self._stopping:
            seen = await asyncio.to_thread(self._controller.wait_for_change, self._generation, _LOOK_AGAIN_S)
            if seen > self._generation:
                self._generation = seen
                async with self._condition:
                    self._condition.notify_all()

"""The way to the control loop, on which what was seen and done may be late, twice, or out of order."""

import random

from metier.control.inbox import Inbox, Message, Order
from metier.sim.clock import Agenda


class Post:
    """How the post goes, for all controllers of a simulation.

    Attributes:
        late_s: Messages take up to so many seconds, each its own.
        is_doubling: Each message comes twice.
    """

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.late_s = 0.0
        self.is_doubling = False

    def delays_s(self) -> list[float]:
        """Return, for each copy of a message, how late it comes."""
        copies = 2 if self.is_doubling else 1
        return [self.chance.random() * self.late_s if self.late_s else 0.0 for _ in range(copies)]


class SimInbox(Inbox):
    """An inbox behind such a post; orders of operators come as they are sent."""

    def __init__(self, agenda: Agenda, post: Post) -> None:
        super().__init__()
        self._agenda, self._post = agenda, post

    def put(self, message: Message) -> bool:
        """Take a message in, now or later."""
        if isinstance(message, Order):
            return super().put(message)
        for delay_s in self._post.delays_s():
            if delay_s:
                self._agenda.after(delay_s, lambda: self._deliver(message))
            else:
                self._deliver(message)
        return True

    def _deliver(self, message: Message) -> None:
        super().put(message)

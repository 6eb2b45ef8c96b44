"""What Metier asks of a collector: is this service answering?"""

from typing import Protocol, runtime_checkable

from metier.domain.image import CollectorSpec
from metier.domain.observation import CheckResult


@runtime_checkable
class Collector(Protocol):
    """One kind of health check; objects hold no state."""

    def check(self, spec: CollectorSpec, address: str) -> CheckResult:
        """Check the node at `address` (no prefix length) within `spec.timeout_s`.

        Never raises for what the node does: every failure is a result with `ok=False`
        and a message that says what was tried and what came back.
        """

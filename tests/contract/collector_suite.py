"""What every collector promises, shown on whatever testbed a test class brings."""

from dataclasses import replace
from typing import Protocol

import pytest

from metier.domain.image import CollectorSpec
from metier.drivers.collectors.api import Collector

# Set aside for documentation (RFC 5737, the third block): nothing answers there.
NOWHERE = "203.0.113.1"


class ServiceTestbed(Protocol):
    """A node that serves what the collector checks."""

    @property
    def collector(self) -> Collector:
        """The collector under test."""
        ...

    @property
    def good(self) -> tuple[CollectorSpec, str]:
        """A check that must succeed, and the node's address."""
        ...

    @property
    def bad(self) -> tuple[CollectorSpec, str]:
        """A check that must fail at once, and the node's address."""
        ...


class CollectorSuite:
    """The contract of `metier.drivers.collectors.api`."""

    def test_it_keeps_the_protocol(self, testbed: ServiceTestbed) -> None:
        assert isinstance(testbed.collector, Collector)

    def test_a_service_that_answers_is_well(self, testbed: ServiceTestbed) -> None:
        spec, address = testbed.good
        result = testbed.collector.check(spec, address)
        assert (result.ok, result.message, result.collector) == (True, "", str(spec))

    def test_a_service_that_does_not_is_a_result_with_words(self, testbed: ServiceTestbed) -> None:
        spec, address = testbed.bad
        result = testbed.collector.check(spec, address)
        assert not result.ok
        assert address in result.message
        assert result.collector == str(spec)

    @pytest.mark.parametrize("address", ["no-such-node.invalid", "", "300.1.1.1", "::g", "a\0b", "x" * 300])
    def test_an_address_that_is_none_is_a_result(self, testbed: ServiceTestbed, address: str) -> None:
        spec, _ = testbed.good
        assert not testbed.collector.check(replace(spec, timeout_s=1.0), address).ok

    def test_it_gives_up_at_its_deadline(self, testbed: ServiceTestbed) -> None:
        spec, _ = testbed.good
        result = testbed.collector.check(replace(spec, timeout_s=0.1), NOWHERE)
        assert not result.ok
        assert NOWHERE in result.message

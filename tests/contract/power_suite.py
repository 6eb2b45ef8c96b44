"""What every power controller promises, shown on whatever testbed a test class brings."""

from typing import Protocol

import pytest

from metier.domain.errors import OutcomeUnknown, Refused, Unavailable
from metier.domain.observation import Power
from metier.drivers.power.api import PowerController

TIMEOUT_S = 20.0


class PowerTestbed(Protocol):
    """One node and its power controller, and what happens to them behind the driver's back."""

    def open(self) -> PowerController:
        """Open one more driver for the node's controller."""
        ...

    def turn(self, *, on: bool) -> None:
        """Switch the node by hand."""
        ...

    def is_on(self) -> bool:
        """Whether the node really has power."""
        ...

    def silence(self) -> None:
        """Let the controller answer neither on nor off from now on."""
        ...

    def cut_off(self) -> None:
        """Put the controller out of reach."""
        ...


class PowerSuite:
    """The contract of `metier.drivers.power.api`."""

    @pytest.fixture
    def driver(self, testbed: PowerTestbed) -> PowerController:
        return testbed.open()

    def test_it_keeps_the_protocol(self, driver: PowerController) -> None:
        assert isinstance(driver, PowerController)

    def test_it_switches_the_node_on_and_off(self, testbed: PowerTestbed, driver: PowerController) -> None:
        assert driver.status(timeout_s=TIMEOUT_S) is Power.OFF
        driver.on(timeout_s=TIMEOUT_S)
        assert testbed.is_on()
        assert driver.status(timeout_s=TIMEOUT_S) is Power.ON
        driver.off(timeout_s=TIMEOUT_S)
        assert not testbed.is_on()
        assert driver.status(timeout_s=TIMEOUT_S) is Power.OFF

    def test_what_is_done_already_is_fine(self, testbed: PowerTestbed, driver: PowerController) -> None:
        for _ in range(2):
            driver.on(timeout_s=TIMEOUT_S)
        assert testbed.is_on()
        for _ in range(2):
            driver.off(timeout_s=TIMEOUT_S)
        assert not testbed.is_on()

    def test_status_is_what_is_and_not_what_was_asked_for(
        self, testbed: PowerTestbed, driver: PowerController
    ) -> None:
        driver.off(timeout_s=TIMEOUT_S)
        testbed.turn(on=True)
        assert driver.status(timeout_s=TIMEOUT_S) is Power.ON
        assert testbed.open().status(timeout_s=TIMEOUT_S) is Power.ON

    def test_neither_on_nor_off_is_unknown(self, testbed: PowerTestbed, driver: PowerController) -> None:
        testbed.silence()
        assert driver.status(timeout_s=TIMEOUT_S) is Power.UNKNOWN

    def test_a_controller_out_of_reach_is_unavailable_and_never_off(
        self, testbed: PowerTestbed, driver: PowerController
    ) -> None:
        testbed.cut_off()
        with pytest.raises(Unavailable):
            driver.status(timeout_s=TIMEOUT_S)

    def test_a_controller_out_of_reach_does_not_claim_to_have_switched(
        self, testbed: PowerTestbed, driver: PowerController
    ) -> None:
        testbed.cut_off()
        with pytest.raises((Refused, Unavailable, OutcomeUnknown)):
            driver.on(timeout_s=TIMEOUT_S)
        assert not testbed.is_on()

"""A driver's settings: what is taken, what is refused, what a form is told."""

from dataclasses import dataclass

import pytest

from metier.domain.errors import WrongUsage
from metier.drivers.settings import (
    SettingDoc,
    describe_settings,
    one_of,
    parse_settings,
    seconds,
    secret_settings,
    setting,
)


@dataclass(frozen=True, slots=True)
class Settings:
    url: str = setting("Where it answers.", example="http://bmc-1")
    mode: str = setting("How.", parse=one_of("fast", "safe"), default="safe")
    timeout_s: float = setting("Deadline in seconds, 1 to 60.", parse=seconds(1, 60), default="30")


def test_what_is_given_is_parsed_and_the_rest_has_defaults() -> None:
    parsed = parse_settings(Settings, "toy", {"url": "http://x", "timeout_s": "2.5"})
    assert parsed == Settings(url="http://x", mode="safe", timeout_s=2.5)


@pytest.mark.parametrize(
    ("given", "said", "remedy"),
    [
        ({}, "driver toy lacks setting url", "url: Where it answers, for example http://bmc-1"),
        ({"url": ""}, "driver toy lacks setting url", "url: "),
        ({"url": "x", "colour": "red"}, "driver toy has no setting 'colour'", "it has: url, mode, timeout_s"),
        ({"url": "x", "mode": "odd"}, "cannot take mode='odd': must be one of fast, safe", "mode: How"),
        ({"url": "x", "timeout_s": "61"}, "timeout_s='61': must be 1 to 60 seconds", "timeout_s: "),
        ({"url": "x", "timeout_s": "soon"}, "timeout_s='soon': must be a number of seconds", "timeout_s: "),
    ],
)
def test_wrong_settings_are_wrong_usage_with_a_remedy(given: dict[str, str], said: str, remedy: str) -> None:
    with pytest.raises(WrongUsage) as caught:
        parse_settings(Settings, "toy", given)
    assert said in caught.value.message
    assert remedy in caught.value.remedy


def test_a_long_value_is_not_repeated_in_full() -> None:
    with pytest.raises(WrongUsage) as caught:
        parse_settings(Settings, "toy", {"url": "x", "mode": "m" * 10_000})
    assert len(caught.value.message) < 300


def test_a_form_is_told_names_defaults_and_examples() -> None:
    assert describe_settings(Settings) == (
        SettingDoc("url", "Where it answers.", None, "http://bmc-1"),
        SettingDoc("mode", "How.", "safe", ""),
        SettingDoc("timeout_s", "Deadline in seconds, 1 to 60.", "30", ""),
    )


def _short(text: str) -> str:
    if len(text) > 8:
        raise ValueError("must be short")
    return text


@dataclass(frozen=True, slots=True)
class Account:
    user: str = setting("Who.", default="root")
    password: str = setting("Its password.", secret=True)
    pin: str = setting("Its number.", parse=_short, default="", secret=True)


def test_a_secret_is_declared_and_no_message_or_dump_shows_it() -> None:
    assert secret_settings(Account) == {"password", "pin"}
    assert [doc.is_secret for doc in describe_settings(Account)] == [False, True, True]
    assert "sesame" not in repr(parse_settings(Account, "toy", {"password": "sesame"}))
    assert parse_settings(Account, "toy", {"password": "sesame"}).password == "sesame"
    with pytest.raises(WrongUsage) as caught:
        parse_settings(Account, "toy", {"password": "x", "pin": "sesame-sesame"})
    assert caught.value.message == "driver toy cannot take pin=…: must be short"
    assert "sesame" not in caught.value.remedy


def test_every_default_is_good() -> None:
    """A default that its own parser refused would only be found by an operator."""
    from metier.drivers.hypervisor.libvirt import Libvirt
    from metier.drivers.power.command import CommandPower

    for driver in (Libvirt, CommandPower):
        docs = describe_settings(driver.SETTINGS)
        required = {doc.name: doc.example or "true" for doc in docs if doc.default is None}
        driver.check_settings(required)
        driver.check_settings(required | {doc.name: doc.default for doc in docs if doc.default is not None})

"""What holds for every operation."""

import json
import shlex
from dataclasses import fields, is_dataclass
from typing import Any, get_args

import pytest

from metier.operations import MODULES
from metier.operations.registry import Form, Operation, operation
from tests.builders import (
    a_fleet,
    a_host,
    a_host_image,
    a_host_tier,
    a_job,
    a_procedure,
    a_tier,
    a_virtual_node,
    an_alert,
    an_image,
)
from tests.unit.operations.asking import OWN, FakeServices, a_view

EVERY = pytest.mark.parametrize("found", OWN.values(), ids=lambda found: found.key)


@EVERY
def test_it_has_help_and_an_example_of_itself(found: Operation) -> None:
    first = found.help.strip().splitlines()[0]
    assert first.endswith((".", ":")) or len(found.help.splitlines()) > 1
    assert found.examples
    for example in found.examples:
        words = shlex.split(example)
        assert words[: 1 + len(found.key.split())] == ["metier", *found.key.split()]


@EVERY
def test_its_examples_use_options_that_exist(found: Operation) -> None:
    known = {"--" + argument.name.replace("_", "-") for argument in found.arguments}
    shared = {"--wait", "--accept-warnings", "--plan", "--follow", "--watch"}
    for example in found.examples:
        used = {word for word in shlex.split(example) if word.startswith("--")}
        assert used <= known | shared, used - known - shared


@EVERY
def test_its_arguments_are_a_frozen_dataclass_of_types_that_can_be_written_down(found: Operation) -> None:
    assert is_dataclass(found.arguments_type)
    for argument in found.arguments:
        assert argument.help
        assert not argument.help.endswith(".")
        kinds = get_args(argument.type) or (argument.type,)
        plain = {str, int, bool, type(None), Ellipsis, Any}
        assert all(getattr(kind, "__supertype__", kind) in plain for kind in kinds), argument
    if found.form in (Form.SHOW, Form.EDIT, Form.DELETE) and found.noun:
        assert found.arguments[0].positional or any(argument.positional for argument in found.arguments)


@EVERY
def test_a_read_answers_json_with_its_columns(found: Operation) -> None:
    if found.read is None:
        return
    fleet = a_fleet(
        a_host(),
        a_host_tier(),
        a_host_image(),
        a_virtual_node(tier="web"),
        a_tier(),
        an_image(),
        an_alert(),
        a_job(),
        a_procedure(),
    )
    names = {
        "node": "host-1/VM1",
        "driver": "libvirt",
        "tier": "web",
        "image": "web@1",
        "pool": "free",
        "alert": 1,
        "job": 1,
        "procedure": 1,
    }
    given = {
        argument.name: names[found.noun]
        for argument in found.arguments
        if argument.positional and argument.required
    }
    if found.key == "node certificate":
        given = {"url": "https://esx-1/sdk"}
    columns = ("id", "at", "kind", "subject", "message", "by")
    view = a_view(fleet, services=FakeServices([dict.fromkeys(columns, "web") | {"id": 1}]))
    answer = found.read(view, found.arguments_type(**given))
    rows = answer if found.form is Form.LIST else [answer]
    assert isinstance(rows, list)
    assert rows
    json.dumps(rows, allow_nan=False)
    assert set(found.columns) <= set(rows[0])


def test_the_contract_s_verbs_are_there() -> None:
    verbs = {
        "node": "list show add remove engage disengage power-on power-off power-cycle shutdown move reserve "
        "release inventory explain console edit attest-off certificate",
        "driver": "list show",
        "pool": "list show set",
        "tier": "list show create edit delete allocate deallocate activate deactivate update personalize "
        "personality explain pause resume rollback",
        "image": "list show import inspect create capture export update diff edit activate deactivate delete "
        "verify",
        "procedure": "list show",
        "alert": "list show ack",
        "event": "list",
        "job": "list show cancel",
        "": "status plan apply export-site matrix",
    }
    for noun, words in verbs.items():
        for verb in words.split():
            assert operation(noun, verb).key == f"{noun} {verb}".strip()
    assert len(OWN) == sum(len(words.split()) for words in verbs.values())


def test_every_operation_is_reached_by_the_first_word_of_its_command() -> None:
    for found in OWN.values():
        function = found.read or found.change
        assert function is not None
        module = function.__module__.rpartition(".")[2]
        assert module in MODULES[found.noun or found.verb], found.key


def test_no_two_arguments_of_an_operation_share_a_name() -> None:
    for found in OWN.values():
        names = [part.name for part in fields(found.arguments_type)]
        assert len(names) == len(set(names))

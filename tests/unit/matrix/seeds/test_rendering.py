"""Templates of operators: what they may use, and that they can do nothing else."""

import pytest

from metier.domain.errors import MetierError, Refusal, WrongUsage
from metier.domain.personality import VALUES, Personality, SeedForm, Variable
from metier.matrix.seeds import rendering
from metier.matrix.seeds.making import make_seed, texts_of
from metier.matrix.seeds.rendering import rendered, rendered_all
from tests.unit.matrix.seeds.reading import carried


def text(template: str, **fields: object) -> str:
    return rendered_all([carried(Personality(user_data=template), **fields)])[0]["user-data"]


def test_every_value_of_a_slot_can_be_used() -> None:
    own = Personality(
        user_data="\n".join(f"{{{{ {name} }}}}" for name in (*sorted(VALUES), "role")),
        variables=(Variable("role", "db"),),
        name_servers=("10.0.0.2",),
    )
    found = dict(zip((*sorted(VALUES), "role"), rendered(carried(own))["user-data"].split("\n"), strict=True))
    assert found == {
        "address": "10.0.0.5",
        "attributes": "['rack=a', 'ssd']",
        "computer_name": "web-1",
        "first_logon_commands": "[]",
        "gateway": "10.0.0.1",
        "host": "host-1",
        "hostname": "web-1",
        "image": "web",
        "instance": "web-1-7",
        "mac": "52:54:00:AA:00:01",
        "name_servers": "['10.0.0.2']",
        "netmask": "255.255.255.0",
        "node": "host-1/VM2",
        "prefix": "24",
        "role": "db",
        "slot": "1",
        "tier": "web",
        "version": "3",
        "vm": "2",
    }


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("a: 1\nb:  {{ hostnam }}", "line 2, column 8: 'hostnam' is undefined; there are: address, "),
        ("{% if false %}\n{{ nobody }}\n{% endif %}", "line 2, column 4: 'nobody' is undefined"),
        ("{{ hostname.nothing }}", "line 1, column 13: 'str object' has no attribute 'nothing'"),
        ("x\n{% for %}", "line 2, column 1: expected"),
        ("{{ 1 / 0 }}", "line 1, column 1: division by zero"),
        ("{% include '/etc/passwd' %}", "line 1, column 1: include is not allowed"),
        ("{% import 'x' as y %}", "import is not allowed"),
        ("{% from 'x' import y %}", "fromimport is not allowed"),
        ("{% extends 'x' %}", "extends is not allowed"),
        ("{{ ''.__class__.__mro__ }}", "access to attribute '__class__' .* is unsafe"),
        ("{{ hostname.__init__.__globals__ }}", "unsafe"),
        ("{{ attributes.append(1) }}", "unsafe|not safely callable"),
        ("{{ [1,2] | random }}", "no filter named 'random'"),
        ("{{ lipsum() }}", "'lipsum' is undefined"),
        ("#cloud-config\na: [\n", "no YAML.*|line 3, column 1"),
        ("#cloud-config\n- a\n", "no mapping"),
        ("#cloud-config\na: !!python/object:os.system {}\n", "no YAML: could not determine a constructor"),
        ("{% for x in range(1000000) %}x{% endfor %}", "range too big"),
        ("{{ 'x' * 2000000 }}", "becomes more than 1048576 characters"),
    ],
)
def test_what_cannot_be_rendered_is_named_with_its_place(template: str, message: str) -> None:
    with pytest.raises(WrongUsage, match=message):
        text(template)


def test_what_is_asked_about_before_it_is_used_may_be_missing() -> None:
    assert text("{% if role is defined %}{{ role }}{% endif %}{{ place | default('x') }}") == "x"


@pytest.mark.parametrize(
    "template",
    [
        (
            "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{% endfor %}"
            "{% endfor %}{% endfor %}"
        ),
        "{% set x = 'x' * 999999999 %}{% set y = x ~ x %}{{ (y ~ y) | length }}",
        "{{ 9 ** (9 ** 9) }}",
    ],
    ids=["time", "memory", "power"],
)
def test_what_takes_too_much_is_ended(template: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "TIMEOUT_S", 1.0)
    with pytest.raises(MetierError, match="cannot render") as caught:
        text(template)
    assert isinstance(caught.value, Refusal) or "memory" in str(caught.value)


def test_line_ends_are_unix_ones_with_and_without_a_process() -> None:
    assert rendered(carried(Personality(user_data="a\r\nb\rc\n"))) == {"user-data": "a\nb\nc\n"}
    assert text("a\r\nb{{ slot }}\rc\n") == "a\nb1\nc\n"


def test_slots_are_rendered_together_each_with_its_own() -> None:
    tier = Personality(user_data="{{ hostname }} {{ role }}", variables=(Variable("role", "a"),))
    own = tier.joined_with(Personality(user_data="mine"))
    every = [carried(tier, hostname=f"web-{number}") for number in range(3)] + [carried(own)]
    assert [found["user-data"] for found in rendered_all(every)] == ["web-0 a", "web-1 a", "web-2 a", "mine"]


def test_a_fault_names_the_slot_that_it_came_with() -> None:
    template = Personality(user_data="{{ 10 // (slot - 2) }}")
    with pytest.raises(WrongUsage, match="user-data of tier web for slot 2, line 1, column 1: integer"):
        rendered_all([carried(template, slot=number) for number in (1, 2, 3)])


def test_what_is_shown_and_what_is_made_have_the_same_digest() -> None:
    from metier.domain.difference import digest_of

    for form in SeedForm:
        told = carried(Personality(user_data="{{ hostname }}", scripts=("x",)), form)
        assert digest_of(texts_of([told])[0]) == make_seed(told).digest


def test_a_slot_without_a_node_is_shown_with_examples() -> None:
    empty = carried(Personality(user_data="{{ node }} {{ mac }}"), instance="", node="", mac="", host="")
    assert texts_of([empty])[0]["user-data"] == "host-1/VM1 52:54:00:00:00:01"

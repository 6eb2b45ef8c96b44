"""The examples in the API's description are rows that the operations really give."""

from typing import Any

import pytest

from metier.operations import load_operations
from metier.operations.plan_row import forecast_row
from metier.operations.registry import OPERATIONS
from metier.web.examples import PLAN, ROWS, schema_of
from tests.builders import a_job, a_procedure, an_alert
from tests.unit.web.fake_controller import PLAN as A_PLAN
from tests.unit.web.serving import a_site

load_operations()


@pytest.mark.parametrize("noun", sorted(set(ROWS) - {"event"}))
def test_an_example_has_no_field_that_a_row_has_not(noun: str) -> None:
    controller = a_site()
    controller.edit(lambda draft: draft.put_alert(an_alert()))
    controller.edit(lambda draft: draft.put_job(a_job()))
    controller.edit(lambda draft: draft.put_procedure(a_procedure()))
    operation = OPERATIONS[noun, "list"]
    assert operation.read is not None
    rows = operation.read(controller.view(), operation.arguments_type())
    assert set(ROWS[noun]) <= set(rows[0])
    schema = schema_of(ROWS[noun])["properties"]
    for row in rows:
        for key in ROWS[noun]:
            assert fits(row[key], schema[key]), key


def fits(value: Any, schema: dict[str, Any]) -> bool:
    """Tell whether a JSON value has a type that the schema allows."""
    names = {
        bool: "boolean",
        int: "integer",
        float: "number",
        str: "string",
        list: "array",
        dict: "object",
        type(None): "null",
    }
    return "type" not in schema or names[type(value)] in schema["type"]


def test_a_plan_has_the_fields_of_its_example() -> None:
    row = forecast_row(A_PLAN)
    assert set(row) == set(PLAN)
    for part, rows in PLAN.items():
        if isinstance(rows, list) and isinstance(rows[0], dict):
            assert set(row[part][0]) == set(rows[0])
            schema = schema_of(rows[0])["properties"]
            assert all(fits(value, schema[key]) for key, value in row[part][0].items()), part

"""The site as a document: how much of the journal goes with it, and how it is laid out."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.domain.errors import WrongUsage
from metier.operations.export import ExportSite, document_lines, export_site
from tests.builders import a_fleet, a_host
from tests.unit.operations.asking import a_view

VALUES = st.recursive(
    st.one_of(st.none(), st.integers(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)


def test_the_site_is_the_round_that_readers_see() -> None:
    view = a_view(a_fleet(a_host()))
    assert export_site(view, ExportSite(journal=3)) == {"exported": "12:00", "records": 1, "journal": 3}
    assert export_site(view, ExportSite())["journal"] == 1000


@pytest.mark.parametrize("number", [-1, 10_001])
def test_a_journal_out_of_bounds_is_refused(number: int) -> None:
    with pytest.raises(WrongUsage, match=f"--journal cannot be {number}"):
        export_site(a_view(a_fleet()), ExportSite(journal=number))


@given(st.dictionaries(st.text(max_size=3), VALUES, max_size=4))
def test_lines_are_the_same_document(document: dict[str, Any]) -> None:
    text = "\n".join(document_lines(document))
    assert json.loads(text) == document
    assert text.isascii()

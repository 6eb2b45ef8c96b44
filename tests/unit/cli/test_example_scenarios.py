"""The scenarios that operators start from, in docs/scenarios: each goes as the file beside it says."""

import os
from pathlib import Path

import pytest

from metier.cli.main import run
from metier.cli.root import Root, registered
from metier.cli.simulate import EXPECTED
from tests.unit.sim.small_site import SITE, a_running_site

FOLDER = SITE.parent
BLESS = bool(os.environ.get("METIER_BLESS"))


@pytest.fixture(scope="module", autouse=True)
def site() -> None:
    """Export the examples' site anew when all is written anew."""
    if BLESS:
        SITE.write_text(a_running_site().text, encoding="utf-8")


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.txt")), ids=lambda path: path.stem)
def test_an_example_goes_as_expected(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = run(Root(registered), "metier", ["simulate", str(path), "--bless" if BLESS else "--check"])
    out, err = capsys.readouterr()
    assert status == 0, f"{out}{err}\nif that is as it should be: make bless"


def test_every_expected_output_has_its_scenario() -> None:
    assert {path.name.removesuffix(EXPECTED) for path in FOLDER.glob(f"*{EXPECTED}")} == {
        path.name for path in FOLDER.glob("*.txt")
    }

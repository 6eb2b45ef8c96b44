"""The manual's sentences as stories, each a text file in this folder; `make bless` writes their outcome."""

import os
from pathlib import Path

import pytest

from tests.scenarios.run import play, stories

BLESS = bool(os.environ.get("METIER_BLESS"))


@pytest.mark.parametrize("story", stories(), ids=lambda path: path.stem)
def test_story(story: Path) -> None:
    told = play(story.read_text(encoding="utf-8"))
    if BLESS:
        story.write_text(told, encoding="utf-8")
    assert told.splitlines() == story.read_text(encoding="utf-8").splitlines()

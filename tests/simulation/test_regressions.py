"""What the simulation once found stays mended: the shortest stories, told again (docs/track-record.md)."""

from pathlib import Path

import pytest

from tests.simulation.__main__ import REGRESSIONS, read_story
from tests.simulation.stories import tell

STORIES = sorted(REGRESSIONS.glob("*.txt"), key=lambda path: path.stem)


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_it_ends_well(path: Path) -> None:
    told = tell(read_story(path.stem))
    assert not told.fault, f"make sim STORY={path.stem} says: {told.fault}"


def test_the_track_record_names_every_story() -> None:
    page = Path(__file__).parents[2] / "docs/track-record.md"
    text = page.read_text(encoding="utf-8")
    assert [path.stem for path in STORIES if path.stem not in text] == []

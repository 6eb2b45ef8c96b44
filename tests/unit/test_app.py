"""What only the outside can judge is refused before anything is recorded."""

from dataclasses import replace

import pytest

from metier.app import validate
from metier.domain.errors import Refusal, WrongUsage
from metier.domain.fleet import Draft
from metier.domain.image import CollectorSpec
from tests.builders import a_fleet, a_job, a_tier, an_image

TYPO = (CollectorSpec("htpp", 80),)
FLEET = a_fleet(an_image(), a_tier())


@pytest.mark.parametrize("kind", ["tier", "image", "job"])
def test_a_collector_that_is_not_installed_is_refused_by_name(kind: str) -> None:
    draft = Draft(FLEET)
    if kind == "tier":
        draft.put_tier(replace(a_tier(), collectors=TYPO))
    elif kind == "image":
        draft.put_image(replace(an_image(), collectors=TYPO))
    else:
        draft.put_job(replace(a_job(), arguments={"collectors": [{"collector": "htpp"}]}))
    with pytest.raises(WrongUsage, match="no collector driver htpp; installed: http, ping, tcp"):
        validate(FLEET, draft.changes)


def test_what_is_installed_passes_and_what_is_removed_is_no_matter() -> None:
    draft = Draft(FLEET)
    draft.put_image(replace(an_image(), collectors=(CollectorSpec("http", 80), CollectorSpec("ping"))))
    draft.remove_tier(a_tier().name)
    validate(FLEET, draft.changes)


def test_an_archive_that_is_not_there_is_refused() -> None:
    draft = Draft(FLEET)
    draft.put_job(replace(a_job(), arguments={"location": "/nowhere/at/all.tgz"}))
    with pytest.raises(Refusal, match="there is no such file"):
        validate(FLEET, draft.changes)

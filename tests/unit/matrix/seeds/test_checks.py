"""What of a change can never be rendered is refused before anything is stored."""

from dataclasses import replace
from typing import Any

import pytest

from metier.domain.errors import WrongUsage
from metier.domain.fleet import Fleet
from metier.domain.ids import TierId
from metier.domain.image import ImageType
from metier.domain.personality import PersonalFile, Personality, SeedForm, Variable
from metier.domain.tier import SlotSettings, Tier
from metier.matrix.seeds import making
from metier.matrix.seeds.making import check_personalities
from tests.builders import a_fleet, a_tier, an_image

ROLE = Personality(user_data="{{ role }}")


def checked(before: Fleet, **changes: Any) -> Tier:
    draft = before.edit()
    draft.put_tier(replace(draft.tiers[TierId("web")], **changes))
    check_personalities(before, draft.changes)
    return draft.tiers[TierId("web")]


def a_site(**tier: Any) -> Fleet:
    return a_fleet(an_image(), a_tier(**{"target": 2, **tier}))


def test_every_slot_is_rendered_with_its_own_values() -> None:
    role = Personality(variables=(Variable("role", "db"),))
    both = tuple(SlotSettings(number, personality=role) for number in (1, 2))
    checked(a_site(), personality=ROLE, slots=both)
    with pytest.raises(WrongUsage, match="user-data of tier web for slot 2, line 1, column 4: 'role'"):
        checked(a_site(), personality=ROLE, slots=both[:1])


def test_what_could_make_it_fail_is_looked_at_again() -> None:
    role = SlotSettings(1, personality=Personality(variables=(Variable("role", "db"),)))
    fleet = a_site(target=1, personality=ROLE, slots=(role,))
    checked(fleet, priority=9)
    with pytest.raises(WrongUsage, match="for slot 2"):
        checked(fleet, maximum=2)


def test_what_was_not_touched_is_not_rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "texts_of", None)
    checked(a_site(personality=ROLE), priority=9)
    checked(a_site(), slots=(SlotSettings(1, "www"),))


def test_of_a_large_tier_the_first_slots_are_rendered_and_those_with_settings() -> None:
    own = SlotSettings(90_000, personality=Personality(user_data="{{ nobody }}"))
    with pytest.raises(WrongUsage, match="for slot 90000"):
        checked(a_site(), maximum=100_000, personality=Personality(user_data="{{ slot }}"), slots=(own,))


@pytest.mark.parametrize(
    ("path", "form", "is_good"),
    [
        ("/etc/motd", SeedForm.NOCLOUD, True),
        ("/a b/ä", SeedForm.CONFIGDRIVE, True),
        ("etc/motd", SeedForm.NOCLOUD, False),
        ("/etc/../x", SeedForm.NOCLOUD, False),
        ("/etc//x", SeedForm.NOCLOUD, False),
        ("/etc/", SeedForm.NOCLOUD, False),
        ("/e\nx", SeedForm.NOCLOUD, False),
        ("C:\\app\\x.ini", SeedForm.NOCLOUD, False),
        ("C:\\app\\x.ini", SeedForm.UNATTEND, True),
        ("c:\\x", SeedForm.UNATTEND, True),
        ("/etc/motd", SeedForm.UNATTEND, False),
        ('C:\\a" & del c:\\x', SeedForm.UNATTEND, False),
        ("C:\\%windir%\\x", SeedForm.UNATTEND, False),
        ("C:\\..\\x", SeedForm.UNATTEND, False),
        ("C:x", SeedForm.UNATTEND, False),
    ],
)
def test_a_path_is_one_of_the_guest_s(path: str, form: SeedForm, is_good: bool) -> None:
    personality = Personality(form=form, files=(PersonalFile(path, "x"),))
    if is_good:
        checked(a_site(), personality=personality)
    else:
        with pytest.raises(WrongUsage, match="is no path in a guest"):
            checked(a_site(), personality=personality)


def test_windows_images_make_windows_paths() -> None:
    fleet = a_fleet(an_image(type=ImageType.WINDOWS), a_tier(target=1))
    checked(fleet, personality=Personality(files=(PersonalFile("C:\\x", "x"),)))

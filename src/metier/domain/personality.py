"""What a slot's guest is told at its start, over and above its name and address."""

from dataclasses import dataclass
from enum import StrEnum


class SeedForm(StrEnum):
    """How a personality reaches the guest: each is a small CD-ROM that something in the guest reads."""

    NOCLOUD = "nocloud"
    CONFIGDRIVE = "configdrive"
    UNATTEND = "unattend"


@dataclass(frozen=True, slots=True)
class PersonalFile:
    """A file to be written into the guest.

    Attributes:
        path: Absolute, in the guest.
        content: A template.
        mode: Permissions, as in `0644`.
    """

    path: str
    content: str
    mode: str = "0644"


@dataclass(frozen=True, slots=True)
class Personality:
    """What an operator wrote for all slots of a tier; texts are templates of the slot's values.

    Attributes:
        form: None takes what fits the image's type.
        user_data: For cloud-init or cloudbase-init; empty for none.
        unattend: Windows' answer file; empty for the default one.
        scripts: Run once, in order, at the first start of an instance.
    """

    form: SeedForm | None = None
    user_data: str = ""
    unattend: str = ""
    files: tuple[PersonalFile, ...] = ()
    scripts: tuple[str, ...] = ()

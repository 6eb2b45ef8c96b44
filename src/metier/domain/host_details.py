"""What a host tells about itself beyond its hardware: for people, and for rules about its image."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StoreRoom:
    """One place on a host where disks can be kept: a datastore, a pool, a folder.

    Attributes:
        is_shared: Other hosts reach it too.
        is_used: Metier keeps its disks there.
        state: Why it cannot be used now, in words: `in maintenance mode`; empty where it can.
    """

    name: str
    capacity_gib: int
    free_gib: int
    is_shared: bool = False
    is_used: bool = False
    state: str = ""


@dataclass(frozen=True, slots=True)
class HostDetails:
    """Facts about a VM manager, as it tells them; empty where it does not.

    Attributes:
        product: Name and version: `VMware ESXi 6.5.0 build-5969303`.
        patch_level: What changes with every patch and with nothing else: a build number.
        licence: Its edition, and when it ends, in words.
        stores: Where disks can be kept.
        networks: What an interface can be put on: port groups, bridges, by the host's own names.
        lacks: What the account may not do and Metier needs, one sentence each, with what it is for.
    """

    product: str = ""
    patch_level: str = ""
    licence: str = ""
    stores: tuple[StoreRoom, ...] = ()
    networks: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()

    @property
    def lacks_in_words(self) -> str:
        """What the account lacks, in a sentence's words; empty if that is nothing."""
        return f"its account lacks: {'; '.join(self.lacks)}" if self.lacks else ""


NO_DETAILS = HostDetails()

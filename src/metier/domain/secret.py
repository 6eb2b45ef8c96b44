"""Secrets at rest: everything but the driver that needs one sees it sealed."""

from typing import Protocol

_SEALED = "sealed:"


class Vault(Protocol):
    """Seals secrets before they are recorded, and opens them for the driver that needs them."""

    def seal(self, text: str) -> str:
        """Return `text` in a form that only this vault opens; what is sealed already stays as it is."""

    def open(self, sealed: str) -> str:
        """Return what was sealed; a text that is not sealed is returned as it is.

        Raises:
            Refusal: Another vault sealed it, or its key is gone; the remedy says to give it again.
        """


def is_sealed(text: str) -> bool:
    """Say whether a text is a sealed secret."""
    return text.startswith(_SEALED)


def as_sealed(token: str) -> str:
    """Return how a sealed secret is written, given the vault's token for it."""
    return _SEALED + token


def token_of(sealed: str) -> str:
    """Return the vault's token of a sealed secret."""
    return sealed.removeprefix(_SEALED)

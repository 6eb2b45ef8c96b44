"""Who is asking: known from the socket or by a token."""

import hashlib
import hmac
import json
import os
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from starlette.requests import Request

from metier.domain.errors import NoSuchThing, Refusal
from metier.domain.ids import plain_name

Authenticate = Callable[[Request], str | None]
"""Return the name that a request proves, or None."""

_PREFIX = "metier_"
_TOKEN_BYTES = 32


@dataclass(frozen=True, slots=True)
class Identity:
    """Whoever asks.

    Attributes:
        local: Came over the unix socket; such a caller is admin and may name files on this machine.
    """

    name: str
    local: bool


def identify(request: Request, authenticate: Authenticate) -> Identity | None:
    """Return who sent `request`, or None if that is not proved."""
    peer = getattr(request.state, "peer", None)  # set by our server for unix sockets alone
    if peer is not None:
        return Identity(peer, local=True)
    name = authenticate(request)
    return None if name is None else Identity(name, local=False)


def bearer_token(request: Request) -> str:
    """Return the token in a request's `Authorization` header, empty if there is none."""
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


class TokenFile:
    """The tokens that callers from afar prove themselves with, kept as digests in one file.

    A token is 256 random bits, so that a plain SHA-256 of it is as good as a slow hash.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def authenticate(self, request: Request) -> str | None:
        """Return the name of the token that a request carries, or None."""
        digest = _digest(bearer_token(request))
        found = None
        for name, entry in self._read().items():
            # Every entry is compared, so that the time taken tells nothing about which one is near.
            if hmac.compare_digest(digest, str(entry.get("sha256", ""))):
                found = name
        return found

    def create(self, name: str, *, now: datetime) -> str:
        """Make a token and return it; it is kept nowhere and cannot be shown again.

        Raises:
            Refusal: There is a token of that name.
            WrongUsage: `name` cannot name a token.
        """
        plain_name(name, "token")
        with self._lock:
            entries = self._read()
            if name in entries:
                raise Refusal(
                    f"cannot create token {name}: there is one", remedy=f"`metier token delete {name}` first"
                )
            token = _PREFIX + secrets.token_urlsafe(_TOKEN_BYTES)
            entries[name] = {"sha256": _digest(token), "created": now.isoformat().replace("+00:00", "Z")}
            self._write(entries)
        return token

    def delete(self, name: str) -> None:
        """Forget a token; raises NoSuchThing."""
        with self._lock:
            entries = self._read()
            if entries.pop(name, None) is None:
                raise NoSuchThing(f"there is no token {name}", remedy="see `metier token list`")
            self._write(entries)

    def rows(self) -> list[dict[str, Any]]:
        """Return the names of the tokens and when they were made."""
        return [{"name": name, "created": entry.get("created")} for name, entry in self._read().items()]

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            text = self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return {}
        entries: dict[str, dict[str, Any]] = json.loads(text)
        return entries

    def _write(self, entries: dict[str, dict[str, Any]]) -> None:
        draft = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(entries, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()

"""Where a controller is: in a state folder on this machine, or behind a URL."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from metier.cli.failure import wrong_usage

SOCKET_NAME = "metier.sock"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Local:
    """A controller on this machine, by its state folder."""

    state: Path

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self.state / SOCKET_NAME


@dataclass(frozen=True, slots=True)
class Remote:
    """A controller behind a URL."""

    host: str
    port: int
    tls: bool
    token: str

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"


def default_state() -> Path:
    """Return the state folder if none is named."""
    if os.geteuid() == 0:
        return Path("/var/lib/metier")
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser() / "metier"


def state_folder(named: str | None) -> Path:
    """Return the state folder: as named, from the environment, or the default."""
    given = named or os.environ.get("METIER_STATE")
    return Path(given).expanduser().absolute() if given else default_state()


def controller(named: str | None) -> Local | Remote:
    """Return the controller to speak to.

    A folder that was named comes before METIER_URL, and that before a login.
    """
    if named is None and (url := os.environ.get("METIER_URL")):
        return remote(url, os.environ.get("METIER_TOKEN", ""))
    if named is None and not os.environ.get("METIER_STATE") and (kept := _login()):
        return kept
    return Local(state_folder(named))


def remote(url: str, token: str) -> Remote:
    """Return the controller behind `url`.

    Raises:
        Failure: The URL makes no sense, or the token would cross a network in the clear.
    """
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise wrong_usage(f"{url!r} is no URL of a controller: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
        raise wrong_usage(f"{url!r} is no URL of a controller", "say for example https://metier.example:8443")
    if not token.isascii() or not token.isprintable():
        raise wrong_usage("the token holds characters that no token has", "look at METIER_TOKEN")
    tls = parts.scheme == "https"
    if not tls and parts.hostname not in _LOOPBACK:
        raise wrong_usage(f"the token would cross the network to {url} in the clear", "use https")
    return Remote(parts.hostname, port or (443 if tls else 80), tls, token)


def login_file() -> Path:
    """Return where `metier login` keeps its URL and token."""
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "metier" / "login.json"


def keep_login(url: str, token: str) -> Path:
    """Write a login where only its owner reads it."""
    path = login_file()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump({"url": url, "token": token}, file)
    draft.replace(path)
    return path


def _login() -> Remote | None:
    try:
        kept = json.loads(login_file().read_text(encoding="utf-8"))
        return remote(kept["url"], kept["token"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise wrong_usage(f"cannot read the login in {login_file()}", "repeat `metier login URL`") from error

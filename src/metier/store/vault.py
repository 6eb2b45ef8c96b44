"""Seals secrets with a key that lies in the state folder, apart from the store and its backups."""

import base64
import binascii
import os
import stat
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn
from uuid import uuid4

from metier.domain.errors import Refusal
from metier.domain.secret import as_sealed, is_sealed, token_of

if TYPE_CHECKING:
    from cryptography.fernet import Fernet

KEY_FILE = "secrets.key"
"""Name of the key's file in the state folder."""

_KEY_BYTES = 32
# The key in base64, and a line end.
_MOST_BYTES = 64
_FOR_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_AGAIN = "put the file back from where it is kept, or remove it and give every secret again"


class FileVault:
    """Seals and opens with the key in a file; from any thread.

    The file is made, for its owner alone, when something is first sealed.  Each sealing of a
    text gives another token, which says neither what nor whether the same was sealed.
    """

    def __init__(self, state: Path) -> None:
        """Touch nothing yet; `state` is the state folder."""
        self._path = state / KEY_FILE
        self._lock = threading.Lock()
        self._cipher: Fernet | None = None

    @property
    def path(self) -> Path:
        """Where the key is, once there is one."""
        return self._path

    def seal(self, text: str) -> str:
        """Return `text` sealed; see `Vault`.

        Raises:
            Refusal: The key can be neither read nor made.
        """
        if is_sealed(text):
            return text
        token = self._with_key(may_make=True).encrypt(text.encode("utf-8", "surrogatepass"))
        return as_sealed(token.decode("ascii"))

    def open(self, sealed: str) -> str:
        """Return what was sealed; see `Vault`.

        Raises:
            Refusal: It was sealed with another key, or the key cannot be read.
        """
        from cryptography.fernet import InvalidToken

        if not is_sealed(sealed):
            return sealed
        cipher = self._with_key(may_make=False)
        try:
            text = cipher.decrypt(token_of(sealed).encode("utf-8", "replace"))
            return text.decode("utf-8", "surrogatepass")
        except (InvalidToken, UnicodeDecodeError):
            raise Refusal(
                f"the secret was not sealed with the key in {self._path}", remedy="give it again"
            ) from None

    def _with_key(self, *, may_make: bool) -> "Fernet":
        from cryptography.fernet import Fernet

        with self._lock:
            if self._cipher is None:
                key = _read(self._path)
                if key is None and not may_make:
                    raise Refusal(f"there is no key {self._path} to open secrets with", remedy=_AGAIN)
                self._cipher = Fernet(key if key is not None else _made(self._path))
            return self._cipher


def _read(path: Path) -> bytes | None:
    """Return the key in a file; None if there is no file.

    Raises:
        Refusal: It is no key, or others could have read it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        _refuse(path, f"it cannot be read ({error.strerror})", "make it a file that the controller may read")
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            _refuse(path, "it is no file", _AGAIN)
        if found.st_uid not in (0, os.geteuid()) or found.st_mode & _FOR_OTHERS:
            _refuse(
                path,
                f"others may read or change it (owner {found.st_uid}, mode {found.st_mode & 0o7777:04o})",
                f"`chmod 600 {path}`, and its owner the controller's user; if others have read it, remove it "
                "and give every secret again, changed",
            )
        text = os.read(descriptor, _MOST_BYTES + 1).strip()
    finally:
        os.close(descriptor)
    try:
        is_key = len(base64.b64decode(text, altchars=b"-_", validate=True)) == _KEY_BYTES
    except (binascii.Error, ValueError):
        is_key = False
    if not is_key:
        _refuse(path, "it holds no key", _AGAIN)
    return text


def _made(path: Path) -> bytes:
    """Return the key of a new file, or that of the one who was quicker.

    It is written beside its place and linked there whole, so that nobody sees half a key.
    """
    from cryptography.fernet import Fernet

    draft = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        descriptor = os.open(draft, _NEW_FILE, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(Fernet.generate_key() + b"\n")
                file.flush()
                os.fsync(descriptor)
            with suppress(FileExistsError):
                os.link(draft, path)
        finally:
            draft.unlink()
        _sync_folder(path.parent)
    except OSError as error:
        raise Refusal(
            f"cannot make the key {path} to seal secrets with: {error.strerror}",
            remedy="see to it that the controller may write to its state folder",
        ) from error
    key = _read(path)
    if key is None:
        raise Refusal(f"the key {path} went away while it was made", remedy="try again")
    return key


def _sync_folder(folder: Path) -> None:
    """Let a name in a folder survive a crash: what is sealed next must not lose its key."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refuse(path: Path, why: str, remedy: str) -> NoReturn:
    raise Refusal(f"cannot use {path} to seal or open secrets: {why}", remedy=remedy)

"""What a member of a VM's archive may be called."""

from metier.domain.errors import Refusal

_REMEDY = "pack it again from inside the VM's folder: tar -zcvf NAME.tgz *.vm*"


class Names:
    """Turns member names into bare file names, and refuses what no honest archive holds."""

    def __init__(self, archive: str) -> None:
        self._archive = archive
        self._taken: set[str] = set()

    def take(self, name: str, *, is_folder: bool = False) -> str | None:
        """Return the bare name of a member; None for one in a deeper folder, which nothing needs.

        One leading folder is tolerated, and `./` before it.

        Raises:
            Refusal: The name leads outside, holds what no file name can, or came before.
        """
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if name.startswith("/") or ".." in parts:
            raise self._refusal(name, "leads outside the archive")
        if any(ord(char) < 32 for char in name) or len(name) > 1024:
            raise self._refusal(name[:80], "is no name for a file")
        if is_folder:
            return None
        if not parts:
            raise self._refusal(name, "is no name for a file")
        path = "/".join(parts)
        bare = parts[-1]
        if len(parts) > 2 or bare.startswith("._"):
            return None  # `._web.vmx` holds what macOS knows about web.vmx
        if path in self._taken or bare in self._taken:
            raise self._refusal(name, "is there twice")
        self._taken.update((path, bare))
        return bare

    def _refusal(self, name: str, why: str) -> Refusal:
        return Refusal(f"cannot take {self._archive}: its member {name!r} {why}", remedy=_REMEDY)

"""The image matrix as a whole: its folders, and the room there."""

from dataclasses import dataclass

from metier.domain.ids import image_ref, natural
from metier.domain.image_use import used_versions
from metier.operations.image_room import measured
from metier.operations.parsing import rfc3339
from metier.operations.registry import Row, View, reads

COLUMNS = ("measured", "versions", "own_bytes", "shared_bytes", "unused_bytes", "folders", "unused")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowMatrix:
    """Takes nothing."""


@reads("", "matrix", ShowMatrix, columns=COLUMNS, examples=("metier matrix",))
def show_matrix(view: View, _arguments: ShowMatrix) -> Row:
    """Show the folders of the image matrix, the room there, and what deleting unused versions would free.

    It is measured every minute.  What a version shares with others becomes free only with the
    last of them.
    """
    found = measured(view)
    own, shared = found.get("own_bytes", {}), found.get("shared_bytes", {})
    used = {str(ref) for ref in used_versions(view.fleet)}
    known = {str(ref) for ref in view.fleet.images}
    unused = [
        {"image": name, "own_bytes": size} for name, size in own.items() if name in known and name not in used
    ]
    unused.sort(key=lambda row: (-int(str(row["own_bytes"])), natural(str(row["image"]))))
    return {
        "measured": rfc3339(found.get("measured")),
        "error": found.get("error") or None,
        "versions": len(view.fleet.images),
        "own_bytes": sum(own.values()),
        # What several share lies there once, and is counted with each.
        "shared_bytes": _shared_once(shared),
        "unused_bytes": sum(int(str(row["own_bytes"])) for row in unused),
        "folders": list(found.get("folders", ())),
        "unused": unused,
    }


def _shared_once(shared: dict[str, int]) -> int:
    """Return about what is shared: by the versions of one image all share the same files."""
    most: dict[str, int] = {}
    for text, size in shared.items():
        name = image_ref(text).name
        most[name] = max(most.get(name, 0), size)
    return sum(most.values())

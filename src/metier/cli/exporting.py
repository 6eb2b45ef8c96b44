"""Writing the exported site: to standard output, or to a file that is there whole or not at all."""

import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metier.cli.failure import Failure
from metier.cli.output import emit
from metier.cli.session import tell

if TYPE_CHECKING:
    from metier.cli.client import Client, Request


def export(client: "Client", request: "Request", out: str | None) -> None:
    """Ask for the site and write it to the file `out`, or to standard output without one.

    Raises:
        Failure: The controller refused, or the file cannot be written.
    """
    from metier.operations.export import document_lines

    document: Mapping[str, Any] = client.ask(request).value
    lines = document_lines(document)
    if out is None or out == "-":
        emit("\n".join(lines))
        return
    path = Path(out)
    write_whole(path, lines)
    records = sum(len(several) for several in document.get("records", {}).values())
    tell(f"{records} records and {len(document.get('journal', ()))} journal entries written to {path}")


def write_whole(path: Path, lines: Iterable[str]) -> None:
    """Write lines to a file that only its owner may read; it is replaced when all is written.

    Raises:
        Failure: It cannot be written; then a file that was there is as it was.
    """
    try:
        # Its mode is 0600 from the start; only in the same folder can it take the other's place at once.
        number, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(number, "w", encoding="ascii") as file:
                file.writelines(f"{line}\n" for line in lines)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:  # whatever ended it, a user too: nothing half written stays
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise Failure(
            f"cannot write {path}: {error.strerror}", remedy="name another file with --out"
        ) from error

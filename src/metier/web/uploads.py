"""Files that a caller sends ahead, to be named as `upload:<id>` in the request that uses them.

Each lies under its own name, for messages to name, in a folder that is called by its id;
the folder of an unfinished one ends in `.part`, or in `.open` if it can be gone on with, and
that of a file that is to be fetched by a caller in `.out`.
"""

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request

from metier.domain.errors import NoSpace, NoSuchThing, WrongUsage
from metier.domain.ids import plain_name
from metier.domain.job import FINAL, Job
from metier.operations.paths import ROOT
from metier.operations.registry import Row
from metier.web.errors import responses

UPLOADED = "upload:"
"""What a file that was sent ahead is named with: `upload:<id>`."""

OPEN = ".open"
ID = re.compile(r"[0-9a-f]{32}")

_PART, _OUT = ".part", ".out"
# Room that an upload leaves free: the store and the journal must go on.
_RESERVE_BYTES = 256 << 20
_BUFFER_BYTES = 4 << 20
# What nobody used for so long is discarded.
_KEPT = timedelta(days=1)


class Uploads:
    """The folder of files that were sent ahead."""

    def __init__(self, folder: Path, *, reserve_bytes: int = _RESERVE_BYTES) -> None:
        self.folder = folder
        self._reserve_bytes = reserve_bytes
        self._busy: set[Path] = set()

    async def receive(self, request: Request, name: str) -> Row:
        """Write a request's body to a file of its own and return how to name it.

        Nothing stays behind when the sender breaks off or the room runs out.

        Raises:
            NoSpace: The file system would be left with less than the reserve.
        """
        plain_name(name, "file")
        await run_in_threadpool(self.prove_room, _declared_bytes(request), name)
        upload = secrets.token_hex(16)
        part = self.folder / f"{upload}{_PART}"
        self._busy.add(part)
        try:
            part.mkdir(mode=0o700)
            size = await self._write(request, part / name, name)
            await run_in_threadpool(part.rename, self.folder / upload)
        except OSError as error:
            raise NoSpace(
                f"cannot keep the upload of {name}", remedy="make room, then send it again"
            ) from error
        finally:
            self._busy.discard(part)
            shutil.rmtree(part, ignore_errors=True)
        return {"file": f"{UPLOADED}{upload}", "name": name, "size_bytes": size}

    def path_of(self, reference: str) -> Path:
        """Return where the file that `upload:<id>` names lies; raises NoSuchThing."""
        upload = reference.removeprefix(UPLOADED)
        found = list((self.folder / upload).glob("*")) if ID.fullmatch(upload) else []
        if len(found) != 1:
            raise NoSuchThing(f"there is no {reference}", remedy="send the file again")
        return found[0]

    def new_file(self, name: str) -> Path:
        """Return where a file that a caller will fetch is to be written: alone in a new folder."""
        plain_name(name, "file")
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = self.folder / f"{secrets.token_hex(16)}{_OUT}"
        folder.mkdir(mode=0o700)
        return folder / name

    def was_sent(self, path: Path) -> bool:
        """Say whether `path` is a file that was sent ahead."""
        return path.parent.parent == self.folder and bool(ID.fullmatch(path.parent.name))

    def is_to_be_fetched(self, path: Path) -> bool:
        """Say whether `path` is where `new_file` let something be written."""
        folder = path.parent
        return folder.parent == self.folder and folder.suffix == _OUT and bool(ID.fullmatch(folder.stem))

    def discard(self, path: Path) -> None:
        """Remove the folder of a file that was sent, or fetched; nothing happens if it is not of these."""
        if path.parent.parent == self.folder:
            shutil.rmtree(path.parent, ignore_errors=True)

    def discard_old(self, now: datetime, jobs: Iterable[Job] = ()) -> None:
        """Remove what is left of broken uploads, what nobody used within a day, and what was used up.

        `jobs` are all that are known: what one of them still needs stays.
        """
        needed, used = _named_by(jobs)
        for path in self.folder.iterdir() if self.folder.is_dir() else ():
            with contextlib.suppress(FileNotFoundError):
                age_s = now.timestamp() - path.stat().st_mtime
                abandoned = path.suffix == _PART and path not in self._busy
                is_old = age_s > _KEPT.total_seconds()
                if path not in needed and (abandoned or is_old or path in used):
                    shutil.rmtree(path, ignore_errors=True)

    async def _write(self, request: Request, part: Path, name: str) -> int:
        size, buffer = 0, bytearray()
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            try:
                async for chunk in request.stream():
                    buffer += chunk
                    size += len(chunk)
                    if len(buffer) >= _BUFFER_BYTES:
                        await run_in_threadpool(self.prove_room, len(buffer), name)
                        await run_in_threadpool(append, file.fileno(), bytes(buffer))
                        buffer.clear()
            except ClientDisconnect as error:
                raise WrongUsage(f"the upload of {name} broke off after {size} bytes") from error
            await run_in_threadpool(append, file.fileno(), bytes(buffer))
            await run_in_threadpool(os.fsync, file.fileno())
        return size

    def prove_room(self, needed_bytes: int, name: str) -> None:
        """Make sure that so much more can be kept; raises NoSpace."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        free = shutil.disk_usage(self.folder).free
        if needed_bytes + self._reserve_bytes > free:
            raise NoSpace(
                f"cannot take {name}: {needed_bytes} bytes more do not fit into {free} free bytes "
                f"and leave {self._reserve_bytes} in reserve",
                remedy="make room in the state folder, then send it again",
            )


def _named_by(jobs: Iterable[Job]) -> tuple[set[Path], set[Path]]:
    """Return the folders of the files that unfinished jobs name, and of those that imports have used."""
    needed, used = set(), set()
    for job in jobs:
        for key in ("location", "target"):
            folder = Path(str(job.arguments.get(key, ""))).parent
            if job.state not in FINAL:
                needed.add(folder)
            elif key == "location":
                used.add(folder)
    return needed, used


def append(descriptor: int, data: bytes) -> None:
    """Write all of `data` to an open file."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _declared_bytes(request: Request) -> int:
    text = request.headers.get("content-length", "0")
    if not text.isdecimal():
        raise WrongUsage(f"Content-Length {text!r} is not a number of bytes")
    return int(text)


def add_upload_route(app: FastAPI, uploads: Uploads, tidy: Callable[[], None]) -> None:
    """Give `app` the route that takes files."""

    @app.put(
        f"{ROOT}/uploads/{{name}}",
        tags=["upload"],
        operation_id="upload",
        summary="Send a file ahead; a later request names it by the answer's `file`.",
        status_code=201,
        responses=responses(400, 401, 507),
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
            }
        },
    )
    async def upload(request: Request, name: str) -> Row:
        await run_in_threadpool(tidy)
        return await uploads.receive(request, name)

"""Uploads that can be gone on with after a broken connection: the core of the tus protocol, 1.0.0.

`POST` begins one, `PATCH` appends at `Upload-Offset`, `HEAD` tells how far it is, `DELETE` drops it.
Whoever speaks last has it: an earlier request that hangs in a dead connection writes nothing more.
"""

import asyncio
import base64
import binascii
import contextlib
import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from metier.domain.errors import MetierError, NoSpace, NoSuchThing, WrongUsage
from metier.domain.ids import plain_name
from metier.operations.paths import ROOT
from metier.web.errors import responses
from metier.web.uploads import ID, OPEN, UPLOADED, Uploads, append

VERSION = "1.0.0"
CONTENT_TYPE = "application/offset+octet-stream"

_LENGTH = ".length"
_BUFFER_BYTES = 4 << 20
_LONGEST_METADATA = 4096


class WrongOffset(MetierError):
    """What was sent does not follow on what is there."""

    code = "wrong-offset"
    http_status = 409


class OtherVersion(MetierError):
    """The caller speaks a version of the protocol that we do not."""

    code = "other-version"
    http_status = 412


class Standing(NamedTuple):
    """How far an upload is; `length` is None while its sender does not know it."""

    offset: int
    length: int | None


class _Turns:
    """Whose turn it is to write to an upload: the one's who spoke last."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.last = 0


class OpenUploads:
    """The uploads that are under way, each in a folder of its own that ends in `.open`."""

    def __init__(self, uploads: Uploads) -> None:
        self._uploads = uploads
        self._turns: dict[str, _Turns] = {}

    def begin(self, name: str, length: int | None) -> str:
        """Begin one and return its id.

        Raises:
            WrongUsage: The name cannot be one.
            NoSpace: So much does not fit.
        """
        plain_name(name, "file")
        self._uploads.prove_room(length or 0, name)
        upload = secrets.token_hex(16)
        folder = self._uploads.folder / f"{upload}{OPEN}"
        folder.mkdir(mode=0o700)
        (folder / name).touch(mode=0o600)
        self._keep_length(folder, length)
        if length == 0:
            self._finish(upload, folder)
        return upload

    async def standing(self, upload: str) -> Standing:
        """Return how far an upload is; who still sends to it is cut off, so that it stays so.

        Raises:
            NoSuchThing: There is none.
        """
        turns = self._turns.setdefault(upload, _Turns())
        try:
            async with turns.lock:
                turns.last += 1
                return await run_in_threadpool(self._seen, upload)
        except NoSuchThing:
            self._turns.pop(upload, None)
            raise

    async def append(self, upload: str, offset: int, length: int | None, request: Request) -> Standing:
        """Add a request's body at `offset`, where the upload must end; what came of it stays, if not all.

        Args:
            upload: Which one.
            offset: Where the body belongs, in bytes.
            length: Of the whole, once its sender knows it.
            request: The request.

        Raises:
            NoSuchThing: There is no such upload.
            WrongOffset: It ends somewhere else, or becomes longer than was said.
            NoSpace: It does not fit.
        """
        standing = await self.standing(upload)
        turns = self._turns.setdefault(upload, _Turns())
        if standing.length is not None and standing.offset == standing.length == offset:
            return standing
        if offset != standing.offset:
            raise WrongOffset(f"the upload ends at {standing.offset}, not at {offset}")
        folder = self._folder(upload)
        if length is not None:
            if standing.length not in (None, length) or length < offset:
                raise WrongOffset(f"the upload has {standing.length} bytes in all, not {length}")
            await run_in_threadpool(self._keep_length, folder, length)
        most = length if length is not None else standing.length
        try:
            size = await self._write(turns, _file_in(folder), offset, most, request)
        except OSError as error:
            raise NoSpace("cannot keep the upload", remedy="make room, then go on with it") from error
        os.utime(folder)
        if size == most:
            await run_in_threadpool(self._finish, upload, folder)
        return Standing(size, most)

    async def remove(self, upload: str) -> None:
        """Drop an upload, finished or not; raises NoSuchThing."""
        await self.standing(upload)
        whole = self._uploads.folder / upload
        await run_in_threadpool(shutil.rmtree, whole if whole.is_dir() else self._folder(upload))
        self._turns.pop(upload, None)

    def _seen(self, upload: str) -> Standing:
        if ID.fullmatch(upload) and (self._uploads.folder / upload).is_dir():
            size = self._uploads.path_of(f"{UPLOADED}{upload}").stat().st_size
            return Standing(size, size)
        folder = self._folder(upload)
        return Standing(_file_in(folder).stat().st_size, _length_of(folder))

    async def _write(self, turns: _Turns, path: Path, size: int, most: int | None, request: Request) -> int:
        """Append what comes, and return where the file ends then."""
        buffer, turn = bytearray(), turns.last
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)

        async def flush() -> int:
            data = bytes(buffer)
            buffer.clear()
            async with turns.lock:
                if turns.last != turn:
                    raise WrongOffset("another request has taken the upload over")
                await run_in_threadpool(self._uploads.prove_room, len(data), path.name)
                await run_in_threadpool(append, descriptor, data)
            return len(data)

        try:
            with contextlib.suppress(ClientDisconnect):  # whatever came is kept
                async for chunk in request.stream():
                    buffer += chunk
                    if most is not None and size + len(buffer) > most:
                        raise WrongOffset(f"the upload would become longer than its {most} bytes")
                    if len(buffer) >= _BUFFER_BYTES:
                        size += await flush()
            size += await flush()
            await run_in_threadpool(os.fsync, descriptor)
        finally:
            os.close(descriptor)
        return size

    def _folder(self, upload: str) -> Path:
        folder = self._uploads.folder / f"{upload}{OPEN}"
        if ID.fullmatch(upload) is None or not folder.is_dir():
            raise NoSuchThing(f"there is no upload {upload}", remedy="begin it again")
        return folder

    def _keep_length(self, folder: Path, length: int | None) -> None:
        if length is not None:
            self._uploads.prove_room(length - _file_in(folder).stat().st_size, _file_in(folder).name)
            (folder / _LENGTH).write_text(str(length), encoding="ascii")

    def _finish(self, upload: str, folder: Path) -> None:
        (folder / _LENGTH).unlink(missing_ok=True)
        folder.rename(self._uploads.folder / upload)
        self._turns.pop(upload, None)


def _file_in(folder: Path) -> Path:
    return next(path for path in folder.iterdir() if path.name != _LENGTH)


def _length_of(folder: Path) -> int | None:
    try:
        return int((folder / _LENGTH).read_text(encoding="ascii"))
    except FileNotFoundError:
        return None


def add_tus_routes(app: FastAPI, uploads: Uploads, tidy: Callable[[], None]) -> None:
    """Give `app` the routes of uploads that can be gone on with."""
    opened = OpenUploads(uploads)
    path = f"{ROOT}/uploads/{{upload}}"

    @app.post(
        f"{ROOT}/uploads",
        tags=["upload"],
        operation_id="begin_upload",
        summary="Begin to send a file ahead in parts (tus 1.0.0); its place is in `Location`.",
        status_code=201,
        responses=responses(400, 401, 412, 507),
    )
    async def begin(request: Request) -> Response:
        _check_version(request)
        await run_in_threadpool(tidy)
        name, length = _named(request), _number(request, "upload-length")
        if length is None and request.headers.get("upload-defer-length") != "1":
            raise WrongUsage("neither Upload-Length nor Upload-Defer-Length: 1 is given")
        upload = await run_in_threadpool(opened.begin, name, length)
        headers = _headers({"location": f"{ROOT}/uploads/{upload}"})
        return JSONResponse({"file": f"{UPLOADED}{upload}", "name": name}, 201, headers)

    @app.head(path, tags=["upload"], operation_id="look_at_upload", summary="How far an upload is.")
    async def look(request: Request, upload: str) -> Response:
        _check_version(request)
        return _answer(200, await opened.standing(upload))

    @app.patch(
        path,
        tags=["upload"],
        operation_id="append_to_upload",
        summary="Send the next part of a file, from `Upload-Offset` on.",
        status_code=204,
        response_model=None,
        responses=responses(400, 401, 404, 409, 412, 507),
    )
    async def more(request: Request, upload: str) -> Response:
        _check_version(request)
        offset = _number(request, "upload-offset")
        if offset is None or request.headers.get("content-type") != CONTENT_TYPE:
            raise WrongUsage(f"an Upload-Offset, and {CONTENT_TYPE} as Content-Type, are needed")
        length = _number(request, "upload-length")
        return _answer(204, await opened.append(upload, offset, length, request))

    @app.delete(
        path,
        tags=["upload"],
        operation_id="drop_upload",
        summary="Drop an upload.",
        status_code=204,
        response_model=None,
        responses=responses(401, 404),
    )
    async def drop(upload: str) -> Response:
        await opened.remove(upload)
        return Response(status_code=204, headers=_headers({}))


def _headers(more: Mapping[str, str]) -> dict[str, str]:
    return {"tus-resumable": VERSION, "cache-control": "no-store", **more}


def _answer(status: int, standing: Standing) -> Response:
    length = (
        {"upload-defer-length": "1"} if standing.length is None else {"upload-length": str(standing.length)}
    )
    return Response(status_code=status, headers=_headers({"upload-offset": str(standing.offset), **length}))


def _check_version(request: Request) -> None:
    spoken = request.headers.get("tus-resumable", VERSION)
    if spoken != VERSION:
        raise OtherVersion(f"uploads are spoken of in tus {VERSION} here, not {spoken[:20]!r}")


def _number(request: Request, header: str) -> int | None:
    text = request.headers.get(header)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise WrongUsage(f"{header} {text[:40]!r} is not a number of bytes")
    return int(text)


def _named(request: Request) -> str:
    """Return the file's name from `Upload-Metadata: filename <base64>`."""
    text = request.headers.get("upload-metadata", "")[:_LONGEST_METADATA]
    for pair in text.split(","):
        key, _, value = pair.strip().partition(" ")
        if key == "filename":
            with contextlib.suppress(binascii.Error, UnicodeDecodeError):
                return base64.b64decode(value.strip(), validate=True).decode()
            raise WrongUsage("the filename in Upload-Metadata is not base64 of UTF-8")
    return "upload"

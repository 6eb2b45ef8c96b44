"""Uploads that are gone on with, and files that are fetched."""

import base64
import os
import socket
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from metier.domain.job import Job, JobState
from metier.operations import load_operations
from metier.operations.image_export import ExportImage
from metier.operations.paths import NewFile
from metier.operations.registry import OPERATIONS
from metier.web.app import Parts, build_app
from metier.web.changes import Changes
from metier.web.endpoints import Desk
from metier.web.errors import Forbidden
from metier.web.identity import Identity
from metier.web.reading import Reader
from metier.web.uploads import Uploads
from tests.builders import NOW
from tests.unit.web.fake_controller import FakeController

UPLOADS = "/api/v1/uploads"
NAME = {"upload-metadata": f"filename {base64.b64encode(b'web.ova').decode()}"}
PART = {"content-type": "application/offset+octet-stream"}
CONTENT = os.urandom(9_000_000)


def begin(client: httpx.Client, **headers: str) -> str:
    """Begin an upload and return where it is."""
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    answer = client.post(UPLOADS, headers={**NAME, **named})
    assert (answer.status_code, answer.headers["tus-resumable"]) == (201, "1.0.0")
    assert answer.json()["file"] == "upload:" + answer.headers["location"].rpartition("/")[2]
    return str(answer.headers["location"])


def patch(client: httpx.Client, where: str, offset: int, body: bytes, **headers: str) -> httpx.Response:
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return client.patch(where, content=body, headers={**PART, "upload-offset": str(offset), **named})


def offset(client: httpx.Client, where: str) -> int:
    return int(client.head(where).headers["upload-offset"])


def test_a_file_is_sent_in_parts_and_can_be_imported(client: httpx.Client, uploads: Path) -> None:
    where = begin(client, upload_length=str(len(CONTENT)))
    assert patch(client, where, 0, CONTENT[:5_000_000]).headers["upload-offset"] == "5000000"
    name = "upload:" + where.rpartition("/")[2]
    assert client.post("/api/v1/images/import", json={"name": "w2k", "file": name}).status_code == 404
    answer = patch(client, where, 5_000_000, CONTENT[5_000_000:])
    assert (answer.status_code, answer.headers["upload-offset"]) == (204, str(len(CONTENT)))
    assert offset(client, where) == len(CONTENT)
    file = Path(
        client.post("/api/v1/images/import", json={"name": "w2k", "file": name}).json()["object"]["file"]
    )
    assert (file.name, file.read_bytes()) == ("web.ova", CONTENT)
    assert file.parent.parent == uploads


def test_a_length_may_be_told_at_the_end(client: httpx.Client, uploads: Path) -> None:
    where = begin(client, upload_defer_length="1")
    patch(client, where, 0, b"hello")
    assert client.head(where).headers["upload-defer-length"] == "1"
    assert patch(client, where, 5, b"", upload_length="5").status_code == 204
    assert [path.name for path in uploads.iterdir()] == [where.rpartition("/")[2]]


def test_what_breaks_off_is_gone_on_with(site: tuple[Path, str], client: httpx.Client, uploads: Path) -> None:
    where, place = begin(client, upload_length=str(len(CONTENT))), urlsplit(site[1])
    with socket.create_connection((place.hostname or "", place.port or 0)) as sock:
        head = f"PATCH {where} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\nUpload-Offset: 0\r\n"
        head += f"Content-Type: {PART['content-type']}\r\nContent-Length: {len(CONTENT)}\r\n\r\n"
        sock.sendall(head.encode() + CONTENT[:4_500_000])
    # Each request lets the server go on; the test's own deadline ends a wait in vain.
    file = next((uploads / f"{where.rpartition('/')[2]}.open").glob("web.ova"))
    while file.stat().st_size < 4_500_000:
        client.get("/healthz")
    reached = offset(client, where)
    assert reached == 4_500_000
    assert patch(client, where, reached, CONTENT[reached:]).status_code == 204


def test_who_speaks_last_has_the_upload(site: tuple[Path, str], client: httpx.Client, uploads: Path) -> None:
    where, place = begin(client, upload_length=str(len(CONTENT))), urlsplit(site[1])
    with socket.create_connection((place.hostname or "", place.port or 0)) as dead:
        head = f"PATCH {where} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\nUpload-Offset: 0\r\n"
        head += f"Content-Type: {PART['content-type']}\r\nContent-Length: {len(CONTENT)}\r\n\r\n"
        dead.sendall(head.encode() + CONTENT[:4_300_000])
        file = next((uploads / f"{where.rpartition('/')[2]}.open").glob("web.ova"))
        while file.stat().st_size < 4 << 20:
            client.get("/healthz")
        reached = offset(client, where)
        assert patch(client, where, reached, CONTENT[reached:]).status_code == 204
        dead.sendall(CONTENT[4_300_000:])
        assert dead.recv(100).startswith(b"HTTP/1.1 409")
    assert next((uploads / where.rpartition("/")[2]).iterdir()).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("at", "body", "headers", "status"),
    [
        (3, b"x", {}, 409),
        (5, b"x" * 6, {}, 409),
        (5, b"x", {"upload_length": "12"}, 409),
        (5, b"x", {"content_type": "text/plain"}, 400),
        (5, b"x", {"upload_offset": "-5"}, 400),
        (5, b"x", {"tus_resumable": "2.0.0"}, 412),
    ],
)
def test_what_does_not_follow_is_refused(
    client: httpx.Client, at: int, body: bytes, headers: dict[str, str], status: int
) -> None:
    where = begin(client, upload_length="10")
    patch(client, where, 0, b"hello")
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    answer = client.patch(where, content=body, headers={**PART, "upload-offset": str(at), **named})
    assert answer.status_code == status
    assert offset(client, where) == 5


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 400),
        ({"upload-length": "x"}, 400),
        ({"upload-length": "1", "upload-metadata": "filename %%"}, 400),
        ({"upload-length": "1", "upload-metadata": "filename Li4vYQ=="}, 400),
        ({"upload-length": str(1 << 58)}, 507),
    ],
)
def test_what_cannot_be_begun_leaves_nothing(
    client: httpx.Client, uploads: Path, headers: dict[str, str], status: int
) -> None:
    assert client.post(UPLOADS, headers=headers).status_code == status
    assert not uploads.exists() or not list(uploads.iterdir())


@pytest.mark.parametrize("upload", ["0" * 32, "..", "x"])
def test_what_was_not_begun_is_not_there(client: httpx.Client, upload: str) -> None:
    assert client.head(f"{UPLOADS}/{upload}").status_code == 404
    assert client.delete(f"{UPLOADS}/{upload}").status_code in (404, 405)


def test_an_upload_can_be_dropped(client: httpx.Client, uploads: Path) -> None:
    where = begin(client, upload_length="10")
    patch(client, where, 0, b"hello")
    assert client.delete(where).status_code == 204
    assert not list(uploads.iterdir())


def test_an_empty_file_is_whole_at_once(client: httpx.Client) -> None:
    assert offset(client, begin(client, upload_length="0")) == 0


# --- ends -----------------------------------------------------------------------------------


def a_job(path: Path, state: JobState, key: str = "location") -> Job:
    return Job(7, "image-import", "web@1", NOW, arguments={key: str(path)}, state=state)


def test_what_a_job_still_needs_stays_and_what_was_used_goes(tmp_path: Path) -> None:
    folders = [tmp_path / (digit * 32) for digit in "012"]
    for folder in folders:
        folder.mkdir()
        (folder / "web.ova").touch()
        os.utime(folder, (0, 0) if folder is folders[0] else (NOW.timestamp(), NOW.timestamp()))
    jobs = [
        a_job(folders[0] / "web.ova", JobState.RUNNING),
        a_job(folders[1] / "web.ova", JobState.DONE),
    ]
    Uploads(tmp_path).discard_old(NOW, jobs)
    assert sorted(tmp_path.iterdir()) == [folders[0], folders[2]]


def test_an_upload_goes_when_its_import_has_ended(
    controller: FakeController, client: httpx.Client, uploads: Path
) -> None:
    client.put(f"{UPLOADS}/web.ova", content=b"x")
    (folder,) = uploads.iterdir()
    answer = client.post("/api/v1/images/import", json={"name": "w2k", "file": f"upload:{folder.name}"})
    number = answer.json()["job"]
    job = Job(number, "image-import", "w2k@1", NOW)
    controller.edit(lambda draft: draft.put_job(job))
    assert folder.exists()
    ended = replace(controller.view().fleet.jobs[number], state=JobState.FAILED)
    controller.edit(lambda draft: draft.put_job(ended))
    while folder.exists():  # the test's own deadline ends a wait in vain
        client.get("/healthz")


def test_what_a_job_wrote_is_fetched_whole_or_in_part(
    controller: FakeController, client: httpx.Client, uploads: Path
) -> None:
    path = Uploads(uploads).new_file("web-1.ova")
    path.write_bytes(CONTENT)
    job = replace(a_job(path, JobState.RUNNING, "target"), kind="image-export")
    controller.edit(lambda draft: draft.put_job(job))
    assert client.get("/api/v1/downloads/7").status_code == 422
    job = replace(
        controller.view().fleet.jobs[7], state=JobState.DONE, result={"files": [str(path), "/etc/passwd"]}
    )
    controller.edit(lambda draft: draft.put_job(job))
    answer = client.get("/api/v1/downloads/7")
    assert answer.content == CONTENT
    assert "web-1.ova" in answer.headers["content-disposition"]
    rest = client.get(
        "/api/v1/downloads/7", headers={"range": "bytes=5000000-", "if-range": answer.headers["etag"]}
    )
    assert (rest.status_code, rest.content) == (206, CONTENT[5_000_000:])
    assert client.get("/api/v1/downloads/7?number=2").status_code == 404
    assert client.delete("/api/v1/downloads/7").status_code == 204
    assert client.get("/api/v1/downloads/7").status_code == 404
    assert not list(uploads.iterdir())


@pytest.mark.parametrize("target", ["/etc/passwd", "{uploads}/x", "{uploads}/../x.out/y"])
def test_nothing_else_of_the_controller_can_be_fetched(
    controller: FakeController, client: httpx.Client, uploads: Path, target: str
) -> None:
    path = Path(target.format(uploads=uploads))
    job = replace(a_job(path, JobState.DONE, "target"), result={"files": [str(path)]})
    controller.edit(lambda draft: draft.put_job(job))
    assert client.get("/api/v1/downloads/7").status_code == 404
    assert client.get("/api/v1/downloads/8").status_code == 404


def a_desk(controller: FakeController, uploads: Path | None) -> Desk:
    kept = None if uploads is None else Uploads(uploads)
    return Desk(controller, Reader(controller), Changes(controller), lambda: NOW, kept)


def test_a_caller_from_afar_names_no_file_to_write_and_gets_one(
    controller: FakeController, uploads: Path
) -> None:
    desk, ann, root = a_desk(controller, uploads), Identity("ann", local=False), Identity("root", local=True)
    named = ExportImage(name="web@1", file=NewFile("/etc/cron.d/x"))
    with pytest.raises(Forbidden, match="cannot write"):
        desk.with_file(named, ann)
    assert desk.with_file(named, root) is named
    path = Path(desk.with_file(ExportImage(name="web@1", form="vhd"), ann).file)
    assert (path.name, Uploads(uploads).is_to_be_fetched(path), path.parent.is_dir()) == (
        "web-1.vhd",
        True,
        True,
    )
    before = list(uploads.iterdir())
    desk.with_file(ExportImage(name="web@1"), ann, previews=True)
    assert list(uploads.iterdir()) == before


def test_the_api_of_all_operations_can_be_described(controller: FakeController, tmp_path: Path) -> None:
    load_operations()
    app = build_app(controller, lambda _: "ann", Parts(OPERATIONS, uploads=tmp_path))
    paths = app.openapi()["paths"]
    assert set(paths["/api/v1/uploads/{upload}"]) >= {"head", "patch", "delete"}
    assert "get" in paths["/api/v1/downloads/{job}"]
    assert "post" in paths["/api/v1/images/{name}/export"]

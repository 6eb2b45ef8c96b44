"""Files that are sent ahead."""

import os
import socket
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx
import pytest

from metier.web.uploads import Uploads
from tests.builders import NOW
from tests.unit.web.fake_controller import FakeController

PATH = "/api/v1/uploads/filename.tgz"


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def test_a_file_is_kept_and_can_be_imported(client: httpx.Client, uploads: Path) -> None:
    content = os.urandom(5_000_000)
    answer = client.put(PATH, content=content)
    assert answer.status_code == 201
    sent = answer.json()
    assert (sent["name"], sent["size_bytes"]) == ("filename.tgz", len(content))
    (folder,) = uploads.iterdir()
    (kept,) = folder.iterdir()
    assert (kept.name, sent["file"]) == ("filename.tgz", f"upload:{folder.name}")
    assert kept.read_bytes() == content
    assert kept.stat().st_mode & 0o777 == 0o600
    imported = client.post("/api/v1/images/import", json={"name": "w2k", "file": sent["file"]})
    assert imported.json()["object"]["file"] == str(kept)


def test_a_caller_from_afar_cannot_name_a_file_of_the_controller(
    client: httpx.Client, local: httpx.Client
) -> None:
    body = {"name": "w2k", "file": "/etc/passwd"}
    answer = client.post("/api/v1/images/import", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")
    assert local.post("/api/v1/images/import", json=body).status_code == 202


@pytest.mark.parametrize("name", ["upload:", "upload:../../etc/passwd", "upload:" + "0" * 32, "upload:\x00"])
def test_what_was_not_sent_is_not_there(client: httpx.Client, name: str) -> None:
    assert client.post("/api/v1/images/import", json={"name": "w2k", "file": name}).status_code in (400, 404)


@pytest.mark.parametrize("name", ["..", "a%2Fb", "%00", "-x", "x" * 64])
def test_odd_file_names_are_refused(client: httpx.Client, name: str, uploads: Path) -> None:
    assert client.put(f"/api/v1/uploads/{name}", content=b"x").status_code in (400, 404)
    assert not uploads.exists() or not list(uploads.iterdir())


def test_what_does_not_fit_is_507_and_leaves_nothing(
    client: httpx.Client, uploads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(1 << 40, 0, 300 << 20))
    answer = client.put(PATH, content=b"x" * (50 << 20))
    assert (answer.status_code, answer.json()["error"]["code"]) == (507, "no-space")
    assert not list(uploads.iterdir())


def test_room_that_runs_out_meanwhile_is_507_and_leaves_nothing(
    client: httpx.Client, uploads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = iter([1 << 40, 1 << 40, 0])
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(1 << 40, 0, next(free, 0)))
    answer = client.put(PATH, content=(b"x" * (1 << 20) for _ in range(20)))
    assert answer.status_code == 507
    assert not list(uploads.iterdir())


def test_an_upload_that_breaks_off_leaves_nothing(
    site: tuple[Path, str], client: httpx.Client, uploads: Path
) -> None:
    where = urlsplit(site[1])
    with socket.create_connection((where.hostname or "", where.port or 0)) as sock:
        head = f"PUT {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\n"
        sock.sendall(head.encode() + b"Content-Length: 99999999\r\n\r\n" + b"x" * (9 << 20))
        # Each request lets the server go on; the test's own deadline ends a wait in vain.
        while not list(uploads.glob("*.part")):
            client.get("/healthz")
    while list(uploads.iterdir()):
        client.get("/healthz")


def test_old_and_broken_uploads_are_discarded(tmp_path: Path) -> None:
    for name, age_s in (("0" * 32, 90_000), ("1" * 32, 60), ("2" * 32 + ".part", 60)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "filename.tgz").write_bytes(b"x")
        then = (NOW - timedelta(seconds=age_s)).timestamp()
        os.utime(tmp_path / name, (then, then))
    Uploads(tmp_path).discard_old(NOW)
    assert [path.name for path in tmp_path.iterdir()] == ["1" * 32]


def test_the_controller_never_sees_a_caller_of_an_upload(
    controller: FakeController, client: httpx.Client
) -> None:
    client.put(PATH, content=b"x")
    assert not controller.callers

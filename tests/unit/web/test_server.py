"""Sockets: nobody else's, never open to others, and gone at the end."""

import os
import socket
import stat
import threading
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from metier.domain.errors import Refusal, WrongUsage
from metier.web.app import Parts, build_app
from metier.web.server import ApiServer, Listen, Sockets
from metier.web.sockets import SOCKET_NAME, listen_on, passed_sockets, state_socket
from tests.unit.web.fake_operations import FAKE_OPERATIONS
from tests.unit.web.running import TIMEOUT_S, local_client, remote_client, running
from tests.unit.web.serving import a_site


def an_app() -> object:
    return build_app(a_site(), lambda _: "ann", Parts(FAKE_OPERATIONS))


def test_the_socket_is_for_its_owner_alone_and_goes_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "new" / SOCKET_NAME
    with state_socket(path.parent):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert {found.name for found in path.parent.iterdir()} == {SOCKET_NAME, f"{SOCKET_NAME}.lock"}
    assert not path.exists()


def test_a_second_controller_is_refused_and_the_first_one_stays(tmp_path: Path) -> None:
    with state_socket(tmp_path) as first:
        with pytest.raises(Refusal, match=f"process id {os.getpid()} does"), state_socket(tmp_path):
            pass
        with closing(socket.socket(socket.AF_UNIX)) as client:
            client.connect(str(tmp_path / SOCKET_NAME))
            first.accept()[0].close()


def test_the_socket_of_a_dead_controller_is_replaced(tmp_path: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as dead:
        dead.bind(str(tmp_path / SOCKET_NAME))
    (tmp_path / f"{SOCKET_NAME}.lock").write_text("12345\n")
    with state_socket(tmp_path), closing(socket.socket(socket.AF_UNIX)) as client:
        client.connect(str(tmp_path / SOCKET_NAME))


def test_a_socket_that_took_our_place_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / SOCKET_NAME
    with state_socket(tmp_path):
        path.unlink()
        path.write_text("somebody else's")
    assert path.read_text() == "somebody else's"


def test_a_long_folder_name_is_no_obstacle(tmp_path: Path) -> None:
    state = tmp_path / ("d" * 100) / ("e" * 100)
    with state_socket(state):
        assert (state / SOCKET_NAME).is_socket()


def test_a_folder_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Refusal, match="cannot use state folder"), state_socket(tmp_path / "file"):
        pass


@pytest.mark.parametrize("address", ["8080", "localhost:", "localhost:x", "localhost:70000", ":-1"])
def test_an_address_that_makes_no_sense_is_wrong_usage(address: str) -> None:
    with pytest.raises(WrongUsage):
        listen_on(address, tls=None, plain_http=False)


def test_a_network_is_not_served_without_tls_unless_asked_to() -> None:
    with pytest.raises(WrongUsage, match="in the clear"):
        listen_on("0.0.0.0:0", tls=None, plain_http=False)
    with listen_on("0.0.0.0:0", tls=None, plain_http=True) as found:
        assert found.getsockname()[1] > 0


def test_an_address_that_is_taken_is_refused() -> None:
    with listen_on("127.0.0.1:0", tls=None, plain_http=False) as first:
        port = first.getsockname()[1]
        with pytest.raises(Refusal, match=f"cannot listen on 127.0.0.1:{port}"):
            listen_on(f"127.0.0.1:{port}", tls=None, plain_http=False)


def test_sockets_meant_for_another_process_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_FDS", "1")
    monkeypatch.setenv("LISTEN_PID", str(os.getpid() + 1))
    assert passed_sockets() == []
    assert "LISTEN_FDS" not in os.environ


def test_both_doors_are_served(tmp_path: Path) -> None:
    with running(an_app(), tmp_path) as url:
        with local_client(tmp_path) as local:
            assert local.get("/api/v1/status").status_code == 200
        with remote_client(url, "good") as remote:
            assert remote.get("/api/v1/status").status_code == 200


def test_a_stop_answers_whoever_waits(tmp_path: Path) -> None:
    statuses: list[int] = []
    began = threading.Event()

    def wait() -> None:
        with local_client(tmp_path) as client:
            etag = client.get("/api/v1/tiers").headers["etag"]
            began.set()
            headers = {"if-none-match": etag, "prefer": "wait=60"}
            statuses.append(client.get("/api/v1/tiers", headers=headers).status_code)

    waiting = threading.Thread(target=wait)
    with running(an_app(), tmp_path):
        waiting.start()
        assert began.wait(TIMEOUT_S)
    waiting.join(TIMEOUT_S)
    assert statuses == [304]


def test_a_stop_ends_streams(tmp_path: Path) -> None:
    with running(an_app(), tmp_path), local_client(tmp_path) as client:
        stream = client.stream("GET", "/api/v1/events?follow=true")
        answer = stream.__enter__()
        next(answer.iter_raw())
    stream.__exit__(None, None, None)


def test_a_certificate_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.pem").write_text("nonsense")
    listen = Listen("127.0.0.1:0", certificate=tmp_path / "x.pem", key=tmp_path / "x.pem")
    with socket.socket() as sock, pytest.raises(Refusal, match="TLS certificate"):
        ApiServer(an_app(), Sockets(remote=[sock], tls=listen.tls))  # type: ignore[arg-type]  # any ASGI app


def test_a_request_that_is_no_http_harms_nobody(tmp_path: Path) -> None:
    with running(an_app(), tmp_path) as url:
        port = httpx.URL(url).port or 0
        for junk in (b"\x00" * 1000, b"GET / HTTP/9.9\r\n\r\n", b"GET " + b"/" * 100_000):
            with socket.create_connection(("127.0.0.1", port)) as sock:
                sock.sendall(junk)
        with remote_client(url, "good") as client:
            assert client.get("/healthz").status_code == 200

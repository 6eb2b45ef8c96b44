"""A controller on another machine: over HTTPS with a certificate that is checked, and a token."""

import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from metier.cli.client import Client, Request
from metier.cli.failure import UNREACHABLE, Failure
from metier.cli.state import remote
from metier.web.app import Parts, build_app
from metier.web.server import ApiServer, Listen, Sockets
from metier.web.sockets import listen_on
from tests.unit.web.fake_operations import FAKE_OPERATIONS
from tests.unit.web.running import TIMEOUT_S
from tests.unit.web.serving import a_site

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    chain, key = folder / "chain.pem", folder / "key.pem"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    words += ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    words += ["-keyout", str(key), "-out", str(chain)]
    subprocess.run(words, check=True, capture_output=True)
    return chain, key


@pytest.fixture
def url(certificate: tuple[Path, Path]) -> Iterator[str]:
    listen = Listen("127.0.0.1:0", *certificate)
    app = build_app(
        a_site(), lambda request: "ann" if "good" in str(request.headers) else None, Parts(FAKE_OPERATIONS)
    )
    with listen_on("127.0.0.1:0", tls=listen.tls, plain_http=False) as listening:
        server = ApiServer(app, Sockets(remote=[listening], tls=listen.tls))
        thread = threading.Thread(target=server.run)
        thread.start()
        yield f"https://localhost:{listening.getsockname()[1]}"
        server.stop()
        thread.join(TIMEOUT_S)


STATUS = Request("GET", "/api/v1/status")


def test_a_known_certificate_and_token_are_let_in(
    url: str, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    assert Client(remote(url, "good")).ask(STATUS).value["nodes"] == 3
    with pytest.raises(Failure, match="does not know who asks"):
        Client(remote(url, "bad")).ask(STATUS)


def test_an_unknown_certificate_gets_no_token(url: str) -> None:
    with pytest.raises(Failure, match="certificate verify failed") as caught:
        Client(remote(url, "good")).ask(STATUS)
    assert caught.value.exit_status == UNREACHABLE

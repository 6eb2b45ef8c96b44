"""A server is believed by an authority's word or its pinned certificate; every doubt says what to do."""

import socket
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from metier.domain.errors import Refusal, Refused, Unavailable, WrongUsage
from metier.drivers.certificate import (
    Advice,
    Certificate,
    Server,
    Trust,
    fetched,
    in_colons,
    thumbprint_of,
)
from metier.drivers.guide import InstalledDrivers
from tests.unit.drivers.tls import HOUR, TIMEOUT_S, YEAR, an_authority, paper, serving

ADVICE = Advice("set thumbprint={}", "set ca=FILE")
DAY = timedelta(days=1)


def refusal(trust: Trust) -> Refused:
    with pytest.raises(Refused) as caught:
        trust.connect(TIMEOUT_S)
    return caught.value


def trusting(server: Server, thumbprint: str = "", ca: str = "") -> Trust:
    return Trust(server, thumbprint, ca, ADVICE)


def test_an_authority_s_word_is_enough(tmp_path: Path) -> None:
    authority = an_authority()
    ca = tmp_path / "ca.pem"
    ca.write_bytes(authority.pem)
    with serving(paper(tmp_path, authority)) as running:
        trusting(running.server, ca=str(ca)).connect(TIMEOUT_S).close()


def test_without_anybody_s_word_the_thumbprint_is_named_and_nothing_is_said(tmp_path: Path) -> None:
    with serving(paper(tmp_path)) as running:
        error = refusal(trusting(running.server))
        seen = in_colons(fetched(running.server, TIMEOUT_S).thumbprint)
    assert f"cannot trust the certificate of {running.server.shown}: no authority vouches" in error.message
    assert error.message.endswith(f"its SHA-256 thumbprint is {seen}")
    assert f"set thumbprint={seen}" in error.remedy
    assert "set ca=FILE" in error.remedy
    assert not any(running.said)


def test_the_pinned_certificate_is_believed_though_it_has_expired(tmp_path: Path) -> None:
    with serving(paper(tmp_path, begins=-YEAR, ends=-DAY)) as running:
        seen = fetched(running.server, TIMEOUT_S)
        trusting(running.server, seen.thumbprint).connect(TIMEOUT_S).close()


def test_a_changed_certificate_names_both_and_warns(tmp_path: Path) -> None:
    with serving(paper(tmp_path)) as running:
        seen = in_colons(fetched(running.server, TIMEOUT_S).thumbprint)
        error = refusal(trusting(running.server, "ab" * 32))
    assert f"seen is {seen}, pinned is {in_colons('ab' * 32)}; this may be an attack" in error.message
    assert f"set thumbprint={seen}" in error.remedy
    assert not any(running.said), "whoever is not believed is told nothing"


@pytest.mark.parametrize(
    ("begins", "ends", "host", "said", "remedy"),
    [
        (-YEAR, -DAY, "127.0.0.1", "has expired on 20", "renew it on the server"),
        (DAY, YEAR, "127.0.0.1", "is not valid yet, but from 20", "clocks of both"),
        (
            -HOUR,
            YEAR,
            "esx-7.example",
            "is for esx-7.example, and not for 127.0.0.1",
            "a name that it is for",
        ),
    ],
)
def test_each_doubt_of_an_authority_s_word_has_its_remedy(
    tmp_path: Path, begins: timedelta, ends: timedelta, host: str, said: str, remedy: str
) -> None:
    authority = an_authority()
    ca = tmp_path / "ca.pem"
    ca.write_bytes(authority.pem)
    with serving(paper(tmp_path, authority, begins=begins, ends=ends, host=host)) as running:
        error = refusal(trusting(running.server, ca=str(ca)))
    assert said in error.message
    assert remedy in error.remedy
    assert "set thumbprint=" in error.remedy


def test_another_authority_s_certificate_is_doubted(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_bytes(an_authority().pem)
    with serving(paper(tmp_path, an_authority())) as running:
        assert f"that {ca} names" in refusal(trusting(running.server, ca=str(ca))).message


@pytest.mark.parametrize("text", ["", "no certificate"])
def test_authorities_that_cannot_be_read_are_named(tmp_path: Path, text: str) -> None:
    ca = tmp_path / "ca.pem"
    if text:
        ca.write_text(text)
    error = refusal(trusting(Server("127.0.0.1", 9, "https://esx-1/sdk"), ca=str(ca)))
    assert "cannot read the authorities' certificates for https://esx-1/sdk" in error.message
    assert str(ca) in error.remedy


def test_a_handshake_that_dribbles_ends_at_its_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        done = threading.Event()

        def dribble() -> None:
            connection, _ = listening.accept()
            with connection:
                # The header of a long record, then a byte of it now and then: never silent, never done.
                connection.sendall(b"\x16\x03\x03\x40\x00")
                while not done.wait(0.01):
                    try:
                        connection.sendall(b"\x02")
                    except OSError:
                        return

        thread = threading.Thread(target=dribble)
        thread.start()
        try:
            with pytest.raises(TimeoutError):
                fetched(Server("127.0.0.1", listening.getsockname()[1], "it"), 0.3)
        finally:
            done.set()
            thread.join(TIMEOUT_S)


def test_what_is_no_certificate_has_a_thumbprint_all_the_same() -> None:
    assert Certificate.read(b"garbage").subject == ""
    assert len(Certificate.read(b"").thumbprint) == 64


def test_what_a_certificate_says_cannot_steer_a_terminal(tmp_path: Path) -> None:
    with serving(paper(tmp_path, name="esx\x1b[2J")) as running:
        assert "\x1b" not in fetched(running.server, TIMEOUT_S).subject


@pytest.mark.parametrize("text", ["ab", "zz" * 32, "ab" * 20, " " + "ab" * 32])
def test_a_thumbprint_is_64_digits(text: str) -> None:
    with pytest.raises(ValueError, match="64 hexadecimal digits"):
        thumbprint_of(text)
    assert thumbprint_of(in_colons("ab" * 32)) == "ab" * 32


def test_the_guide_shows_a_certificate_and_the_next_command(tmp_path: Path) -> None:
    with serving(paper(tmp_path)) as running:
        row = InstalledDrivers().certificate(running.server.shown)
    assert (row["subject"], row["issuer"], row["names"]) == ("CN=esx-1", "CN=esx-1", ["127.0.0.1"])
    assert row["is_vouched_for"] is False
    assert "no authority vouches" in row["doubt"]
    assert f"--url {running.server.shown} --vmm-setting thumbprint={row['thumbprint']}" in row["next"]


@pytest.mark.parametrize(
    "url", ["http://x", "https://", "x", "https://u:p@x/", "https://x:99999/", "https://\n"]
)
def test_the_guide_takes_https_urls_alone(url: str) -> None:
    with pytest.raises(WrongUsage) as caught:
        InstalledDrivers().certificate(url)
    assert "u:p" not in caught.value.message


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(Unavailable, match=f"https://127.0.0.1:{port}"):
        InstalledDrivers().certificate(f"https://127.0.0.1:{port}")


def test_a_simulated_site_looks_at_nobody() -> None:
    with pytest.raises(Refusal, match="reaches nothing real"):
        InstalledDrivers(is_simulated=True).certificate("https://esx-1/sdk")

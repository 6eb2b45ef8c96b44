"""Fetching by HTTP(S), from a server that breaks off, lies and sends in circles."""

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from metier.domain.errors import MetierError, NoSpace, Refusal, WrongUsage, chain
from metier.domain.ids import ImageRef
from metier.domain.image import ImageType
from metier.drivers.formats.api import Limits
from metier.matrix.api import Answers, Cancelled, ImportOrder
from metier.matrix.download import SYNC_BYTES, Download, file_name
from metier.matrix.fetching import PAUSES_S, PAUSES_UNHEARD_S, Means, located, released, sweep
from metier.matrix.progress import Progress
from metier.matrix.space import Space
from tests.builders import NOW
from tests.unit.matrix.web_server import Handler, Site, certificate, serving

MIB = 1 << 20
REF = ImageRef("web", "1")
CONTENT = os.urandom(3 * MIB + 17)
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Fetcher:
    """Fetches for one order again and again, as a controller does that was restarted."""

    def __init__(self, folder: Path) -> None:
        self.downloads = folder / "downloads"
        self.steps: list[str] = []
        self.waited_s = 0.0
        self.free_bytes = 1 << 40
        self.limits = Limits()
        self.tls: Any = None
        self.report: Callable[[str, int, int | None], None] = lambda *_: None

    def fetch(self, url: str, sha256: str = "") -> bytes:
        order = ImportOrder(REF, url, NOW, Answers(type=ImageType.LINUX), sha256=sha256)
        space = Space(self.downloads, lambda _: self.free_bytes)
        means = Means(self.tls, self._wait)
        path = located(order, self.downloads, space, self.limits, Progress(self._report), means)
        return path.read_bytes()

    def _report(self, step: str, done: int, total: int | None) -> None:
        if step not in self.steps[-1:]:
            self.steps.append(step)
        self.report(step, done, total)

    def _wait(self, seconds: float) -> None:
        self.waited_s += seconds


@pytest.fixture
def fetcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fetcher:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return Fetcher(tmp_path)


@pytest.fixture
def site() -> Iterator[Site]:
    with serving(CONTENT) as site:
        yield site


def test_a_file_is_fetched_whole_with_its_name(fetcher: Fetcher, site: Site) -> None:
    assert fetcher.fetch(f"{site.url}/images/web%20server.ova?key=secret", DIGEST) == CONTENT
    (path,) = (fetcher.downloads / "web@1").glob("[!.]*")
    assert (path.name, path.stat().st_mode & 0o777) == ("web-server.ova", 0o600)
    assert fetcher.steps == ["fetching web-server.ova"]
    assert not any(b"secret" in file.read_bytes() for file in path.parent.glob(".*"))


def test_a_path_of_this_machine_is_taken_where_it_is(fetcher: Fetcher, tmp_path: Path) -> None:
    (tmp_path / "disk.raw").write_bytes(CONTENT)
    assert fetcher.fetch(str(tmp_path / "disk.raw"), DIGEST) == CONTENT
    with pytest.raises(Refusal, match="its SHA-256 is"):
        fetcher.fetch(str(tmp_path / "disk.raw"), "0" * 64)
    with pytest.raises(Refusal, match="no plain file"):
        fetcher.fetch(str(tmp_path), DIGEST)
    assert not fetcher.downloads.exists()


# --- broken connections ---------------------------------------------------------------------


def test_a_broken_connection_costs_only_the_rest(fetcher: Fetcher, site: Site) -> None:
    site.breaks = [MIB, MIB + 5]
    assert fetcher.fetch(f"{site.url}/web.ova", DIGEST) == CONTENT
    assert [ask for _, ask in site.asked] == ["", f"bytes={MIB}-", f"bytes={2 * MIB + 5}-"]
    assert fetcher.waited_s == 2 * PAUSES_S[0]
    assert "1.0 MiB of 3.0 MiB" in fetcher.steps[1]


def test_a_server_without_ranges_is_begun_again(fetcher: Fetcher, site: Site) -> None:
    site.breaks, site.ranges = [MIB], False
    assert fetcher.fetch(f"{site.url}/web.ova", DIGEST) == CONTENT


def test_a_server_that_gives_no_validator_is_begun_again(fetcher: Fetcher, site: Site) -> None:
    site.breaks, site.etag = [MIB], 'W/"weak"'
    assert fetcher.fetch(f"{site.url}/web.ova", DIGEST) == CONTENT
    assert [ask for _, ask in site.asked] == ["", ""]


def test_what_changed_meanwhile_is_begun_again_and_said(fetcher: Fetcher, site: Site) -> None:
    site.breaks = [MIB]

    def change(step: str, *_: object) -> None:
        if step.startswith("trying again"):
            site.content, site.etag = CONTENT[::-1], '"two"'

    fetcher.report = change
    assert fetcher.fetch(f"{site.url}/web.ova") == CONTENT[::-1]
    assert "fetching it from the beginning: it changed meanwhile" in fetcher.steps


def test_a_server_that_sends_the_rest_of_something_else_is_not_believed(fetcher: Fetcher, site: Site) -> None:
    def lie(handler: Handler) -> None:
        if not handler.headers.get("Range"):
            handler.serve()
            return
        site.scripted.clear()
        handler.answer(206, {"ETag": '"two"', "Content-Range": f"bytes {MIB}-{2 * MIB - 1}/{2 * MIB}"})

    site.breaks, site.scripted = [MIB], {"/web.ova": lie}
    assert fetcher.fetch(f"{site.url}/web.ova", DIGEST) == CONTENT


def test_a_server_that_always_breaks_off_is_given_up(fetcher: Fetcher, site: Site) -> None:
    site.breaks = [1000] * 100
    with pytest.raises(Refusal, match="failed 9 times in a row") as refused:
        fetcher.fetch(f"{site.url}/web.ova?key=secret")
    assert fetcher.waited_s == sum(PAUSES_S)
    assert "secret" not in chain(refused.value)


def test_one_that_never_gives_ranges_and_always_breaks_is_given_up(fetcher: Fetcher, site: Site) -> None:
    site.breaks, site.ranges = [2 * MIB, MIB] * 50, False
    with pytest.raises(Refusal, match="in a row"):
        fetcher.fetch(f"{site.url}/web.ova")


def test_one_that_changes_all_the_time_is_given_up(fetcher: Fetcher, site: Site) -> None:
    site.breaks = [MIB] * 100
    fetcher.report = lambda *_: setattr(site, "etag", f'"{len(site.asked)}"')
    with pytest.raises(Refusal, match="changed meanwhile, 4 times"):
        fetcher.fetch(f"{site.url}/web.ova")


def test_nobody_there_is_told_soon(fetcher: Fetcher, site: Site) -> None:
    with serving() as other:
        pass
    with pytest.raises(Refusal, match="failed 3 times"):
        fetcher.fetch(f"{other.url}/web.ova")
    assert fetcher.waited_s == sum(PAUSES_UNHEARD_S)


def test_a_busy_server_is_asked_again(fetcher: Fetcher, site: Site) -> None:
    def busy(handler: Handler) -> None:
        site.scripted.clear()
        handler.answer(503, {"Content-Length": "0"})

    site.scripted["/web.ova"] = busy
    assert fetcher.fetch(f"{site.url}/web.ova", DIGEST) == CONTENT


# --- restarts -------------------------------------------------------------------------------


class Killed(BaseException):
    """The process ends here."""


def _killed_at(size: int) -> Callable[[str, int, int | None], None]:
    def report(step: str, done: int, _total: int | None) -> None:
        if done >= size and step.startswith("fetching"):
            raise Killed

    return report


def test_a_restarted_controller_goes_on_where_it_was(fetcher: Fetcher, site: Site) -> None:
    fetcher.report = _killed_at(2 * MIB)
    with pytest.raises(Killed):
        fetcher.fetch(f"{site.url}/web.ova")
    fetcher.report = lambda *_: None
    assert fetcher.fetch(f"{site.url}/web.ova", DIGEST) == CONTENT
    assert [bool(ask) for _, ask in site.asked] == [False, True]
    assert "reading what was fetched of web.ova before" in fetcher.steps


def test_what_was_whole_before_a_restart_is_not_asked_for_again(fetcher: Fetcher, site: Site) -> None:
    fetcher.fetch(f"{site.url}/web.ova")
    assert fetcher.fetch(f"{site.url}/web.ova", DIGEST) == CONTENT
    assert len(site.asked) == 1


@pytest.mark.parametrize("harm", ["state", "bytes", "url"])
def test_what_cannot_be_gone_on_with_is_begun_again(fetcher: Fetcher, site: Site, harm: str) -> None:
    fetcher.report = _killed_at(2 * MIB)
    with pytest.raises(Killed):
        fetcher.fetch(f"{site.url}/{'other' if harm == 'url' else 'web'}.ova")
    fetcher.report = lambda *_: None
    folder = fetcher.downloads / "web@1"
    if harm == "state":
        (folder / ".state.json").write_text("[1, 2]")
    if harm == "bytes":
        os.truncate(folder / "web.ova", 5)
    assert fetcher.fetch(f"{site.url}/web.ova", DIGEST) == CONTENT


def test_bytes_that_a_power_failure_lost_are_fetched_again(tmp_path: Path) -> None:
    download = Download("http://x/web.ova", tmp_path)
    download.begin('"one"', SYNC_BYTES + 10)
    download.write(b"a" * SYNC_BYTES)
    download.write(b"lost soon")
    download.close()
    again = Download("http://x/web.ova", tmp_path)
    again.take_up(lambda _: None)
    assert again.done == SYNC_BYTES
    assert again.digest() == hashlib.sha256(b"a" * SYNC_BYTES).hexdigest()
    again.close()


# --- what is refused ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "ftp://x/y",
        "file:///etc/passwd",
        "http:///x",
        "https://ann:pw@x/y",
        "http://x y/",
        "gopher:x",
        "x" * 5000,
    ],
)
def test_urls_that_are_none_of_ours_are_refused(fetcher: Fetcher, url: str) -> None:
    from metier.domain.url import checked_url

    with pytest.raises(WrongUsage) as refused:
        checked_url(url)
    assert "pw" not in chain(refused.value)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("/web.ova", "leads on more than 5 times"),
        ("file:///etc/passwd", "no http"),
        ("http://ann:pw@localhost/", "no http"),
        ("", "to nowhere"),
    ],
)
def test_redirections_do_not_lead_in_circles_or_astray(
    fetcher: Fetcher, site: Site, target: str, said: str
) -> None:
    site.scripted["/web.ova"] = lambda handler: handler.answer(
        302, {"Location": target, "Content-Length": "0"}
    )
    with pytest.raises(Refusal, match=said):
        fetcher.fetch(f"{site.url}/web.ova")
    assert len(site.asked) <= 6


def test_a_redirection_is_followed(fetcher: Fetcher, site: Site) -> None:
    site.scripted["/web.ova"] = lambda handler: handler.answer(
        307, {"Location": "there", "Content-Length": "0"}
    )
    assert fetcher.fetch(f"{site.url}/web.ova", DIGEST) == CONTENT


def test_a_certificate_is_checked_and_never_left_behind(fetcher: Fetcher, site: Site, tmp_path: Path) -> None:
    server, client = certificate(tmp_path)
    with serving(CONTENT, server) as safe:
        with pytest.raises(Refusal, match="certificate is not good"):
            fetcher.fetch(f"{safe.url}/web.ova")
        fetcher.tls = client
        assert fetcher.fetch(f"{safe.url}/web.ova", DIGEST) == CONTENT
        safe.scripted["/away"] = lambda handler: handler.answer(
            302, {"Location": f"{site.url}/web.ova", "Content-Length": "0"}
        )
        with pytest.raises(Refusal, match="from https to http://localhost"):
            fetcher.fetch(f"{safe.url}/away")
    assert not site.asked


@pytest.mark.parametrize("status", [401, 403, 404, 410, 418, 999])
def test_what_is_not_given_is_told(fetcher: Fetcher, site: Site, status: int) -> None:
    site.scripted["/web.ova"] = lambda handler: handler.answer(status, {"Content-Length": "0"})
    with pytest.raises(Refusal, match=f"it answers {status}") as refused:
        fetcher.fetch(f"{site.url}/web.ova")
    assert ("curl" in refused.value.remedy) is (status in (401, 403))


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({}, "does not tell its length"),
        ({"Content-Length": "5", "Content-Encoding": "gzip"}, "nobody asked for that"),
        ({"Content-Length": str(1 << 50)}, "larger than 16.0 TiB"),
    ],
)
def test_odd_answers_are_refused(fetcher: Fetcher, site: Site, headers: dict[str, str], said: str) -> None:
    site.scripted["/web.ova"] = lambda handler: handler.answer(200, headers, b"hello")
    with pytest.raises(Refusal, match=said):
        fetcher.fetch(f"{site.url}/web.ova")


def test_a_length_that_is_not_told_is_taken_with_a_digest(fetcher: Fetcher, site: Site) -> None:
    site.scripted["/web.ova"] = lambda handler: handler.answer(200, {}, CONTENT)
    assert fetcher.fetch(f"{site.url}/web.ova", DIGEST) == CONTENT


def test_a_file_in_chunks_is_taken_and_bounded(fetcher: Fetcher, site: Site) -> None:
    def chunked(handler: Handler) -> None:
        body = b"".join(b"%x\r\n%s\r\n" % (MIB, CONTENT[at : at + MIB]) for at in (0, MIB)) + b"0\r\n\r\n"
        handler.answer(200, {"Transfer-Encoding": "chunked"}, body)

    site.scripted["/web.ova"] = chunked
    assert fetcher.fetch(f"{site.url}/web.ova") == CONTENT[: 2 * MIB]
    (fetcher.downloads / "web@1" / ".state.json").unlink()
    fetcher.limits = Limits(archive_bytes=MIB)
    with pytest.raises(Refusal, match="larger than"):
        fetcher.fetch(f"{site.url}/web.ova")


def test_room_is_proved_by_the_length_that_is_told(fetcher: Fetcher, site: Site) -> None:
    fetcher.free_bytes = 17 * MIB
    with pytest.raises(NoSpace, match=r"3\.0 MiB"):
        fetcher.fetch(f"{site.url}/web.ova")
    assert not (fetcher.downloads / "web@1" / "web.ova").read_bytes()


def test_another_digest_is_refused_with_both(fetcher: Fetcher, site: Site) -> None:
    with pytest.raises(Refusal, match=f"{DIGEST}, and {'0' * 64} was named"):
        fetcher.fetch(f"{site.url}/web.ova", "0" * 64)


# --- ends -----------------------------------------------------------------------------------


class Stopping(Cancelled):
    """The controller is about to end."""


@pytest.mark.parametrize(
    ("error", "stays"), [(None, False), (Refusal("no"), False), (Cancelled(), False), (Stopping(), True)]
)
def test_a_download_goes_with_its_import(
    fetcher: Fetcher, site: Site, error: Exception | None, stays: bool
) -> None:
    order = ImportOrder(REF, site.url, NOW, Answers(type=ImageType.LINUX))

    def work() -> None:
        with released(order, fetcher.downloads):
            fetcher.fetch(f"{site.url}/web.ova")
            if error is not None:
                raise error

    if error is None:
        work()
    else:
        with pytest.raises((MetierError, Cancelled)):
            work()
    assert (fetcher.downloads / "web@1").exists() is stays


def test_cancelling_is_heard_while_it_pauses(fetcher: Fetcher, site: Site) -> None:
    def report(step: str, *_: object) -> None:
        if fetcher.waited_s > 1:
            raise Cancelled

    site.breaks, fetcher.report = [10] * 9, report
    with pytest.raises(Cancelled):
        fetcher.fetch(f"{site.url}/web.ova")
    assert fetcher.waited_s == 1.5


def test_what_no_import_waits_for_is_swept(tmp_path: Path) -> None:
    for name in ("web@1", "web@2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").touch()
    assert sweep(tmp_path, [REF]) == ["download for web@2"]
    assert [path.name for path in tmp_path.iterdir()] == ["web@1"]
    assert sweep(tmp_path / "none", []) == []


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://x", "download"),
        ("https://x/", "download"),
        ("https://x/..", "download"),
        ("https://x/a%2F..%2Fb.ova", "a-..-b.ova"),
        ("https://x/.state.json", "state.json"),
        ("https://x/%00%ff.raw?y", "raw"),
        ("https://x/" + "a" * 300 + ".vmdk", "a" * 95 + ".vmdk"),
    ],
)
def test_names_are_fit_for_a_folder(url: str, name: str) -> None:
    assert file_name(url) == name

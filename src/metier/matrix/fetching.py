"""Where an import's bytes come from: a file or folder of this machine, or fetched by HTTP(S).

A broken connection or a restart of the controller costs only what was under way: what was
fetched stays in a folder of the import's own until the import has ended.
"""

import contextlib
import errno
import hashlib
import http.client
import shutil
import ssl
import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from metier.domain.errors import NoSpace, Refusal
from metier.domain.ids import ImageRef
from metier.domain.url import checked_url, is_url
from metier.drivers.formats.api import Limits, in_words
from metier.matrix.api import Cancelled, ImportOrder
from metier.matrix.download import SYNC_BYTES, Download
from metier.matrix.progress import Progress
from metier.matrix.space import Space
from metier.matrix.web import Asker, Broken, chunk_of, reach_of, status_words, validator_of

PAUSES_S = (1, 2, 5, 10, 20, 30, 60, 60)
"""Before each try after a failed one; a try that brings much begins them again."""

PAUSES_UNHEARD_S = PAUSES_S[:2]
"""The same while the other side has not answered once: its address may be wrong."""

RESTARTS = 3
"""How often what changed meanwhile is begun again."""

_CHUNK_BYTES = 1 << 20
# Less does not begin the pauses again: the other side might break off after each byte.
_MUCH_BYTES = 1 << 20
# How often a pause is told, and can be cancelled.
_LOOK_S = 0.5

_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_LOGIN = frozenset({401, 403, 407})


def wait_s(seconds: float) -> None:
    """Let real seconds pass."""
    threading.Event().wait(seconds)


def pause(seconds: float, wait: Callable[[float], None], progress: Progress) -> None:
    """Wait, telling it all the while, so that it can be cancelled."""
    for _ in range(int(seconds / _LOOK_S)):
        wait(_LOOK_S)
        progress.tell()


@dataclass(frozen=True, slots=True)
class Means:
    """What fetching reaches the world by.

    Attributes:
        tls: How servers are proved to be who they are; None for the system's certificates.
        wait: Lets so many seconds pass.
    """

    tls: ssl.SSLContext | None = None
    wait: Callable[[float], None] = wait_s


def located(
    order: ImportOrder,
    downloads: Path,
    space: Space,
    limits: Limits,
    progress: Progress,
    means: Means | None = None,
) -> Path:
    """Return where the bytes of an import are on this machine, fetched below `downloads` if need be.

    Raises:
        Refusal: They cannot be had, or are not what `order.sha256` says.
        NoSpace: There is not enough room for them.
    """
    if is_url(order.location):
        folder = downloads / str(order.ref)
        return Fetching(order.location, folder, space, limits, progress, means or Means()).run(order.sha256)
    path = Path(order.location)
    if order.sha256:
        _check_file(path, order.sha256, progress)
    return path


@contextlib.contextmanager
def released(order: ImportOrder, downloads: Path) -> Iterator[None]:
    """Remove what was fetched for an import once it has ended.

    It stays when a kind of `Cancelled` ends it, which means that the controller is about to
    end and will begin the import again; `Cancelled` itself means that somebody gave it up.
    """
    try:
        yield
    except Exception as error:  # whatever it was, the import has ended
        if not isinstance(error, Cancelled) or type(error) is Cancelled:
            _release(downloads, order.ref)
        raise
    _release(downloads, order.ref)


def sweep(downloads: Path, wanted: Collection[ImageRef]) -> list[str]:
    """Remove what was fetched for imports that nobody waits for any more; return what was removed."""
    kept = {str(ref) for ref in wanted}
    removed = []
    for folder in sorted(downloads.iterdir()) if downloads.is_dir() else ():
        if folder.name not in kept:
            shutil.rmtree(folder)
            removed.append(f"download for {folder.name}")
    return removed


def _release(downloads: Path, ref: ImageRef) -> None:
    shutil.rmtree(downloads / str(ref), ignore_errors=True)


class _Changed(Exception):
    """What was fetched so far is no part of what is there now."""


class Fetching:
    """One file on its way.

    Args:
        url: http or https; a redirection never leads from https to http.
        folder: This download's own; what an earlier run left in it is gone on with.
        space: Where the room for it is proved.
    """

    def __init__(
        self, url: str, folder: Path, space: Space, limits: Limits, progress: Progress, means: Means
    ) -> None:
        self._url = checked_url(url)
        self._asker = Asker(self._url, means.tls)
        self._folder, self._space, self._limits = folder, space, limits
        self._progress, self._wait = progress, means.wait
        self._heard = False
        self._restarts = 0

    def run(self, sha256: str = "") -> Path:
        """Fetch it whole and return it; on an error what was fetched stays for the next run.

        Args:
            sha256: What it must have, in hex; empty for anything.

        Raises:
            Refusal: The other side does not give it, breaks off again and again, or gave something else.
            NoSpace: It does not fit.
        """
        with contextlib.closing(Download(self._url, self._folder)) as download:
            try:
                self._complete(download, has_digest=bool(sha256))
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise NoSpace(f"cannot fetch {self._asker.shown}: the disk became full") from error
                raise
            _require_digest(self._asker.shown, download.digest(), sha256)
            return download.path

    def _complete(self, download: Download, *, has_digest: bool) -> None:
        """Try until all of it is there."""
        if download.kept:
            self._progress.begin(f"reading what was fetched of {download.path.name} before", download.kept)
            download.take_up(self._progress.reach)
        best, failures = download.done, 0
        while not download.state.is_whole:
            try:
                self._try(download, has_digest=has_digest)
            except _Changed as error:
                self._begin_again(download, str(error))
            except Broken as error:
                failures = 1 if download.done - best >= _MUCH_BYTES else failures + 1
                best = max(best, download.done)
                self._pause(download, failures, error)

    def _try(self, download: Download, *, has_digest: bool) -> None:
        """Ask once, and keep what comes."""
        start = download.done if download.state.validator else 0
        with self._asker.answer(start, download.state.validator) as answer:
            self._heard = True
            self._accept(answer, start, download, has_digest=has_digest)
            total = download.state.total
            if total is not None:
                self._space.require(total - download.done, f"fetch {self._asker.shown}")
            self._progress.begin(f"fetching {download.path.name}", total)
            self._progress.reach(download.done)
            try:
                self._store(answer, download)
            finally:
                download.sync()
        if total is not None and download.done < total:
            raise Broken(f"the connection ended after {in_words(download.done)} of {in_words(total)}")
        download.sync(is_whole=True)

    def _store(self, answer: http.client.HTTPResponse, download: Download) -> None:
        total, proved = download.state.total, download.done
        while chunk := chunk_of(answer, _CHUNK_BYTES):
            after = download.done + len(chunk)
            self._require_sane(after)
            if total is not None and after > total:
                raise _Changed("it is larger than it was")
            if total is None and after > proved:
                self._space.require(SYNC_BYTES, f"fetch {self._asker.shown}")
                proved = after + SYNC_BYTES - _CHUNK_BYTES
            download.write(chunk)
            self._progress.reach(download.done)

    def _accept(
        self, answer: http.client.HTTPResponse, start: int, download: Download, *, has_digest: bool
    ) -> None:
        """Look at what is coming, before any of it is kept."""
        if answer.status in _AGAIN:
            raise Broken(f"it answers {status_words(answer.status)}")
        if start and answer.status in (206, 416):
            self._accept_rest(answer, start, download)
            return
        if answer.status != 200:
            raise self._refusal(answer.status)
        if answer.headers.get("Content-Encoding", "identity") != "identity":
            raise Refusal(f"cannot fetch {self._asker.shown}: it comes packed, and nobody asked for that")
        if answer.length is None and not answer.chunked and not has_digest:
            raise Refusal(
                f"cannot fetch {self._asker.shown}: it does not tell its length: "
                "an early end would not be seen",
                remedy="name its digest with --sha256",
            )
        self._require_sane(answer.length or 0)
        validator = validator_of(answer)
        if start and validator != download.state.validator:
            self._count_restart("it changed meanwhile")
        download.begin(validator, answer.length)

    def _accept_rest(self, answer: http.client.HTTPResponse, start: int, download: Download) -> None:
        reach, validator, total = reach_of(answer), validator_of(answer), download.state.total
        is_same = not validator or validator == download.state.validator
        if reach is None or reach.start != start or not is_same:
            raise _Changed("it changed meanwhile")
        if total is not None and reach.total not in (None, total):
            raise _Changed("its length changed meanwhile")

    def _begin_again(self, download: Download, why: str) -> None:
        self._count_restart(why)
        download.begin("", None)

    def _count_restart(self, why: str) -> None:
        self._restarts += 1
        if self._restarts > RESTARTS:
            raise Refusal(
                f"cannot fetch {self._asker.shown}: {why}, {self._restarts} times",
                remedy="fetch it when it is not being written any more",
            )
        self._progress.begin(f"fetching it from the beginning: {why}")

    def _pause(self, download: Download, failures: int, error: Broken) -> None:
        """Wait before the next try, unless it is the last one."""
        waits = PAUSES_S if self._heard else PAUSES_UNHEARD_S
        if failures > len(waits):
            raise Refusal(
                f"cannot fetch {self._asker.shown}: it failed {failures} times in a row, "
                f"with {in_words(download.done)} there",
                code="fetch-failed",
                remedy="see whether the controller's machine reaches that address, then import again",
            ) from error
        step = f"trying again soon to fetch {download.path.name}: {error}"
        self._progress.begin(step, download.state.total)
        self._progress.reach(download.done)
        pause(waits[failures - 1], self._wait, self._progress)

    def _require_sane(self, size: int) -> None:
        most = self._limits.archive_bytes
        if size > most:
            raise Refusal(f"cannot fetch {self._asker.shown}: it is larger than {in_words(most)}, the limit")

    def _refusal(self, status: int) -> Refusal:
        remedy = "look whether the address is right"
        if status in _LOGIN:
            remedy = "fetch it yourself and pass it on: `curl … | metier image import --file -`"
        return Refusal(f"cannot fetch {self._asker.shown}: it answers {status_words(status)}", remedy=remedy)


def _check_file(path: Path, sha256: str, progress: Progress) -> None:
    if not path.is_file():
        raise Refusal(f"cannot compare {path.name} with a SHA-256: it is no plain file")
    progress.begin(f"reading {path.name}", path.stat().st_size)
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(4 * _CHUNK_BYTES):
            digest.update(chunk)
            progress.advance(len(chunk))
    _require_digest(path.name, digest.hexdigest(), sha256)


def _require_digest(name: str, found: str, wanted: str) -> None:
    if wanted and found != wanted.lower():
        raise Refusal(
            f"cannot use {name}: its SHA-256 is {found}, and {wanted.lower()} was named",
            code="content-differs",
            remedy="look whether the file or the digest is out of date",
        )

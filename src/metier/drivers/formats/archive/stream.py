"""Archive bytes as a stream: read, hashed and inflated in threads of their own, in bounded memory."""

import bz2
import contextlib
import hashlib
import lzma
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Protocol

from metier.domain.errors import Refusal
from metier.drivers.formats.api import Window
from metier.drivers.formats.inflate import DAMAGED, GZIP, inflater

CHUNK_BYTES = 256 * 1024

# Chunks that one thread may be ahead of the next: 2 MiB keep both busy.
_AHEAD = 8


# What `xz -9` needs, twice; a file can ask for 4 GiB.
_XZ_MEMORY_BYTES = 128 << 20

_PACK_AGAIN = "copy or make the archive again"


def raw_chunks(
    window: Window, on_read: Callable[[int], None], digest: "hashlib._Hash | None" = None
) -> Iterator[bytes]:
    """Yield a file's bytes, feeding `digest`; `on_read` gets the size of each chunk."""
    at = 0
    while chunk := window.read(CHUNK_BYTES, at):
        if digest is not None:
            digest.update(chunk)
        on_read(len(chunk))
        at += len(chunk)
        yield chunk


def inflated(chunks: Iterator[bytes], name: str) -> Iterator[bytes]:
    """Yield what gzip `chunks` unpack to, in pieces of at most `CHUNK_BYTES`; checks the checksums.

    Raises:
        Refusal: It is damaged, or ends in the middle.
    """
    engine = inflater(GZIP)
    for chunk in chunks:
        data = chunk
        while data or engine.unconsumed_tail:
            if engine.eof:
                # Zeros may fill up a gzip file; anything else must be another gzip stream.
                data = data.lstrip(b"\0")
                if not data:
                    break
                engine = inflater(GZIP)
            try:
                piece = engine.decompress(data, CHUNK_BYTES)
            except DAMAGED as error:
                raise Refusal(f"cannot read {name}: its gzip data is damaged", remedy=_PACK_AGAIN) from error
            data = engine.unused_data if engine.eof else engine.unconsumed_tail
            if piece:
                yield piece
    if not engine.eof:
        raise truncated(name, "its gzip data ends too early")


class _Engine(Protocol):
    """What bz2 and lzma have in common."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


def from_bzip2(chunks: Iterator[bytes], name: str) -> Iterator[bytes]:
    """Yield what bzip2 `chunks` unpack to; as `inflated`."""
    return _decompressed(chunks, name, "bzip2", bz2.BZ2Decompressor)


def from_xz(chunks: Iterator[bytes], name: str) -> Iterator[bytes]:
    """Yield what xz `chunks` unpack to, within 128 MiB of memory; as `inflated`."""
    return _decompressed(chunks, name, "xz", lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, _XZ_MEMORY_BYTES))


def _decompressed(
    chunks: Iterator[bytes], name: str, kind: str, make: Callable[[], _Engine]
) -> Iterator[bytes]:
    engine = make()
    for chunk in chunks:
        data = chunk
        while data or not (engine.eof or engine.needs_input):
            if engine.eof:
                data = data.lstrip(b"\0")  # as for gzip
                if not data:
                    break
                engine = make()
            try:
                piece = engine.decompress(data, CHUNK_BYTES)
            except (OSError, lzma.LZMAError, ValueError, EOFError) as error:
                raise Refusal(
                    f"cannot read {name}: its {kind} data is damaged", remedy=_PACK_AGAIN
                ) from error
            data = engine.unused_data if engine.eof else b""
            if piece:
                yield piece
    if not engine.eof:
        raise truncated(name, f"its {kind} data ends too early")


def peeked(chunks: Iterator[bytes], size: int) -> tuple[bytes, Iterator[bytes]]:
    """Return the first `size` bytes, fewer at the end, and chunks that begin with them again."""
    first = b""
    for chunk in chunks:
        first += chunk
        if len(first) >= size:
            break
    return first[:size], _with_first(first, chunks)


def _with_first(first: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from chunks


def truncated(name: str, how: str) -> Refusal:
    """Return the refusal of an archive that lacks its end."""
    return Refusal(f"cannot read {name}: {how}, so part of it is missing", remedy=_PACK_AGAIN)


@contextlib.contextmanager
def in_background(source: Iterator[bytes]) -> Iterator[Iterator[bytes]]:
    """Run `source` in a thread, a few chunks ahead of who reads; the thread ends with the context."""
    waiting: queue.Queue[bytes | BaseException | None] = queue.Queue(_AHEAD)
    stopped = threading.Event()

    def put(item: bytes | BaseException | None) -> None:
        while not stopped.is_set():
            with contextlib.suppress(queue.Full):
                waiting.put(item, timeout=0.1)
                return

    def run() -> None:
        try:
            for chunk in source:
                put(chunk)
                if stopped.is_set():
                    return
            put(None)
        except BaseException as error:  # whatever it is, the reader must get it
            put(error)

    thread = threading.Thread(target=run, name="archive-stream", daemon=True)
    thread.start()
    try:
        yield _received(waiting)
    finally:
        stopped.set()
        thread.join()


def _received(waiting: "queue.Queue[bytes | BaseException | None]") -> Iterator[bytes]:
    while (item := waiting.get()) is not None:
        if isinstance(item, BaseException):
            raise item
        yield item


class ByteStream:
    """Takes exact numbers of bytes from chunks of any size."""

    def __init__(self, chunks: Iterator[bytes], name: str, limit_bytes: int) -> None:
        self._chunks = chunks
        self._name = name
        self._left_bytes = limit_bytes
        self._limit_bytes = limit_bytes
        self._held = b""
        self._at = 0

    def take(self, size: int, what: str) -> bytes:
        """Return the next `size` bytes; raises Refusal when they end within `what`."""
        return b"".join(self.pieces(size, what))

    def pieces(self, size: int, what: str) -> Iterator[bytes]:
        """Yield the next `size` bytes in pieces as they come."""
        while size:
            if self._at == len(self._held) and not self._refill():
                raise truncated(self._name, f"it ends within {what}")
            piece = self._held[self._at : self._at + size]
            self._at += len(piece)
            size -= len(piece)
            yield piece

    def rest(self) -> Iterator[bytes]:
        """Yield all that is left."""
        while not self.at_end():
            piece, self._at = self._held[self._at :], len(self._held)
            yield piece

    def at_end(self) -> bool:
        """Tell whether nothing is left."""
        return self._at == len(self._held) and not self._refill()

    def drain(self, most_bytes: int) -> bool:
        """Read to the end, so that checksums are checked; tells whether at most `most_bytes` were left."""
        left = most_bytes
        while not self.at_end():
            left -= len(self._held) - self._at
            self._at = len(self._held)
            if left < 0:
                return False
        return True

    def _refill(self) -> bool:
        self._held, self._at = next(self._chunks, b""), 0
        self._left_bytes -= len(self._held)
        if self._left_bytes < 0:
            most = f"more than {self._limit_bytes} bytes, which is the limit"
            raise Refusal(f"cannot read {self._name}: it unpacks to {most}")
        return bool(self._held)


class PlacedStream:
    """Reads an archive where it lies: as `ByteStream`, but what nobody wants to see is not read."""

    def __init__(self, window: Window, name: str) -> None:
        self.at = 0
        self._window = window
        self._name = name

    def take(self, size: int, what: str) -> bytes:
        """Return the next `size` bytes; raises Refusal when they end within `what`."""
        data = self._window.read(size, self.at)
        if len(data) < size:
            raise truncated(self._name, f"it ends within {what}")
        self.at += size
        return data

    def skip(self, size: int, what: str) -> None:
        """Leave out the next `size` bytes; raises Refusal when they end within `what`."""
        if size > self._window.size_bytes - self.at:
            raise truncated(self._name, f"it ends within {what}")
        self.at += size

    def at_end(self) -> bool:
        """Tell whether nothing is left."""
        return self.at >= self._window.size_bytes

    def drain(self, most_bytes: int) -> bool:
        """Tell whether at most `most_bytes` are left."""
        return self._window.size_bytes - self.at <= most_bytes

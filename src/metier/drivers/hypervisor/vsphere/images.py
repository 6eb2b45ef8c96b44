"""Puts images on a datastore: each disk once, whichever host, driver or controller asks first.

images/KEY/disk0.vmdk          disk 0 of an image, flat: shared by all its hosts, never written to
images/KEY/disk0.DIGEST.whole  it is whole, and of which content: it is not sent again after a break
images/KEY/complete            made last: every disk of the image is whole
images/KEY/copy.N              a claim, while it is copied or deleted
"""

import hashlib
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial

from metier.domain.errors import Refusal, Refused
from metier.drivers.formats.api import BLOCK_BYTES, BlockReader
from metier.drivers.hypervisor.api import DiskContent, ImageSource
from metier.drivers.hypervisor.names import file_word
from metier.drivers.hypervisor.vsphere.claim import Claim, claims_in
from metier.drivers.hypervisor.vsphere.files import BROKEN, Files
from metier.drivers.hypervisor.vsphere.host import free_bytes
from metier.drivers.hypervisor.vsphere.transfer import Sent

# Left free on the datastore: one that is filled to the brim stops the guests that write to it.
RESERVE_BYTES = 64 << 20
COMPLETE = "complete"

_SECTOR_BYTES = 512
_RUN_BLOCKS = 16
_ZEROS = bytes(_RUN_BLOCKS * BLOCK_BYTES)


class UnreadableDisk(Exception):
    """A disk of the image matrix is not what it should be."""


class Images:
    """The images on one datastore, for the length of one attempt."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def ensure(self, source: ImageSource) -> tuple[str, ...]:
        """Make sure that the image's disks are here, each once, and return their paths.

        Of many callers in this process one copies, and the others wait for it.

        Raises:
            Unavailable: Another controller is copying it.
            Refused: There is no room, or other content of that name with instances on it.
        """
        # Looked for before waiting: one that is here does not wait for another that is being copied.
        if not self.is_whole(source):
            with self._files.alone("images"):
                if not self.is_whole(source):
                    self._copy(source)
        return tuple(self._files.path(f"{_folder(source.key)}/{_parts(n)[0]}") for n in _numbers(source))

    def is_whole(self, source: ImageSource) -> bool:
        """Whether all disks of just this content are here."""
        names = self._files.names(_folder(source.key)) or ()
        return COMPLETE in names and all(_sign(source, number) in names for number in _numbers(source))

    def drop(self, key: str) -> None:
        """Delete an image's disks, unless an instance stands on one of them."""
        folder = _folder(key)
        with self._files.alone("images"), self._files.alone("instances"):
            names = self._files.names(folder)
            if names is None or self._has_children(key):
                return
            with Claim(self._files, folder).held():
                # The sign goes first: what a deletion that breaks off leaves is not a whole image.
                if COMPLETE in names:
                    self._files.delete(f"{folder}/{COMPLETE}")
                self._files.drop_folder(folder)

    def _has_children(self, key: str) -> bool:
        return self._files.has_below("instances", f"of.{key}")

    # --- copying ------------------------------------------------------------

    def _copy(self, source: ImageSource) -> None:
        folder = _folder(source.key)
        claim = Claim(self._files, folder)
        with claim.held():
            if self.is_whole(source):
                return  # another controller was faster
            whole = self._tidied(source)
            # What is half there when it is refused would take the very room that may be lacking.
            with self._files.dropped_if_it_fails(folder, Refused):
                self._require_room(source, whole)
                self._upload(source, whole, claim)
                self._files.put_small(f"{folder}/{COMPLETE}", b"whole\n")

    def _tidied(self, source: ImageSource) -> Collection[int]:
        """Delete what is no whole disk of this very content; returns the numbers of those that are."""
        folder = _folder(source.key)
        names = self._files.names(folder) or ()
        # A sign is believed only beside the disk that it is for.
        whole = {
            number for number in _numbers(source) if {_sign(source, number), *_parts(number)} <= set(names)
        }
        kept = {name for number in whole for name in (*_parts(number), _sign(source, number))}
        kept.update(claims_in(names))
        stale = [name for name in names if name not in kept]
        if stale and self._has_children(source.key):
            raise Refused(
                f"cannot put image {source.key} on datastore {self._files.datastore.name}: other content of"
                " that name is there, and instances stand on it",
                remedy="discard those instances, or publish the image as another version",
            )
        # The sign goes first: what a deletion that breaks off leaves is not a whole image.
        for name in sorted(stale, key=lambda name: name != COMPLETE):
            self._files.delete(f"{folder}/{name}")
        return whole

    def _upload(self, source: ImageSource, whole: Collection[int], claim: Claim) -> None:
        sizes = [disk.capacity_bytes for disk in source.machine.disks]
        done = sum(sizes[number] for number in whole)
        for number in _numbers(source):
            if number not in whole:
                with self._taken_back(source, number, claim):
                    self._upload_disk(source, number, partial(self._tell, done, sum(sizes)))
                    claim.require()
                    sign = f"{_folder(source.key)}/{_sign(source, number)}"
                    self._files.put_small(sign, f"{source.machine.disks[number].digest}\n".encode())
                done += sizes[number]

    def _upload_disk(self, source: ImageSource, number: int, tell: Sent) -> None:
        folder, size = _folder(source.key), source.machine.disks[number].capacity_bytes
        name, extent = _parts(number)
        with _unreadable_is_refused(source.key, number), _opened(source.disks[number]) as content:
            if content.capacity_bytes != size:
                raise UnreadableDisk(
                    f"it is a disk of {content.capacity_bytes} bytes and should be one of {size}"
                )
            self._files.transfers.put(self._files.file(f"{folder}/{extent}"), pieces(content), size, tell)
        self._files.put_small(f"{folder}/{name}", descriptor(extent, size))

    @contextmanager
    def _taken_back(self, source: ImageSource, number: int, claim: Claim) -> Iterator[None]:
        """Leave nothing of a disk that did not become whole, as far as the host still answers."""
        try:
            yield
        except BaseException:  # whatever it is, the room must not stay taken
            with suppress(*BROKEN):
                claim.require()
                # The sign first: it may have been written although its answer was lost.
                for name in (_sign(source, number), *_parts(number)):
                    self._files.delete(f"{_folder(source.key)}/{name}")
            raise

    def _tell(self, before: int, total: int, sent: int) -> None:
        self._files.attempt.tell(before + sent, total)

    def _require_room(self, source: ImageSource, whole: Collection[int]) -> None:
        datastore = self._files.datastore
        sizes = [disk.capacity_bytes for disk in source.machine.disks]
        needed = sum(size for number, size in enumerate(sizes) if number not in whole)
        free = free_bytes(self._files.endpoint, datastore)
        if needed + RESERVE_BYTES > free:
            raise Refused(
                f"cannot put image {source.key} on datastore {datastore.name} of {self._files.place.node}:"
                f" it takes {_mib(needed)} MiB, {_mib(RESERVE_BYTES)} MiB stay in reserve, {_mib(free)} MiB"
                " are free",
                remedy="make room on the datastore, or delete image versions and instances that nobody needs",
            )


def pieces(disk: BlockReader) -> Iterator[bytes]:
    """Yield all that the guest sees, from the beginning to the end, in pieces of at most 1 MiB."""
    end = -(-disk.capacity_bytes // BLOCK_BYTES)
    left = disk.capacity_bytes
    for piece in _whole_blocks(disk, end):
        yield piece if len(piece) <= left else piece[:left]
        left -= len(piece)


def _whole_blocks(disk: BlockReader, end: int) -> Iterator[bytes]:
    run: list[bytes] = []
    at = 0  # the block that would go on with the run
    for number, block in _read(disk, end):
        if run and (number != at or len(run) == _RUN_BLOCKS):
            yield b"".join(run)
            run = []
        yield from _zeros(number - at)
        run.append(block)
        at = number + 1
    if run:
        yield b"".join(run)
    yield from _zeros(end - at)


def _read(disk: BlockReader, end: int) -> Iterator[tuple[int, bytes]]:
    try:
        yield from disk.blocks(0, end)
    except OSError as error:
        raise UnreadableDisk("it cannot be read on") from error


def _zeros(blocks: int) -> Iterator[bytes]:
    for _ in range(blocks // _RUN_BLOCKS):
        yield _ZEROS
    if rest := blocks % _RUN_BLOCKS:
        yield _ZEROS[: rest * BLOCK_BYTES]


def descriptor(extent: str, size: int) -> bytes:
    """Return the descriptor of a flat disk, as ESX attaches it.

    Args:
        extent: Name of the file with its content, in the same folder.
        size: What the guest sees, in bytes; what is beyond the last whole sector is not seen.
    """
    sectors = size // _SECTOR_BYTES
    cylinders = max(1, min(65535, sectors // (255 * 63)))
    return (
        "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\n"
        f'createType="vmfs"\n\n# Extent description\nRW {sectors} VMFS "{extent}"\n\n'
        '# The Disk Data Base\n#DDB\n\nddb.virtualHWVersion = "8"\nddb.adapterType = "lsilogic"\n'
        f'ddb.geometry.cylinders = "{cylinders}"\nddb.geometry.heads = "255"\n'
        'ddb.geometry.sectors = "63"\n'
    ).encode()


@contextmanager
def _opened(content: DiskContent) -> Iterator[BlockReader]:
    with ExitStack() as stack:
        try:
            disk = stack.enter_context(content.reader())
        except OSError as error:
            raise UnreadableDisk("it cannot be opened") from error
        yield disk


def _folder(key: str) -> str:
    return f"images/{file_word(key, 'image')}"


def _numbers(source: ImageSource) -> range:
    return range(len(source.disks))


def _parts(number: int) -> tuple[str, str]:
    """Return the names of a flat disk's descriptor and of the file with its content."""
    return f"disk{number}.vmdk", f"disk{number}-flat.vmdk"


def _sign(source: ImageSource, number: int) -> str:
    """Return the name of the file that says that a disk is whole and what it holds."""
    disk = source.machine.disks[number]
    digest = hashlib.sha256(f"{disk.capacity_bytes} {disk.digest}".encode()).hexdigest()
    return f"disk{number}.{digest[:16]}.whole"


@contextmanager
def _unreadable_is_refused(key: str, number: int) -> Iterator[None]:
    """Turn a disk of the image matrix that cannot be read into a driver's error."""
    try:
        yield
    except (Refusal, UnreadableDisk) as error:
        raise Refused(
            f"cannot read disk {number} of image {key}", remedy="run `metier image verify`"
        ) from error


def _mib(size: int) -> int:
    """Return a size in MiB, rounded up."""
    return -(-size >> 20)

"""What lies in Metier's folder on a host: images, instances and personalities.

image-KEY.N.qcow2      disk N of an image: shared, and never written to
image-KEY.complete     made last: every disk of the image is whole
instance-ID.N.qcow2    disk N of an instance, a child of the image's
instance-ID.nvram      what its UEFI firmware remembers
seed-VMn.iso           personality of what runs on VM n
"""

import io
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from metier.domain.errors import Refused, Unavailable
from metier.domain.image import Disk
from metier.drivers.hypervisor.api import ImageSource
from metier.drivers.hypervisor.libvirt.attempt import Attempt
from metier.drivers.hypervisor.libvirt.configuration import Place, file_word
from metier.drivers.hypervisor.libvirt.pool import Pool

# Left free on the host: a store filled to the brim stops the guests that write to it.
RESERVE_BYTES = 64 << 20
# QEMU may run as a user of its own, and only ever reads what instances stand on.
_IMAGE_MODE = "0644"
_OWN_MODE = "0600"

_copying: dict[tuple[str, str, str], threading.Lock] = {}
_copying_lock = threading.Lock()


class Store:
    """The disks of one host node, through one connection, for the length of one attempt."""

    def __init__(self, connection: Any, place: Place, attempt: Attempt) -> None:
        self._place = place
        self._attempt = attempt
        self._pool = Pool(connection, place, attempt)

    def free_bytes(self) -> int:
        """Return what the folder's file system has left."""
        return self._pool.free_bytes()

    # --- images -------------------------------------------------------------

    def ensure_image(self, source: ImageSource) -> tuple[str, ...]:
        """Make sure that the image's disks are here, each once, and return their paths on the host.

        Of many callers in this process one copies, and the others wait for it.
        """
        key = file_word(source.key, "image")
        disks = {_disk_name("image", key, number): disk for number, disk in enumerate(source.machine.disks)}
        with self._alone_with_image(key):
            if self._pool.find(_complete_name(key)) is None:
                self._copy(key, {name: source.folder / disk.file for name, disk in disks.items()})
        return tuple(self._pool.path(name) for name in disks)

    def drop_image(self, key: str) -> None:
        """Delete an image's disks, unless an instance stands on one of them."""
        with self._alone_with_image(file_word(key, "image")):
            disks = self._disks("image", key)
            if self._has_children(disks):
                return
            # The sign goes first: what a deletion that breaks off leaves is not a whole image.
            for name in (_complete_name(key), *disks):
                self._pool.delete(name)

    def _copy(self, key: str, files: dict[str, Path]) -> None:
        leftovers = self._disks("image", key)
        if not self._has_children(leftovers):  # children are made of whole images only: it lacks but the sign
            for name in leftovers:
                self._pool.delete(name)
            self._upload(key, files)
        self._pool.create(_complete_name(key), 0, _IMAGE_MODE)

    def _upload(self, key: str, files: dict[str, Path]) -> None:
        total, done = sum(_size(key, file) for file in files.values()), 0
        self._require_room(key, total)
        for name, file in files.items():
            size = _size(key, file)
            with _unreadable_is_refused(key, file), file.open("rb") as content:
                self._pool.upload(name, content, size, _IMAGE_MODE, partial(self._tell, done, total))
            done += size

    def _tell(self, before: int, total: int, sent: int) -> None:
        self._attempt.tell(before + sent, total)

    def _require_room(self, key: str, needed: int) -> None:
        free = self.free_bytes()
        if needed + RESERVE_BYTES > free:
            raise Refused(
                f"cannot put image {key} into {self._place.store} of {self._place.node}: it takes"
                f" {_mib(needed)} MiB, {_mib(RESERVE_BYTES)} MiB stay in reserve, {_mib(free)} MiB are free",
                remedy="make room on the host, or delete image versions and instances that nobody needs",
            )

    @contextmanager
    def _alone_with_image(self, key: str) -> Iterator[None]:
        whose = (self._place.url, self._place.store, key)
        with _copying_lock:
            lock = _copying.setdefault(whose, threading.Lock())
        if not lock.acquire(timeout=self._attempt.left_s):
            raise Unavailable(f"cannot {self._attempt.what}: image {key} is still being copied to the host")
        try:
            yield
        finally:
            lock.release()

    def _has_children(self, images: Sequence[str]) -> bool:
        """Whether an instance stands on one of these disks; costs one call an instance."""
        paths = {self._pool.path(name) for name in images}
        instances = (
            name for name in self._pool.names() if name.startswith("instance-") and name.endswith(".qcow2")
        )
        return bool(paths) and any(self._pool.parent(name) in paths for name in instances)

    # --- instances ----------------------------------------------------------

    def ensure_instance(
        self, instance: str, disks: Sequence[Disk], parents: Sequence[str]
    ) -> tuple[str, ...]:
        """Make what is missing of an instance's disks, as children of `parents`; return their paths."""
        file_word(instance, "instance")
        paths = []
        for number, (disk, parent) in enumerate(zip(disks, parents, strict=True)):
            name = _disk_name("instance", instance, number)
            volume = self._pool.find(name)
            if volume is None:
                volume = self._pool.create(name, disk.capacity_bytes, _OWN_MODE, form="qcow2", parent=parent)
            paths.append(str(volume.path()))
        return tuple(paths)

    def drop_instance(self, instance: str) -> None:
        """Delete the disks of an instance; nothing happens if there are none."""
        for name in (*self._disks("instance", file_word(instance, "instance")), _nvram_name(instance)):
            self._pool.delete(name)

    def nvram_path(self, instance: str) -> str:
        """Return where the firmware of an instance keeps its variables; made by libvirt when it starts."""
        return f"{self._place.store}/{_nvram_name(instance)}"

    # --- personalities ------------------------------------------------------

    def put_seed(self, number: int, content: bytes) -> str:
        """Write the personality of VM `number` anew, and return its path on the host."""
        name = _seed_name(number)
        self._pool.delete(name)
        self._pool.upload(name, io.BytesIO(content), len(content), _OWN_MODE)
        return self._pool.path(name)

    def drop_seed(self, number: int) -> None:
        """Delete the personality of VM `number`, if there is one."""
        self._pool.delete(_seed_name(number))

    def _disks(self, kind: str, word: str) -> list[str]:
        """Return the names of the disks that there are of one image or instance."""
        pattern = re.compile(rf"{kind}-{re.escape(word)}\.[0-9]+\.qcow2")
        return sorted(name for name in self._pool.names() if pattern.fullmatch(name))


def _disk_name(kind: str, word: str, number: int) -> str:
    return f"{kind}-{word}.{number}.qcow2"


def _complete_name(key: str) -> str:
    return f"image-{key}.complete"


def _nvram_name(instance: str) -> str:
    return f"instance-{instance}.nvram"


def _seed_name(number: int) -> str:
    return f"seed-VM{number}.iso"


def _size(key: str, file: Path) -> int:
    with _unreadable_is_refused(key, file):
        return file.stat().st_size


@contextmanager
def _unreadable_is_refused(key: str, file: Path) -> Iterator[None]:
    """Turn a file of the image matrix that cannot be read into a driver's error."""
    try:
        yield
    except OSError as error:
        raise Refused(
            f"cannot read image {key}: {file.name}: {error.strerror}", remedy="run metier image verify"
        ) from None


def _mib(size: int) -> int:
    """Return a size in MiB, rounded up."""
    return -(-size >> 20)

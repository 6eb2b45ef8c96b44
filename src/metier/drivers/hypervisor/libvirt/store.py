"""What lies in Metier's folder on a host: images, instances and personalities.

images/KEY.N.qcow2      disk N of an image: shared, and never written to
images/KEY.complete     made last: every disk of the image is whole
instances/ID.N.qcow2    disk N of an instance, a child of the image's
instances/ID.nvram      what its UEFI firmware remembers
seeds/VMn.iso           personality of what runs on VM n
"""

import io
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from metier.domain.errors import Refusal, Refused, Unavailable
from metier.domain.host_details import StoreRoom
from metier.domain.image import Disk
from metier.drivers.hypervisor.api import DiskContent, ImageSource
from metier.drivers.hypervisor.libvirt.attempt import Attempt
from metier.drivers.hypervisor.libvirt.configuration import Place
from metier.drivers.hypervisor.libvirt.pool import Pool, Stored
from metier.drivers.hypervisor.local_file import new_file, unwritable_is_told
from metier.drivers.hypervisor.names import file_word

# Left free on the host: a store filled to the brim stops the guests that write to it.
RESERVE_BYTES = 64 << 20
# QEMU may run as a user of its own, and only ever reads what instances stand on.
_IMAGE_MODE = "0644"
_OWN_MODE = "0600"

_locks: dict[tuple[str, str, str], threading.Lock] = {}
_locks_lock = threading.Lock()


class Store:
    """The disks of one host node, through one connection, for the length of one attempt.

    Args:
        connection: libvirt's, for all that is short.
        another: Opens one more connection, for a transfer.
        place: Whose store it is.
        attempt: The call that it is used for.
    """

    def __init__(
        self,
        connection: Any,
        another: Callable[[Attempt], AbstractContextManager[Any]],
        place: Place,
        attempt: Attempt,
    ) -> None:
        self._connection = connection
        self._another = another
        self._place = place
        self._attempt = attempt

    def room(self) -> StoreRoom:
        """Return the store as a place on the host."""
        pool = self._pool("images")
        return StoreRoom(
            name=self._place.store,
            capacity_gib=pool.capacity_bytes() >> 30,
            free_gib=pool.free_bytes() >> 30,
            is_used=True,
        )

    # --- images -------------------------------------------------------------

    def ensure_image(self, source: ImageSource) -> tuple[str, ...]:
        """Make sure that the image's disks are here, each once, and return their paths on the host.

        Of many callers in this process one copies, and the others wait for it.
        """
        key = file_word(source.key, "image")
        names = [_disk_name(key, number) for number in range(len(source.machine.disks))]
        # Looked for before waiting: one that is here does not wait for another that is being copied.
        if not self._is_complete(key):
            with self._alone("images"):
                if not self._is_complete(key):
                    self._copy(key, dict(zip(names, source.disks, strict=True)))
        return tuple(self._image_path(name) for name in names)

    def drop_image(self, key: str) -> None:
        """Delete an image's disks, unless an instance stands on one of them."""
        with self._alone("images"):
            pool = self._pool("images")
            disks = _disks(pool, file_word(key, "image"))
            with self._alone("instances"):
                if self._has_children(disks):
                    return
                # The sign goes first: what a deletion that breaks off leaves is not a whole image.
                pool.delete(_complete_name(key))
            for name in disks:
                pool.delete(name)

    def _is_complete(self, key: str) -> bool:
        return self._pool("images").find(_complete_name(key)) is not None

    def _image_path(self, name: str) -> str:
        return f"{self._place.folder('images')}/{name}"

    def _copy(self, key: str, disks: dict[str, DiskContent]) -> None:
        pool = self._pool("images")
        leftovers = _disks(pool, key)
        if not self._has_children(leftovers):  # children are of whole images: it lacks but the sign
            for name in leftovers:
                pool.delete(name)
            self._require_room(pool, key, sum(disk.size_bytes for disk in disks.values()))
            with self._attempt.resting(), self._another(self._attempt) as connection:
                self._upload(Pool(connection, self._place, "images", self._attempt), key, disks)
        pool.create(_complete_name(key), 0, _IMAGE_MODE)

    def _upload(self, pool: Pool, key: str, disks: dict[str, DiskContent]) -> None:
        done, total = 0, sum(disk.size_bytes for disk in disks.values())
        for name, disk in disks.items():
            with _unreadable_is_refused(key, name), disk.open() as content:
                pool.upload(name, content, disk.size_bytes, _IMAGE_MODE, partial(self._tell, done, total))
            done += disk.size_bytes

    def _tell(self, before: int, total: int, sent: int) -> None:
        self._attempt.tell(before + sent, total)

    def _require_room(self, pool: Pool, key: str, needed: int) -> None:
        free = pool.free_bytes()
        if needed + RESERVE_BYTES > free:
            raise Refused(
                f"cannot put image {key} into {self._place.store} of {self._place.node}: it takes"
                f" {_mib(needed)} MiB, {_mib(RESERVE_BYTES)} MiB stay in reserve, {_mib(free)} MiB are free",
                remedy="make room on the host, or delete image versions and instances that nobody needs",
            )

    def _has_children(self, disks: Sequence[str]) -> bool:
        """Whether an instance stands on one of these disks of images; costs two calls an instance."""
        paths = {self._image_path(name) for name in disks}
        if not paths:
            return False
        instances = self._pool("instances")
        return any(instances.parent(name) in paths for name in instances.names() if name.endswith(".qcow2"))

    # --- instances ----------------------------------------------------------

    def ensure_instance(self, instance: str, image: ImageSource, parents: Sequence[str]) -> tuple[str, ...]:
        """Make what is missing of an instance's disks, as children of the image's; return their paths."""
        word = file_word(instance, "instance")
        with self._alone("instances"):
            if not self._is_complete(image.key):
                raise Unavailable(f"cannot {self._attempt.what}: image {image.key} was deleted meanwhile")
            return self._children(word, image.machine.disks, parents)

    def _children(self, word: str, disks: Sequence[Disk], parents: Sequence[str]) -> tuple[str, ...]:
        pool = self._pool("instances")
        paths = []
        for number, (disk, parent) in enumerate(zip(disks, parents, strict=True)):
            name = _disk_name(word, number)
            volume = pool.find(name)
            if volume is None:
                volume = pool.create(name, disk.capacity_bytes, _OWN_MODE, form="qcow2", parent=parent)
            paths.append(str(volume.path()))
        return tuple(paths)

    def drop_instance(self, instance: str) -> None:
        """Delete the disks of an instance; nothing happens if there are none."""
        pool, word = self._pool("instances"), file_word(instance, "instance")
        for name in (*_disks(pool, word), _nvram_name(word)):
            pool.delete(name)

    def instance_disks(self, instance: str) -> tuple[Stored, ...]:
        """Return what there is of an instance's disks, in the guest's order."""
        pool, word = self._pool("instances"), file_word(instance, "instance")
        names = (_disk_name(word, number) for number in range(len(_disks(pool, word))))
        return tuple(stored for name in names if (stored := pool.stored(name)) is not None)

    def download(self, disks: Sequence[Stored], files: Sequence[Path]) -> None:
        """Copy disks of instances to new files here.

        Raises:
            NoSpace: There is no room here.
            Refused: A file cannot be written.
        """
        done, total = 0, sum(disk.size_bytes for disk in disks)
        with ExitStack() as opened:
            # All are made before the first byte comes: a caller who left clears a folder that stays empty.
            contents = [opened.enter_context(new_file(file)) for file in files]
            with self._attempt.resting(), self._another(self._attempt) as connection:
                pool = Pool(connection, self._place, "instances", self._attempt)
                for disk, content in zip(disks, contents, strict=True):
                    with unwritable_is_told(Path(content.name)):
                        pool.download(disk, content, partial(self._tell, done, total))
                    done += disk.size_bytes

    def nvram_path(self, instance: str) -> str:
        """Return where the firmware of an instance keeps its variables; made by libvirt when it starts."""
        return f"{self._place.folder('instances')}/{_nvram_name(instance)}"

    # --- personalities ------------------------------------------------------

    def put_seed(self, number: int, content: bytes) -> str:
        """Write the personality of VM `number` anew, and return its path on the host."""
        name = _seed_name(number)
        with self._alone("seeds"), self._another(self._attempt) as connection:
            pool = Pool(connection, self._place, "seeds", self._attempt)
            pool.delete(name)
            pool.upload(name, io.BytesIO(content), len(content), _OWN_MODE)
        return f"{self._place.folder('seeds')}/{name}"

    def drop_seed(self, number: int) -> None:
        """Delete the personality of VM `number`, if there is one."""
        with self._alone("seeds"):
            self._pool("seeds").delete(_seed_name(number))

    # --- both ---------------------------------------------------------------

    def _pool(self, part: str) -> Pool:
        return Pool(self._connection, self._place, part, self._attempt)

    @contextmanager
    def _alone(self, part: str) -> Iterator[None]:
        """Keep other calls of this process out of one part of this store."""
        whose = (self._place.url, self._place.store, part)
        with _locks_lock:
            lock = _locks.setdefault(whose, threading.Lock())
        with self._attempt.resting():
            is_mine = lock.acquire(timeout=self._attempt.left_s)
        if not is_mine:
            raise Unavailable(f"cannot {self._attempt.what}: another copy to {self._place.node} is under way")
        try:
            yield
        finally:
            lock.release()


def _disks(pool: Pool, word: str) -> list[str]:
    """Return the names of the disks that there are of one image or instance."""
    pattern = re.compile(rf"{re.escape(word)}\.[0-9]+\.qcow2")
    return sorted(name for name in pool.names() if pattern.fullmatch(name))


def _disk_name(word: str, number: int) -> str:
    return f"{word}.{number}.qcow2"


def _complete_name(key: str) -> str:
    return f"{key}.complete"


def _nvram_name(instance: str) -> str:
    return f"{instance}.nvram"


def _seed_name(number: int) -> str:
    return f"VM{number}.iso"


@contextmanager
def _unreadable_is_refused(key: str, name: str) -> Iterator[None]:
    """Turn a disk of the image matrix that cannot be read into a driver's error."""
    try:
        yield
    except (OSError, Refusal) as error:
        raise Refused(
            f"cannot read disk {name} of image {key}", remedy="run `metier image verify`"
        ) from error


def _mib(size: int) -> int:
    """Return a size in MiB, rounded up."""
    return -(-size >> 20)

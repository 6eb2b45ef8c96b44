"""A folder of Metier's on a host, as a libvirt storage pool: reached the same near and far.

libvirt reads a pool's folder anew, in its own time, after every upload into it, and
may then lose sight of a volume that is just being made.  So what is uploaded lies in
other pools than the instances, one upload goes into a pool at a time, and a new
volume is looked up only after the folder was read once more.
"""

import xml.etree.ElementTree as ET
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO

import libvirt

from metier.domain.errors import OutcomeUnknown, Refused
from metier.drivers.hypervisor.libvirt.attempt import Attempt
from metier.drivers.hypervisor.libvirt.configuration import Place
from metier.drivers.hypervisor.libvirt.faults import code

Tell = Callable[[int], None]
"""Called with the bytes sent so far."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A volume as it was at one moment; one that is equal later was not written to meanwhile.

    Attributes:
        size_bytes: The length of its file.
        changed: When it was last written to, in the host's words.
        parent: Path of what it is a child of, if it is.
    """

    name: str
    path: str
    size_bytes: int
    changed: str
    parent: str | None


# The largest piece that every libvirt peer takes in one message.
_PIECE_BYTES = 256 * 1024 - 24
_ZEROS = bytes(_PIECE_BYTES)
# What a stream's receiver gets instead of bytes where a hole begins.
_HOLE = -3
# Others on the host may pass through the folder to files that they are let into by name, and not list it.
_FOLDER_MODE = "0711"


class Pool:
    """One part of a host's store for the length of one attempt; made when it is missing."""

    def __init__(self, connection: Any, place: Place, part: str, attempt: Attempt) -> None:
        self._connection = connection
        self._attempt = attempt
        self._pool = _opened(connection, place, part, attempt)
        self._read_anew()

    def _read_anew(self) -> None:
        # Refused while a volume is being made or filled; what libvirt knows is good enough then.
        with suppress(libvirt.libvirtError):
            self._pool.refresh(0)

    def free_bytes(self) -> int:
        """Return what the folder's file system has left."""
        return int(self._pool.info()[3])

    def capacity_bytes(self) -> int:
        """Return the size of the folder's file system."""
        return int(self._pool.info()[1])

    def find(self, name: str) -> Any | None:
        """Return a volume, or None if there is none of this name."""
        try:
            return self._pool.storageVolLookupByName(name)
        except libvirt.libvirtError as error:
            if code(error) == libvirt.VIR_ERR_NO_STORAGE_VOL:
                return None
            raise

    def names(self) -> tuple[str, ...]:
        """Return the names of all files, in one call: listing names alone takes two and may miss some."""
        return tuple(volume.name() for volume in self._pool.listAllVolumes(0))

    def parent(self, name: str) -> str | None:
        """Return the path of what a volume is a child of; None if it is none, or gone."""
        volume = self.find(name)
        if volume is None:
            return None
        try:
            return ET.fromstring(volume.XMLDesc(0)).findtext("backingStore/path")
        except libvirt.libvirtError as error:
            if code(error) == libvirt.VIR_ERR_NO_STORAGE_VOL:
                return None
            raise

    def stored(self, name: str) -> Stored | None:
        """Return a volume as it is now; None if there is none."""
        volume = self.find(name)
        if volume is None:
            return None
        tree = ET.fromstring(volume.XMLDesc(0))
        changed = tree.findtext("target/timestamps/mtime", "")
        return Stored(name, str(volume.path()), _length(volume), changed, tree.findtext("backingStore/path"))

    def create(
        self, name: str, capacity: int, mode: str, *, form: str = "raw", parent: str | None = None
    ) -> Any:
        """Make an empty volume, or with `parent` (a path) a child of a qcow2 disk."""
        volume = ET.Element("volume")
        ET.SubElement(volume, "name").text = name
        ET.SubElement(volume, "capacity", {"unit": "bytes"}).text = str(capacity)
        ET.SubElement(volume, "allocation", {"unit": "bytes"}).text = "0"
        target = ET.SubElement(volume, "target")
        ET.SubElement(target, "format", {"type": form})
        ET.SubElement(ET.SubElement(target, "permissions"), "mode").text = mode
        if form == "qcow2":
            # The format's second version; libvirt would make the first for readers of before 2011.
            ET.SubElement(target, "compat").text = "1.1"
        if parent is not None:
            backing = ET.SubElement(volume, "backingStore")
            ET.SubElement(backing, "path").text = parent
            ET.SubElement(backing, "format", {"type": "qcow2"})
        self._attempt.begin()
        return self._pool.createXML(ET.tostring(volume, encoding="unicode"), 0)

    def delete(self, name: str) -> None:
        """Delete a volume; nothing happens if there is none."""
        volume = self.find(name)
        if volume is not None:
            self._attempt.begin()
            volume.delete(0)

    def upload(self, name: str, content: BinaryIO, size: int, mode: str, tell: Tell | None = None) -> None:
        """Make a volume of `size` bytes of `content`, whole or not at all."""
        self.create(name, size, mode)
        self._read_anew()
        volume = self._pool.storageVolLookupByName(name)
        try:
            self._send(volume, content, size, tell)
            # The length of the file, whatever libvirt takes its content for.
            if _length(volume) != size:
                raise OutcomeUnknown(f"cannot {self._attempt.what}: {name} arrived with another size")
        except BaseException:  # whatever it is, no part of a volume stays
            with suppress(libvirt.libvirtError):
                volume.delete(0)
            raise

    def _send(self, volume: Any, content: BinaryIO, size: int, tell: Tell | None) -> None:
        stream = self._connection.newStream(0)
        volume.upload(stream, 0, size, 0)
        try:
            sent = 0
            while sent < size:
                self._attempt.check()
                piece = content.read(min(_PIECE_BYTES, size - sent))
                if not piece:
                    raise Refused(f"cannot {self._attempt.what}: a file became shorter while it was copied")
                _send_all(stream, piece)
                sent += len(piece)
                if tell is not None:
                    tell(sent)
            stream.finish()
        except BaseException:  # whatever it is, the host is told that no more comes
            with suppress(libvirt.libvirtError):
                stream.abort()
            raise

    def download(self, disk: Stored, content: BinaryIO, tell: Tell) -> None:
        """Copy a volume into an empty file; its holes, and what is all zeros, become holes.

        Raises:
            Refused: It is longer or shorter than it was.
            OSError: The file cannot be written.
        """
        volume = self._pool.storageVolLookupByName(disk.name)
        stream, is_sparse = self._opened_to_read(volume)
        try:
            length = self._receive(stream, content, disk, tell, is_sparse=is_sparse)
            if length != disk.size_bytes:
                raise Refused(f"cannot {self._attempt.what}: {disk.name} became shorter while it was copied")
            stream.finish()
        except BaseException:  # whatever it is, the host is told that no more is wanted
            with suppress(libvirt.libvirtError):
                stream.abort()
            raise
        content.truncate(length)
        content.flush()

    def _opened_to_read(self, volume: Any) -> tuple[Any, bool]:
        """Return a stream of all of a volume, and whether holes come as such: older hosts cannot."""
        stream = self._connection.newStream(0)
        try:
            volume.download(stream, 0, 0, libvirt.VIR_STORAGE_VOL_DOWNLOAD_SPARSE_STREAM)
        except libvirt.libvirtError:
            stream = self._connection.newStream(0)
            volume.download(stream, 0, 0, 0)
            return stream, False
        return stream, True

    def _receive(self, stream: Any, content: BinaryIO, disk: Stored, tell: Tell, *, is_sparse: bool) -> int:
        """Write what a stream brings at its place; returns how long it was, holes included."""
        flags = libvirt.VIR_STREAM_RECV_STOP_AT_HOLE if is_sparse else 0
        at = 0
        while True:
            self._attempt.check()
            piece = stream.recvFlags(_PIECE_BYTES, flags) if is_sparse else stream.recv(_PIECE_BYTES)
            if piece == b"":
                return at
            length = int(stream.recvHole()) if piece == _HOLE else len(piece)
            if length <= 0 or at + length > disk.size_bytes:
                raise Refused(f"cannot {self._attempt.what}: {disk.name} grew while it was copied")
            if piece != _HOLE and piece != _ZEROS[:length]:
                content.seek(at)
                content.write(piece)
            at += length
            tell(at)


def _length(volume: Any) -> int:
    """Return the length of a volume's file, whatever libvirt takes its content for."""
    return int(volume.infoFlags(libvirt.VIR_STORAGE_VOL_GET_PHYSICAL)[2])


def _send_all(stream: Any, piece: bytes) -> None:
    while piece:
        piece = piece[stream.send(piece) :]


def _opened(connection: Any, place: Place, part: str, attempt: Attempt) -> Any:
    """Return the running pool over one of Metier's folders."""
    try:
        pool = connection.storagePoolLookupByName(place.pool(part))
    except libvirt.libvirtError as error:
        if code(error) != libvirt.VIR_ERR_NO_STORAGE_POOL:
            raise
        attempt.begin()
        pool = connection.storagePoolDefineXML(_pool_xml(place, part), 0)
    _require_own(pool, place, part)
    if not pool.isActive():
        attempt.begin()
        for step, flags in ((pool.setAutostart, 1), (pool.build, 0), (pool.create, 0)):
            try:
                step(flags)
            except libvirt.libvirtError:
                if not pool.isActive():  # else another call was faster
                    raise
    return pool


def _require_own(pool: Any, place: Place, part: str) -> None:
    """Refuse a pool of our name that lies over another folder: it is not ours."""
    tree = ET.fromstring(pool.XMLDesc(0))
    path = tree.findtext("target/path")
    if tree.get("type") != "dir" or path != place.folder(part):
        raise Refused(
            f"cannot use {place.folder(part)} on {place.node}: its storage pool {place.pool(part)}"
            f" lies over {path}",
            remedy="change the node's store to match, or remove that pool if it is a leftover",
        )


def _pool_xml(place: Place, part: str) -> str:
    pool = ET.Element("pool", {"type": "dir"})
    ET.SubElement(pool, "name").text = place.pool(part)
    ET.SubElement(pool, "uuid").text = place.pool_id(part)
    target = ET.SubElement(pool, "target")
    ET.SubElement(target, "path").text = place.folder(part)
    ET.SubElement(ET.SubElement(target, "permissions"), "mode").text = _FOLDER_MODE
    return ET.tostring(pool, encoding="unicode")

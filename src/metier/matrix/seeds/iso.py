"""Small CD-ROMs: the same files always make the same bytes."""

import io
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

import pycdlib

_SECTOR_BYTES = 2048
_DESCRIPTORS_AT = 16
_PRIMARY, _JOLIET, _END = 1, 2, 255
_FOLDER = 0x02

# Where a volume descriptor holds its four dates, of 17 bytes each, and its root folder's record.
_VOLUME_DATES, _ROOT_RECORD = 813, 156
_THE_DATE = b"2000010100000000\0"
# The same day as folders write it: years since 1900, month, day, hour, minute, second, zone.
_THE_DAY = bytes((100, 1, 1, 0, 0, 0, 0))
# Names of one byte that mean the folder itself and the one above.
_DOTS = (b"\0", b"\1")


def iso_image(label: str, files: Mapping[str, bytes]) -> bytes:
    """Return an ISO 9660 image with Joliet and Rock Ridge names; the same files give the same bytes.

    Args:
        label: Of the volume; up to 16 characters.
        files: Content by path from the root, without a slash in front; folders follow from the paths.
    """
    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3, joliet=3, rock_ridge="1.09", vol_ident=label)
    short: dict[PurePosixPath, str] = {PurePosixPath(): ""}
    for path, content in files.items():
        name = PurePosixPath(path)
        _add_folders(iso, name.parent, short)
        iso.add_fp(
            io.BytesIO(content),
            len(content),
            f"{short[name.parent]}/FILE{len(short)}.;1",
            rr_name=name.name,
            joliet_path=f"/{path}",
            file_mode=0o100444,
        )
        short[name] = ""
    written = io.BytesIO()
    iso.write_fp(written)
    iso.close()
    return _undated(written.getvalue())


def _add_folders(iso: pycdlib.PyCdlib, folder: PurePosixPath, short: dict[PurePosixPath, str]) -> None:
    """Make a folder and those above it, as far as they are missing; `short` has their ISO 9660 paths."""
    if folder in short:
        return
    _add_folders(iso, folder.parent, short)
    path = f"{short[folder.parent]}/DIR{len(short)}"
    iso.add_directory(path, rr_name=folder.name, joliet_path=f"/{folder}", file_mode=0o040555)
    short[folder] = path


# --- dates: pycdlib writes the time of day, and a seed is compared by its bytes ------------------


def _undated(iso: bytes) -> bytes:
    """Set every date on the medium to the same day, so that equal seeds are equal bytes."""
    image = bytearray(iso)
    for descriptor in _volume_descriptors(image):
        for at in range(descriptor + _VOLUME_DATES, descriptor + _VOLUME_DATES + 4 * 17, 17):
            image[at : at + 17] = _THE_DATE
        _undate_folder(image, descriptor + _ROOT_RECORD)
    return bytes(image)


def _volume_descriptors(image: bytearray) -> Iterator[int]:
    at = _DESCRIPTORS_AT * _SECTOR_BYTES
    while image[at] != _END:
        if image[at] in (_PRIMARY, _JOLIET):
            yield at
        at += _SECTOR_BYTES


def _undate_folder(image: bytearray, record: int) -> None:
    """Set the dates of a folder that a record tells of, and of all in it."""
    _set_record_date(image, record)
    extent = int.from_bytes(image[record + 2 : record + 6], "little") * _SECTOR_BYTES
    length = int.from_bytes(image[record + 10 : record + 14], "little")
    for inner in _records(image, extent, extent + length):
        is_folder, name = (
            image[inner + 25] & _FOLDER,
            bytes(image[inner + 33 : inner + 33 + image[inner + 32]]),
        )
        if is_folder and name not in _DOTS:
            _undate_folder(image, inner)
        else:
            _set_record_date(image, inner)


def _records(image: bytearray, at: int, end: int) -> Iterator[int]:
    """Yield where the records of a folder begin; none crosses the end of a sector."""
    while at < end:
        if image[at]:
            yield at
            at += image[at]
        else:
            at += _SECTOR_BYTES - at % _SECTOR_BYTES


def _set_record_date(image: bytearray, record: int) -> None:
    """Set the date in a folder's record, and those in the Rock Ridge entry that repeats it."""
    image[record + 18 : record + 25] = _THE_DAY
    name_length = image[record + 32]
    at = record + 33 + name_length + (1 - name_length % 2)
    end = record + image[record]
    while at + 4 <= end and image[at + 2]:
        if image[at : at + 2] == b"TF":
            # Signature, length, version, flags; then dates of seven bytes each.
            for date in range(at + 5, at + image[at + 2] - 6, 7):
                image[date : date + 7] = _THE_DAY
        at += image[at + 2]

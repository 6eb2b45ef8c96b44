"""The boot record of a guest's disk."""

import struct

import pytest

from metier.lab.disk import MIB, boot_record, syslinux_config, uefi_files
from metier.lab.errors import LabError


def test_one_active_partition_fills_the_disk_after_the_first_mebibyte() -> None:
    record = boot_record(b"\xfa" * 440, 48 * MIB)
    active, kind, start, sectors = struct.unpack_from("<B3xB3xII", record, 446)
    assert (active, kind, start, sectors) == (0x80, 0xEF, 2048, 47 * 2048)
    assert record[:440] == b"\xfa" * 440
    assert record[462:510] == bytes(48)
    assert record[510:] == b"\x55\xaa"
    assert len(record) == 512


def test_a_big_disk_has_a_partition_that_fat16_can_hold() -> None:
    (sectors,) = struct.unpack_from("<I", boot_record(b"", 5000 * MIB), 458)
    assert sectors == 255 * 2048


def test_boot_code_that_would_cover_the_table_is_refused() -> None:
    with pytest.raises(LabError, match="it has 441 bytes, a boot record holds 440"):
        boot_record(bytes(441), 48 * MIB)


def test_both_loaders_pass_the_same_arguments() -> None:
    assert "  APPEND console=ttyS0\n" in syslinux_config("console=ttyS0")
    uefi = uefi_files("console=ttyS0")
    assert not uefi or b"options console=ttyS0\n" in uefi["loader/entries/guest.conf"]

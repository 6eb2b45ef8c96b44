"""The lab's guest: a complete small system that boots in seconds without hardware help."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from metier.lab.disk import build_disk, syslinux_config, uefi_files
from metier.lab.initramfs import build_initramfs
from metier.lab.kernel import DISK_MODULES, NIC_MODULES, GuestKernel, ModuleSet, find_kernel, guest_modules

# Everything on the serial console and nothing but our own lines; no delays that emulation makes long.
KERNEL_ARGUMENTS = "console=ttyS0 quiet loglevel=3 mitigations=off net.ifnames=0 panic=1"

DEFAULT_SIZE_MIB = 48


@dataclass(frozen=True, slots=True)
class GuestImage:
    """A guest disk that was built.

    Attributes:
        disk: The raw disk file.
        kernel_release: The kernel in it.
        nic_models: Models of network interface that it can drive, by libvirt's names.
        disk_models: Disk buses and controllers that it can drive, by libvirt's names.
        boots_uefi: It boots under UEFI as well as under BIOS.
    """

    disk: Path
    kernel_release: str
    nic_models: frozenset[str]
    disk_models: frozenset[str]
    boots_uefi: bool


def build_guest(
    disk: Path,
    *,
    kernel: GuestKernel | None = None,
    flags: Sequence[str] = (),
    size_mib: int = DEFAULT_SIZE_MIB,
) -> GuestImage:
    """Build the guest's boot disk as a raw file.

    Args:
        disk: Where to write it; replaced if it exists.
        kernel: The kernel to use; found by `find_kernel` if not given.
        flags: Words that change how the guest behaves: `metier-ignore-acpi` (deaf to the power
            button) and `metier-no-http` (never healthy).
        size_mib: Size of the disk in MiB.

    Raises:
        LabError: No kernel, a tool that is missing, or files that do not fit.
    """
    kernel = kernel or find_kernel()
    modules = guest_modules(kernel)
    arguments = " ".join([KERNEL_ARGUMENTS, *flags])
    uefi = uefi_files(arguments)
    files = {
        "syslinux.cfg": syslinux_config(arguments).encode(),
        "vmlinuz": kernel.image.read_bytes(),
        "initrd.gz": build_initramfs(kernel, modules),
        **uefi,
    }
    disk.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=disk.parent, prefix=f".{disk.name}-") as scratch:
        build_disk(disk, files, size_mib=size_mib, scratch=Path(scratch))
    return GuestImage(
        disk,
        kernel.release,
        drivable(NIC_MODULES, modules),
        drivable(DISK_MODULES, modules),
        bool(uefi),
    )


def drivable(models: Mapping[str, str], modules: ModuleSet) -> frozenset[str]:
    """Return the models whose module the kernel has."""
    return frozenset(
        model for model, module in models.items() if module.replace("-", "_") not in modules.missing
    )

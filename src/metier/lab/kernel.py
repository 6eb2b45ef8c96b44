"""The kernel that lab guests run, and which of its modules they need.

Any Debian kernel package will do, installed or only unpacked (`dpkg -x`).  The
cloud kernel is small and boots fastest but lacks the drivers of some hardware
that VMware archives ask for; the general kernel has them all.
"""

import lzma
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from metier.lab.commands import run
from metier.lab.errors import LabError

KERNEL_VARIABLE = "METIER_GUEST_KERNEL"
KERNEL_CACHE = Path(".cache/guest-kernel")

# What lets the guest drive each model that a hypervisor can show it, by libvirt's name of the model.
NIC_MODULES: Mapping[str, str] = {
    "virtio": "virtio_net",
    "vmxnet3": "vmxnet3",
    "e1000": "e1000",
    "e1000e": "e1000e",
    "rtl8139": "8139cp",
    "pcnet": "pcnet32",
}
DISK_MODULES: Mapping[str, str] = {
    "virtio": "virtio_blk",
    "virtio-scsi": "virtio_scsi",
    "ide": "ata_piix",
    "sata": "ahci",
    "vmpvscsi": "vmw_pvscsi",
    "lsilogic": "sym53c8xx",
    "lsisas1068": "mptsas",
    "lsisas1078": "megaraid_sas",
}
COMMON_MODULES = (
    "virtio_pci",
    "sd_mod",
    "sr_mod",
    "isofs",
    "vfat",
    "nls_ascii",
    "nls_cp437",
    "nls_iso8859-1",
    "nls_utf8",
    "button",
    "evdev",
)


@dataclass(frozen=True, slots=True)
class GuestKernel:
    """One kernel with its modules.

    Attributes:
        image: The bootable kernel file.
        release: As `uname -r` says it in the guest.
        modules: The folder with `modules.dep` and the module files.
        busybox: A static BusyBox to go with it, if one was unpacked beside it.
    """

    image: Path
    release: str
    modules: Path
    busybox: Path | None = None


def find_kernel(root: Path | None = None) -> GuestKernel:
    """Return the newest kernel under `root`, cloud kernels first.

    Args:
        root: A folder that holds `boot/` and `lib/modules/`.  If not given: the folder that
            METIER_GUEST_KERNEL names, else `.cache/guest-kernel`, else the machine's own.

    Raises:
        LabError: There is none, or it has no modules.
    """
    roots = [root] if root else usual_roots()
    kernels = [kernel for place in roots for kernel in kernels_under(place)]
    if not kernels:
        places = ", ".join(f"{place}/boot" for place in roots)
        raise LabError(
            f"cannot find a kernel for the lab's guests in {places}",
            code="lab-kernel-missing",
            remedy=f"install linux-image-cloud-amd64, or unpack it and set {KERNEL_VARIABLE} to the folder",
        )
    return kernels[0]


def usual_roots() -> list[Path]:
    """Return where a guest kernel is looked for, the first that has one wins."""
    chosen = os.environ.get(KERNEL_VARIABLE)
    return [Path(chosen)] if chosen else [KERNEL_CACHE, Path("/")]


def kernels_under(root: Path) -> list[GuestKernel]:
    """Return the kernels of one root, best first; kernels without modules are left out."""
    beside = root / "bin/busybox"
    busybox = beside if beside.exists() else None
    kernels = []
    for image in (root / "boot").glob("vmlinuz-*"):
        release = image.name.removeprefix("vmlinuz-")
        for modules in (root / "lib/modules" / release, root / "usr/lib/modules" / release):
            if modules.is_dir():
                kernels.append(GuestKernel(image, release, modules, busybox))
                break
    return sorted(kernels, key=lambda kernel: preference(kernel.release), reverse=True)


def preference(release: str) -> tuple[bool, list[int]]:
    """Return the sort key of a release: cloud kernels before others, newer before older."""
    return "cloud" in release, [int(number) for number in re.findall(r"\d+", release)]


@dataclass(frozen=True, slots=True)
class ModuleSet:
    """The modules that go into a guest, with all that they depend on.

    Attributes:
        files: Path below the modules folder of each, such as `kernel/fs/fat/fat.ko`.
        missing: Wanted modules that this kernel neither has nor has built in.
    """

    files: tuple[str, ...]
    missing: frozenset[str]


def module_name(path: str) -> str:
    """Return the name under which the kernel knows a module file."""
    return PurePosixPath(path).name.split(".ko", 1)[0].replace("-", "_")


def parse_dependencies(text: str) -> dict[str, list[str]]:
    """Return each module file of a `modules.dep` with the files it needs loaded before it."""
    lines = (line.partition(":") for line in text.splitlines() if ":" in line)
    return {path.strip(): needs.split() for path, _, needs in lines}


def choose_modules(dependencies: Mapping[str, list[str]], builtin: str, wanted: Iterable[str]) -> ModuleSet:
    """Choose the files that `wanted` modules need.

    Args:
        dependencies: What `parse_dependencies` returned.
        builtin: The text of `modules.builtin`.
        wanted: Names of modules, with `-` or `_` as one likes.
    """
    by_name = {module_name(path): path for path in dependencies}
    in_kernel = {module_name(line) for line in builtin.splitlines()}
    names = [name.replace("-", "_") for name in wanted]
    chosen = [by_name[name] for name in names if name in by_name]
    files = {file for path in chosen for file in (path, *dependencies[path])}
    missing = frozenset(name for name in names if name not in by_name and name not in in_kernel)
    return ModuleSet(tuple(sorted(files)), missing)


def guest_modules(kernel: GuestKernel) -> ModuleSet:
    """Return the modules of `kernel` for every NIC, disk and power button that a guest may meet."""
    index_modules(kernel)
    return choose_modules(
        parse_dependencies((kernel.modules / "modules.dep").read_text()),
        (kernel.modules / "modules.builtin").read_text(),
        (*NIC_MODULES.values(), *DISK_MODULES.values(), *COMMON_MODULES),
    )


def index_modules(kernel: GuestKernel) -> None:
    """Write the index of a kernel that was unpacked but never installed."""
    if not (kernel.modules / "modules.dep").exists():
        run(["depmod", "-b", str(kernel.modules).partition("/lib/modules/")[0] or "/", kernel.release])


def read_module(kernel: GuestKernel, file: str) -> bytes:
    """Return one module as the kernel loads it, unpacked.

    Raises:
        LabError: It is packed in a way that this cannot undo.
    """
    data = (kernel.modules / file).read_bytes()
    match PurePosixPath(file).suffix:
        case ".ko":
            return data
        case ".xz":
            return lzma.decompress(data)
        case packing:
            raise LabError(f"cannot unpack the kernel module {file}: {packing} is not understood here")


def alias_lines(kernel: GuestKernel, files: Iterable[str]) -> list[str]:
    """Return the lines of `modules.alias` that lead to one of `files`."""
    names = {module_name(file) for file in files}
    lines = (kernel.modules / "modules.alias").read_text().splitlines()
    return [line for line in lines if line.startswith("alias ") and line.rsplit(None, 1)[-1] in names]

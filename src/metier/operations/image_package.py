"""What an operator says of a package to be taken in: where it is, and what it does not tell itself."""

import re
from dataclasses import asdict, dataclass, replace

from metier.domain.errors import WrongUsage
from metier.domain.fleet import Fleet
from metier.domain.ids import ImageRef
from metier.domain.image import Image, ImageType
from metier.domain.url import checked_url
from metier.operations.image_fit import doubts
from metier.operations.image_settings import with_settings
from metier.operations.image_vm import VmOptions, VmPlace, refuse_without_vm, vm_place
from metier.operations.parsing import in_range, one_line
from metier.operations.registry import Caller, option
from metier.operations.tier_row import requirements_row

GUEST_TYPES = (ImageType.LINUX, ImageType.WINDOWS, ImageType.OTHER)

_SHA256 = re.compile(r"[0-9a-f]{64}")
_MOST_MEMORY_MIB = 1 << 27
_MOST_CPUS = 1 << 16
_FIRMWARE = ("bios", "uefi")
_BUSES = ("virtio", "scsi", "sata", "ide")
_NIC_MODELS = ("virtio", "e1000", "e1000e", "vmxnet3", "pcnet", "rtl8139")


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageOptions(VmOptions):
    """A package, and what the capture script asks about it."""

    file: str | None = option(
        "the package: an archive or folder of one .vmx and its .vmdk files, .ova, .ovf, .xva, or a disk "
        "(.vmdk, .qcow2, .vhd, .vhdx, .raw); on the command line - is standard input",
        None,
        example="/tmp/filename.tgz",
    )
    url: str | None = option(
        "fetch it from here instead, by http or https; with --vm, where its VM manager answers",
        None,
        example="https://example.org/web.ova",
    )
    sha256: str | None = option("the SHA-256 that the file must have, in hex", None)
    type: str = option(
        "what kind of system it holds", ImageType.OTHER.value, choices=[kind.value for kind in GUEST_TYPES]
    )
    vmware_only: bool = option("take nothing but a VMware VM", False)
    firmware: str | None = option(
        "firmware that a bare disk boots from; left out, bios", None, choices=_FIRMWARE
    )
    bus: str | None = option(
        "bus that a bare disk is on; left out, what suits the type",
        None,
        choices=_BUSES,
    )
    nic_model: str | None = option(
        "network interface that goes with a bare disk; left out, what suits the type",
        None,
        choices=_NIC_MODELS,
    )
    machine_memory_mib: int | None = option(
        "memory of the machine around a bare disk, in MiB", None, example="1024"
    )
    machine_cpus: int | None = option("CPUs of the machine around a bare disk", None, example="1")


@dataclass(frozen=True, slots=True)
class Package:
    """A checked description of what is to be taken in.

    Attributes:
        image: The version's settings; its content is not known yet.
        location: Absolute path or URL.
        arguments: All of it, as a job keeps it.
    """

    image: Image
    location: str
    arguments: dict[str, object]

    def doubts(self, fleet: Fleet) -> tuple[str, ...]:
        """Say what is known already to keep every node from running it."""
        return tuple(doubts(fleet, self.image.requirements))


def package_of(fleet: Fleet, ref: ImageRef, given: PackageOptions, caller: Caller) -> Package:
    """Check what an operator said of a package.

    Raises:
        WrongUsage: A value makes no sense, or there is no one place to take it from.
        Refusal: It cannot be taken from there; likewise NoSuchThing.
    """
    kind = guest_type(given.type)
    place = _place(fleet, given)
    # The same checks as for an edit, on an image that does not exist yet.
    image = with_settings(Image(ref, kind, "", caller.now), given)
    arguments: dict[str, object] = {
        "name": ref.name,
        "version": ref.version,
        "location": place.location,
        "type": kind.value,
        "minimum_memory_mib": image.requirements.memory_mib,
        "requirements": requirements_row(image.requirements),
        "startup_s": image.startup_s,
        "collectors": [asdict(spec) for spec in image.collectors],
        "hints": _hints(given),
        "sha256": _sha256(given.sha256 or ""),
        "vmware_only": given.vmware_only,
        **place.arguments,
    }
    return Package(replace(image, source=place.location), place.location, arguments)


def guest_type(text: str) -> ImageType:
    """Return the type of an image that may be imported or captured; raises WrongUsage."""
    if text not in GUEST_TYPES:
        raise WrongUsage(
            f"an image of type {text!r} cannot be imported; it can be: {', '.join(GUEST_TYPES)}",
            remedy="host images are made with `metier image create`",
        )
    return ImageType(text)


def _place(fleet: Fleet, given: PackageOptions) -> VmPlace:
    """Return where a package or a VM is."""
    if not given.vm:
        refuse_without_vm(given)
        return VmPlace(_location(given), {})
    if given.file or given.sha256:
        raise WrongUsage("--file and --sha256 do not go with --vm, which is taken from its host")
    return vm_place(fleet, given, given.url)


def _location(given: PackageOptions) -> str:
    if bool(given.file) == bool(given.url):
        raise WrongUsage(
            "say where the package is: --file or --url, and not both",
            remedy="for example --file /tmp/filename.tgz",
        )
    if given.url:
        return checked_url(given.url)
    path = one_line(given.file or "", "--file")
    if not path.startswith("/"):
        raise WrongUsage(
            f"--file {path!r} is not an absolute path",
            remedy="name the file as the controller finds it: /tmp/…",
        )
    return path


def _sha256(text: str) -> str:
    text = text.lower().removeprefix("sha256:")
    if text and _SHA256.fullmatch(text) is None:
        raise WrongUsage(
            f"--sha256 has {len(text)} characters and not 64 digits of hex",
            remedy="take it as `sha256sum` prints it",
        )
    return text


def _hints(given: PackageOptions) -> dict[str, object]:
    memory = in_range(given.machine_memory_mib or 0, "memory of the machine in MiB", 0, _MOST_MEMORY_MIB)
    return {
        "firmware": _chosen(given.firmware, "--firmware", _FIRMWARE),
        "bus": _chosen(given.bus, "--bus", _BUSES),
        "nic_model": _chosen(given.nic_model, "--nic-model", _NIC_MODELS),
        "memory_mib": memory,
        "cpus": in_range(given.machine_cpus or 0, "CPUs of the machine", 0, _MOST_CPUS),
    }


def _chosen(text: str | None, flag: str, choices: tuple[str, ...]) -> str:
    if text and text not in choices:
        raise WrongUsage(f"{flag} cannot be {text!r}; it can be: {', '.join(choices)}")
    return text or ""

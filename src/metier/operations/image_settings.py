"""The settings of an image that may be edited in place, and the VMs that a host image offers."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from metier.domain.errors import WrongUsage
from metier.domain.image import Image, OfferedVm
from metier.operations.parsing import collectors, fields_of, in_range, whole, words
from metier.operations.registry import option
from metier.operations.requirements import RequirementOptions, required

_A_DAY_S = 86_400
_MEMORY_LIMIT_MIB = 1 << 27
_CPU_LIMIT = 1 << 16
_DISK_LIMIT_GIB = 1 << 20

VMS_LIMIT = 1000
"""The most VMs that one host can offer: far beyond what hosts run."""

DEFAULT_NETWORK = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageOptions:
    """What an operator can say about an image version; what is not given keeps its value or default."""

    minimum_memory_mib: int | None = option(
        "memory that a node must have to run it, in MiB; 0 for any", None, example="512"
    )
    cpus: int | None = option("CPUs that a node must have; 0 for any", None, example="1")
    disk: int | None = option("room for disks that a node must have, in GiB; 0 for any", None, example="8")
    architecture: str | None = option("architecture as `uname -m` says it", None, example="x86_64")
    attribute: tuple[str, ...] = option(
        "an attribute that a node must have; repeatable; an empty word removes all", (), example="ssd"
    )
    network: tuple[str, ...] = option(
        "a network that a node must reach; repeatable; an empty word removes all", (), example="default"
    )
    startup_seconds: int | None = option("seconds from on to answering", None, example="120")
    collector: tuple[str, ...] = option(
        "a health check: ping, tcp:PORT, http:PORT/PATH; repeatable; an empty word removes all",
        (),
        example="http:80/health",
    )


def with_settings(image: Image, given: ImageOptions) -> Image:
    """Return `image` with what was given put in its place; its content stays as it is.

    Raises:
        WrongUsage: A value makes no sense.
    """
    wanted = RequirementOptions(
        memory=given.minimum_memory_mib,
        cpus=given.cpus,
        disk=given.disk,
        architecture=given.architecture,
        attribute=given.attribute,
        network=given.network,
    )
    after = replace(image, requirements=required(image.requirements, wanted))
    if given.startup_seconds is not None:
        seconds = in_range(given.startup_seconds, "startup time in seconds", 1, _A_DAY_S)
        after = replace(after, startup_s=seconds)
    if given.collector:
        after = replace(after, collectors=collectors(given.collector))
    return after


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferOptions(ImageOptions):
    """The settings of a host image, and the VMs that each host with it offers."""

    vms: int | None = option(
        "how many equal VMs each host offers; 0 where only VMs that were staged on it are to be used",
        None,
        example="3",
    )
    vm_memory: int | None = option("memory of each of them, in MiB", None, example="512")
    vm_cpus: int | None = option("CPUs of each of them", None, example="1")
    vm_disk: int | None = option("room for disks of each of them, in GiB", None, example="8")
    vm_network: tuple[str, ...] = option(
        "a network that each of them is connected to; repeatable", (), example="default"
    )
    vm: tuple[str, ...] = option(
        "one VM by itself, as memory=MIB[,cpus=N][,disk=GIB][,networks=A+B]; repeatable; instead of --vms",
        (),
        example="memory=512,cpus=1,disk=8,networks=default",
    )


def offered_vms(given: OfferOptions) -> tuple[OfferedVm, ...]:
    """Return the VMs that are asked for, numbered from 1.

    Raises:
        WrongUsage: Nothing is said of them, both ways are mixed, or a value makes no sense.
    """
    equal = (given.vms, given.vm_memory, given.vm_cpus, given.vm_disk)
    if given.vm:
        if given.vm_network or any(value is not None for value in equal):
            raise WrongUsage(
                "--vm and --vms exclude each other", remedy="describe every VM by --vm, or all by --vms"
            )
        in_range(len(given.vm), "the number of VMs", 1, VMS_LIMIT)
        return tuple(_described(number, text) for number, text in enumerate(given.vm, 1))
    if given.vms == 0:
        if given.vm_network or any(value is not None for value in equal[1:]):
            raise WrongUsage("--vms 0 offers no VM that could have anything", remedy="say --vms 0 alone")
        return ()
    if given.vms is None or given.vm_memory is None:
        raise WrongUsage(
            "a host image must say which VMs each host offers",
            remedy="give --vms 3 --vm-memory 512, or one --vm memory=512 for each; --vms 0 offers none but"
            " those that were staged on the host",
        )
    return _equal(given, in_range(given.vms, "the number of VMs", 1, VMS_LIMIT), given.vm_memory)


def _equal(given: OfferOptions, count: int, memory_mib: int) -> tuple[OfferedVm, ...]:
    networks = tuple(given.vm_network) or (DEFAULT_NETWORK,)
    first = _checked(
        OfferedVm(
            1,
            memory_mib,
            1 if given.vm_cpus is None else given.vm_cpus,
            8 if given.vm_disk is None else given.vm_disk,
            networks,
        )
    )
    return tuple(replace(first, number=number) for number in range(1, count + 1))


def _described(number: int, text: str) -> OfferedVm:
    parts = fields_of(text, "--vm", ("memory", "cpus", "disk", "networks"))
    if "memory" not in parts:
        raise WrongUsage(f"--vm {text!r} names no memory", remedy="say for example memory=512")
    networks = parts.get("networks", DEFAULT_NETWORK)
    return _checked(
        OfferedVm(
            number,
            whole(parts["memory"], f"memory of VM {number} in MiB", 1, _MEMORY_LIMIT_MIB),
            whole(parts.get("cpus", "1"), f"CPUs of VM {number}", 1, _CPU_LIMIT),
            whole(parts.get("disk", "8"), f"disk of VM {number} in GiB", 0, _DISK_LIMIT_GIB),
            tuple(networks.split("+")) if networks else (),
        )
    )


def _checked(offer: OfferedVm) -> OfferedVm:
    in_range(offer.memory_mib, "memory of a VM in MiB", 1, _MEMORY_LIMIT_MIB)
    in_range(offer.cpus, "CPUs of a VM", 1, _CPU_LIMIT)
    in_range(offer.disk_gib, "disk of a VM in GiB", 0, _DISK_LIMIT_GIB)
    _check_networks(offer.networks)
    return offer


def _check_networks(networks: Iterable[str]) -> None:
    for name in networks:
        if not words((name,), "a network"):
            raise WrongUsage("a network of a VM cannot have an empty name")

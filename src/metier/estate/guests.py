"""Guest operating systems as VMware calls them: what type of image they make, and which make none."""

import re

from metier.domain.image import ImageType

_WINDOWS = re.compile(r"windows|\bwin(net|xp|vista|longhorn|[0-9])", re.IGNORECASE)
_LINUX = re.compile(
    r"linux|ubuntu|debian|cent\s?os|red ?hat|rhel|suse|sles|fedora|rocky|alma|photon|coreos"
    r"|mandr|gentoo",
    re.IGNORECASE,
)
_APPLE = re.compile(r"mac ?os|darwin|os ?x\b", re.IGNORECASE)
_ESX = re.compile(r"vmware esx|vmkernel", re.IGNORECASE)
_ARM = re.compile(r"\barm(64)?\b|aarch64", re.IGNORECASE)

# These run VMware itself; nothing is left for them to do once the VMs have moved.
_OF_VMWARE = re.compile(
    r"^(vCLS([ (-].*)?|VMware vCenter Server( Appliance)?|vCenter Server|NSX-?T? Manager.*|NSX Edge.*"
    r"|vSAN (Witness|File Service).*|SupervisorControlPlaneVM.*)$",
    re.IGNORECASE,
)


def image_type(guest_os: str) -> ImageType:
    """Return the type that an image of such a guest is imported as."""
    if _WINDOWS.search(guest_os):
        return ImageType.WINDOWS
    return ImageType.LINUX if _LINUX.search(guest_os) else ImageType.OTHER


def why_impossible(name: str, guest_os: str) -> str:
    """Say why a guest cannot be run here whatever is done; empty if it can."""
    if _OF_VMWARE.match(name):
        return "it is a part of VMware itself, and ends with it"
    if _ESX.search(guest_os):
        return "it is an ESX host in a VM: make hosts with `metier node add`"
    if _APPLE.search(guest_os):
        return "macOS starts on Apple's hardware only"
    if _ARM.search(guest_os):
        return "it is for ARM processors, and hosts run x86_64"
    return ""

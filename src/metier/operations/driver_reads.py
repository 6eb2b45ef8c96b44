"""What an operator can ask about drivers, and about servers before they are driven."""

from dataclasses import dataclass

from metier.domain.errors import NoSuchThing, Refusal
from metier.operations.registry import Form, Row, View, option, positional, reads

FAMILIES = ("hypervisor", "power", "collector")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListDrivers:
    """Which drivers."""

    family: str | None = option("only drivers of this family", None, choices=FAMILIES)


@reads(
    "driver",
    "list",
    ListDrivers,
    form=Form.LIST,
    columns=("name", "family", "is_ready", "capabilities"),
    examples=("metier driver list", "metier driver list --family hypervisor"),
)
def list_drivers(view: View, arguments: ListDrivers) -> list[Row]:
    """List the installed drivers: of VM managers, of power controllers, and collectors."""
    return _drivers(view, arguments.family)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowDriver:
    """Which driver."""

    name: str = positional("the driver to show", example="vsphere")
    family: str | None = option("its family, where several have one of that name", None, choices=FAMILIES)


@reads("driver", "show", ShowDriver, examples=("metier driver show vsphere",))
def show_driver(view: View, arguments: ShowDriver) -> Row:
    """Show what there is to set for a driver, and what it can do."""
    found = [row for row in _drivers(view, arguments.family) if row["name"] == arguments.name]
    if not found:
        kind = f"{arguments.family} driver" if arguments.family else "driver"
        raise NoSuchThing(f"there is no {kind} {arguments.name}", remedy="see `metier driver list`")
    if len(found) > 1:
        families = " and ".join(row["family"] for row in found)
        raise Refusal(
            f"there are drivers {arguments.name} of the families {families}", remedy="name one with --family"
        )
    return found[0]


def _drivers(view: View, family: str | None) -> list[Row]:
    return [row for row in view.services.drivers() if family in (None, row["family"])]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowCertificate:
    """Which server."""

    url: str = option("where the server answers", example="https://esx-1.example/sdk")


@reads(
    "node",
    "certificate",
    ShowCertificate,
    form=Form.VERB,
    examples=("metier node certificate --url https://esx-1.example/sdk",),
)
def show_certificate(view: View, arguments: ShowCertificate) -> Row:
    """Show the certificate of a server as the controller sees it, to be compared and pinned.

    Nothing is said to the server.  The thumbprint is to be compared with what the server's
    own console shows, where no authority vouches for it.
    """
    return view.services.certificate(arguments.url)

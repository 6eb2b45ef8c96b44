"""The capture interview, in the manual's terms and order; what the controller knows is offered as default."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from metier.cli.client import Client, Request
from metier.cli.failure import Failure
from metier.cli.interview import NONE, TYPES, a_number, a_type, a_word, ask, some_words
from metier.cli.output import printable
from metier.cli.session import tell
from metier.operations.paths import ROOT

Row = Mapping[str, Any]
_PAGE = 10_000
_NO_SUCH_THING = 3


class Known:
    """What the controller knows of hosts, VMs and images, asked when it is first needed."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._nodes: Sequence[Row] | None = None

    def nodes(self) -> Sequence[Row]:
        """Return all nodes."""
        if self._nodes is None:
            self._nodes = self._client.rows(f"{ROOT}/nodes", {"limit": _PAGE})
        return self._nodes

    def hosts(self) -> list[Row]:
        """Return the nodes that have virtual nodes."""
        names = {node["host"] for node in self.nodes() if node["host"] is not None}
        return [node for node in self.nodes() if node["name"] in names]

    def host(self, text: str) -> Row:
        """Return the host of that name or IP address; raises ValueError with those that there are."""
        for host in self.hosts():
            if text in (host["name"], host["power_ip"], host["address"]):
                return host
        there = ", ".join(_host_words(host) for host in self.hosts()) or "none: a host tier must be active"
        raise ValueError(f"no host {text!r} has virtual nodes; those that have: {there}")

    def vms(self, host: str) -> list[Row]:
        """Return the virtual nodes of a host."""
        return [node for node in self.nodes() if node["host"] == host]

    def vm(self, host: str, text: str) -> Row:
        """Return the VM of a host by its number or slot name; raises ValueError with those that there are."""
        number = a_number(text.upper().removeprefix("VM"))
        for node in self.vms(host):
            if node["vm_number"] == number:
                return node
        there = ", ".join(str(node["vm_number"]) for node in self.vms(host))
        raise ValueError(f"{host} has no VM{number}; it has: {there}")

    def node(self, name: str) -> Row:
        """Return a node by its name; nothing of one that is not there."""
        return next((node for node in self.nodes() if node["name"] == name), {})

    def versions(self, name: str) -> list[str]:
        """Return the versions of an image."""
        rows = self._client.rows(f"{ROOT}/images", {"image": name, "limit": _PAGE})
        return [str(row["version"]) for row in rows]

    def image(self, ref: str | None) -> Row:
        """Return an image version; nothing of one that is not there."""
        if ref is None:
            return {}
        try:
            row: Row = self._client.ask(Request("GET", f"{ROOT}/images/{ref}")).value
        except Failure as failure:
            if failure.exit_status != _NO_SUCH_THING:
                raise
            return {}
        return row


def _host_words(host: Row) -> str:
    return str(host["power_ip"] or host["name"])


class Interview:
    """Asks what was not said already, one question after another.

    Attributes:
        answers: All that was said, by the names of the arguments of `metier image capture`.
    """

    def __init__(self, known: Known, already: Mapping[str, Any], *, asks: bool) -> None:
        self._known, self._asks = known, asks
        self._node: Row = {}
        self.answers = {name: value for name, value in already.items() if value not in (None, "", ())}

    def run(self) -> None:
        """Ask all of it; raises Failure where `ask` does, or an answer is needed and nobody is asked."""
        self._ask("type", f"image type ({', '.join(TYPES)})", a_type, "as the version that it runs")
        self._need("name", "image name", a_word, "-i NAME")
        taken = self._known.versions(self.answers["name"]) if self._asks else []
        self._ask("version", "version", _new_among(taken), _next(taken))
        self._node = self._source()
        self._about_settings(self._known.image(self._node.get("image")))

    def summary(self) -> str:
        """Return in a line what is to be done."""
        node, said = self._node, self.answers
        name = node.get("name") or said.get("node") or f"VM{said.get('vm')} of {said.get('host')}"
        runs = f", which runs {node['image']}," if node.get("image") else ""
        version = said.get("version") or _next(self._known.versions(said["name"]))
        return printable(f"{name}{runs} is captured as image {said['name']} version {version}")

    def _source(self) -> Row:
        """Return the VM to capture, asked for if need be; nothing of one that is not there."""
        if not self._asks:
            if "node" not in self.answers:
                self._need("host", "the image host", a_word, "-h ADDRESS")
                self._need("vm", "the VM to capture", a_number, "-g NUMBER")
            return {}
        if "node" in self.answers:
            return self._known.node(self.answers["node"])
        hosts = [_host_words(host) for host in self._known.hosts()]
        question, only = "image host (IP address of the host node)", hosts[0] if len(hosts) == 1 else ""
        self._need("host", question, lambda text: _host_words(self._known.host(text)), "-h ADDRESS", only)
        try:
            host = str(self._known.host(self.answers["host"])["name"])
        except ValueError:
            return {}  # an option may say what an answer may not: the controller tells what is wrong
        self._list_vms(host)
        self._need("vm", "VM to capture (number of its slot)", lambda text: self._vm(host, text), "-g NUMBER")
        return next((one for one in self._known.vms(host) if one["vm_number"] == self.answers["vm"]), {})

    def _vm(self, host: str, text: str) -> int:
        return int(self._known.vm(host, text)["vm_number"])

    def _list_vms(self, host: str) -> None:
        if "vm" not in self.answers:
            for node in self._known.vms(host):
                hands = "engaged" if node["engaged"] else "disengaged"
                runs = node["image"] or "no image"
                tell(printable(f"  {node['vm_slot']}  {runs}  power {node['power']}, {hands}"))

    def _about_settings(self, image: Row) -> None:
        needs = image.get("requirements") or {}
        attributes, collectors = image.get("attributes") or (), image.get("collectors") or ()
        kept = f"; {NONE} for none"
        for name, question, parse, default in (
            ("minimum_memory_mib", "minimum memory in MiB", a_number, image.get("minimum_memory_mib")),
            ("attribute", f"attributes that a node must have{kept}", some_words, " ".join(attributes)),
            ("disk", "local disk that a node must have, in GiB", a_number, needs.get("disk_gib")),
            ("startup_seconds", "service startup time in seconds", a_number, image.get("startup_s")),
            (
                "collector",
                f"collectors (ping, tcp:PORT, http:PORT/PATH){kept}",
                some_words,
                " ".join(collectors),
            ),
        ):
            self._ask(name, question, parse, str("" if default is None else default))

    def _ask(self, name: str, question: str, parse: Callable[[str], Any], default: str) -> None:
        """Ask for what has a default, which the controller knows as well."""
        if name not in self.answers and self._asks:
            value = ask(question, parse, default, is_implied=True)
            if value not in (None, "", ()):
                self.answers[name] = value

    def _need(
        self, name: str, question: str, parse: Callable[[str], Any], flag: str, default: str = ""
    ) -> None:
        """Ask for what must be said."""
        if name in self.answers:
            return
        if not self._asks:
            raise Failure(f"{question} is missing", code="wrong-usage", remedy=f"add {flag}", exit_status=2)
        self.answers[name] = ask(question, parse, default)


def _next(versions: Sequence[str]) -> str:
    return str(max((int(version) for version in versions if version.isdecimal()), default=0) + 1)


def _new_among(taken: Sequence[str]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text in taken:
            raise ValueError(f"version {text} exists already; there are: {', '.join(taken)}")
        return a_word(text)

    return parse
